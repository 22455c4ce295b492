/* Times of repeated runs. */
#ifndef SAMPLES_TIMING_H
#define SAMPLES_TIMING_H

#include "cviruntime.h"

/* Run `count` times (at least once); with more than one, or `always`, print "time of N runs: min,
 * median, max" in milliseconds. The code of the run that failed, or CVI_RC_SUCCESS. */
CVI_RC forward_timed(CVI_MODEL_HANDLE model, CVI_TENSOR *inputs, int32_t ni, CVI_TENSOR *outputs,
                     int32_t no, int count, bool always);

#endif
