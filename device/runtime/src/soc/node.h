/* What the files of the board back-end share. */
#ifndef TPUFORGE_SOC_NODE_H
#define TPUFORGE_SOC_NODE_H

#include "device.h"

/* Open a device node; FAILURE with a text that names `what` and the path. */
CVI_RC soc_open(const char *path, const char *what, int *fd);

/* Open the TPU node unless it is. */
CVI_RC soc_node_ready(void);

/* Was a job given up that may still write into memory? */
bool soc_job_lost(void);

#endif
