/* Copies by the TPU: memory of other owners (video frames) is not mapped for the CPU. */
#ifndef TPUFORGE_SOC_COPY_H
#define TPUFORGE_SOC_COPY_H

#include "model/device.h"

/* Commands of `chip` that copy rows of row_bytes from region 2 (rows src_stride bytes apart) to
 * region 3 (rows next to each other). `out` is released with rt_free. */
CVI_RC copy_commands(const char *chip, uint64_t rows, uint64_t row_bytes, uint64_t src_stride,
                     uint8_t **out, size_t *out_size);

#endif
