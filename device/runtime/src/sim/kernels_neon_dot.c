/* NEON kernels with dot products of bytes (aarch64, FEAT_DotProd). */

#include "kernels_neon.h"

#if defined(__aarch64__) && defined(__ARM_NEON)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

#include <arm_neon.h>

#include "kernels_generic.h"

#define ALWAYS __attribute__((always_inline)) static inline
#define VECS 4 /* of 4 columns: 24 accumulators in 32 registers */

ALWAYS void gemm8_block(const gemm_job *j, const uint32_t c0, const int rows) {
  int32x4_t acc[GEMM_ROWS][VECS];
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; v++) {
      acc[r][v] = vld1q_s32(j->acc[r] + c0 + 4 * v);
    }
  }
  for (uint32_t k = 0; k < j->k; k++) {
    const int8_t *b = (const int8_t *)(j->b + j->offs[k] + c0);
    int8x16_t x[VECS];
#pragma GCC unroll 4
    for (int v = 0; v < VECS; v++) {
      x[v] = vld1q_s8(b + 16 * v);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
      int32_t w;
      memcpy(&w, j->w[r] + 4 * (size_t)k, 4);
      const int8x16_t wv = vreinterpretq_s8_s32(vdupq_n_s32(w));
#pragma GCC unroll 4
      for (int v = 0; v < VECS; v++) {
        acc[r][v] = vdotq_s32(acc[r][v], x[v], wv);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; v++) {
      vst1q_s32(j->acc[r] + c0 + 4 * v, acc[r][v]);
    }
  }
}

static void dot_gemm8(const gemm_job *j) {
  for (uint32_t c = 0; c < j->cols; c += 4 * VECS) {
    CALL_UP_TO_6(j->rows, gemm8_block, j, c)
  }
}

const kernel_set kernels_neon_dot = {
    .name = "neon-dot",
    .pack4 = neon_pack4,
    .pack2 = generic_pack2,
    .gemm8 = dot_gemm8,
    .signed_bytes = 1,
    .gemm16 = generic_gemm16,
    .gemm_f32 = neon_gemm_f32,
    .sum8 = generic_sum8,
    .taps16 = neon_taps16,
    .taps_f32 = neon_taps_f32,
    .max8 = generic_max8,
    .widen8 = generic_widen8,
    .post8 = neon_post8,
    .arith_row = generic_arith_row,
    .lookup8 = neon_lookup8,
    .unpack = generic_unpack,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int not_aarch64; /* ISO C forbids an empty translation unit */
#endif
