/* What the two NEON kernel sets share. */
#ifndef TPUFORGE_SIM_KERNELS_NEON_H
#define TPUFORGE_SIM_KERNELS_NEON_H

#include "kernels.h"

#if defined(__ARM_NEON)
void neon_pack4(uint32_t *dst, const uint8_t *const p[4], size_t n, uint32_t flip);
void neon_taps16(int32_t *acc, const int16_t *const *taps, const int32_t *w, size_t pairs,
                 size_t n);
void neon_post8(uint8_t *dst, const int32_t *acc, size_t n, const post_stage *p);
#if defined(__aarch64__)
void neon_gemm_f32(const gemm_job *j);
void neon_taps_f32(float *acc, const float *const *taps, const float *w, size_t taps_n, size_t n);
void neon_lookup8(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t *table);
#endif
#endif

#endif
