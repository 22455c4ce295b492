/* Sums of products in blocks of GEMM_ROWS x GEMM_COLS: what convolution and matrix product share.
 */
#ifndef TPUFORGE_SIM_GEMM_H
#define TPUFORGE_SIM_GEMM_H

#include "kernels.h"

/* Whether fp32 sums of `terms` products might leave the range of the fast kernel (|sums| < 2^126),
 * given the bits of the largest magnitudes of both sides. */
int gemm_range_is_large(uint32_t max_a, uint32_t max_b, uint64_t terms);

/* Run a job of units of 4, 2 or 1 channels; exact: fp32 with overflow and invalid values. */
void gemm_run(const kernel_set *k, const gemm_job *j, uint32_t per_unit, int exact);

#endif
