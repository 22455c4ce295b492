/* Arrays into tensors. */
#ifndef SAMPLES_FILL_H
#define SAMPLES_FILL_H

#include "cviruntime.h"
#include "npy.h"

/* Copy an array into a tensor with the same number of elements (cli.md section 9). Same type: its
 * bytes. Floating-point array: q = clamp(round half away from zero(x * qscale)) for int8 and uint8
 * tensors, the upper 16 bits for bf16, fp32 from doubles. Aligned tensors (padded image rows) take
 * exactly their bytes. False after a message: another type or size. */
bool fill_tensor(CVI_TENSOR *tensor, const Array *array);

#endif
