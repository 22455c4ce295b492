/* NEON kernels (aarch64; 32-bit ARM built with NEON). The fp32 kernels exist on aarch64 only: on
 * 32-bit ARM NEON always rounds to nearest. */

#include "kernels_neon.h"

#if defined(__ARM_NEON)

#include <arm_neon.h>

#include "kernels_generic.h"

#define ALWAYS __attribute__((always_inline)) static inline

#if defined(__aarch64__)
#define ROWS 4 /* of 16 accumulators in 32 registers */
#define PAIR_SUMS(a, b) vpaddq_s32(a, b)
#define HIGH_PRODUCT(x, w) vmull_high_s8(x, w)
#else
#define ROWS 2 /* 8 of 16 registers */
#define PAIR_SUMS(a, b)                                                                            \
  vcombine_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)),                                       \
               vpadd_s32(vget_low_s32(b), vget_high_s32(b)))
#define HIGH_PRODUCT(x, w) vmull_s8(vget_high_s8(x), vget_low_s8(w))
#endif

/* `rows` rows from r0, 8 columns from c0. Two accumulators per column: channels 0, 1 and 2, 3. */
ALWAYS void gemm8_block(const gemm_job *j, const uint32_t r0, const uint32_t c0, const int rows) {
  int32x4_t acc[ROWS][4];
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
    acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = vdupq_n_s32(0);
  }
  for (uint32_t k = 0; k < j->k; k++) {
    const int8_t *b = (const int8_t *)(j->b + j->offs[k] + c0);
    const int8x16_t x0 = vld1q_s8(b), x1 = vld1q_s8(b + 16);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      int32_t w;
      memcpy(&w, j->w[r0 + r] + 4 * (size_t)k, 4);
      const int8x16_t wv = vreinterpretq_s8_s32(vdupq_n_s32(w));
      acc[r][0] = vpadalq_s16(acc[r][0], vmull_s8(vget_low_s8(x0), vget_low_s8(wv)));
      acc[r][1] = vpadalq_s16(acc[r][1], HIGH_PRODUCT(x0, wv));
      acc[r][2] = vpadalq_s16(acc[r][2], vmull_s8(vget_low_s8(x1), vget_low_s8(wv)));
      acc[r][3] = vpadalq_s16(acc[r][3], HIGH_PRODUCT(x1, wv));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
    int32_t *out = j->acc[r0 + r] + c0;
    vst1q_s32(out, vaddq_s32(vld1q_s32(out), PAIR_SUMS(acc[r][0], acc[r][1])));
    vst1q_s32(out + 4, vaddq_s32(vld1q_s32(out + 4), PAIR_SUMS(acc[r][2], acc[r][3])));
  }
}

static void neon_gemm8(const gemm_job *j) {
  for (uint32_t c = 0; c < j->cols; c += 8) {
    uint32_t r = 0;
    for (; r + ROWS <= j->rows; r += ROWS) {
      gemm8_block(j, r, c, ROWS);
    }
    for (; r + 2 <= j->rows; r += 2) {
      gemm8_block(j, r, c, 2);
    }
    if (r < j->rows) {
      gemm8_block(j, r, c, 1);
    }
  }
}

void neon_pack4(uint32_t *dst, const uint8_t *const p[4], size_t n, uint32_t flip) {
  const uint8x16_t f = vreinterpretq_u8_u32(vdupq_n_u32(flip)); /* four equal bytes */
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    uint8x16x4_t v;
    for (int q = 0; q < 4; q++) {
      v.val[q] = veorq_u8(vld1q_u8(p[q] + i), f);
    }
    vst4q_u8((uint8_t *)(dst + i), v);
  }
  const uint8_t *const rest[4] = {p[0] + i, p[1] + i, p[2] + i, p[3] + i};
  generic_pack4(dst + i, rest, n - i, flip);
}

/* acc[0..7] plus all pairs of taps from position i on. */
ALWAYS void taps16_block(int32_t *acc, const int16_t *const *taps, const int32_t *w, size_t pairs,
                         size_t i) {
  int32x4_t lo = vld1q_s32(acc), hi = vld1q_s32(acc + 4);
  for (size_t t = 0; t < pairs; t++) {
    const int16x8_t a = vld1q_s16(taps[2 * t] + i), b = vld1q_s16(taps[2 * t + 1] + i);
    const int16x4_t wv = vreinterpret_s16_s32(vdup_n_s32(w[t]));
    lo = vmlal_lane_s16(lo, vget_low_s16(a), wv, 0);
    hi = vmlal_lane_s16(hi, vget_high_s16(a), wv, 0);
    lo = vmlal_lane_s16(lo, vget_low_s16(b), wv, 1);
    hi = vmlal_lane_s16(hi, vget_high_s16(b), wv, 1);
  }
  vst1q_s32(acc, lo);
  vst1q_s32(acc + 4, hi);
}

void neon_taps16(int32_t *acc, const int16_t *const *taps, const int32_t *w, size_t pairs,
                 size_t n) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    taps16_block(acc + i, taps, w, pairs, i);
  }
  if (i < n) {
    int32_t part[8] = {0};
    memcpy(part, acc + i, (n - i) * sizeof *part);
    taps16_block(part, taps, w, pairs, i);
    memcpy(acc + i, part, (n - i) * sizeof *part);
  }
}

/* Q of 4 accumulators and the clamp. vqrdmulh is (a*m + 2^30) >> 31; it saturates in one case,
 * which the caller excludes. */
ALWAYS int32x4_t q_stage(int32x4_t a, const q_params *q, const post_stage *p) {
  a = vqrdmulhq_s32(vshlq_s32(a, vdupq_n_s32(q->left)), vdupq_n_s32(q->mult));
  const int32x4_t threshold = vsubq_s32(vdupq_n_s32(q->half), vshrq_n_s32(a, 31));
  const uint32x4_t up = vcgtq_s32(vandq_s32(a, vdupq_n_s32(q->mask)), threshold);
  a = vsubq_s32(vshlq_s32(a, vdupq_n_s32(-q->right)), vreinterpretq_s32_u32(up));
  return vminq_s32(vmaxq_s32(a, vdupq_n_s32(p->lo)), vdupq_n_s32(p->hi));
}

void neon_post8(uint8_t *dst, const int32_t *acc, size_t n, const post_stage *p) {
  if (!p->quant || p->mult == INT32_MIN) {
    generic_post8(dst, acc, n, p);
    return;
  }
  const q_params q = q_prepare(p);
  int32_t part[8] = {0};
  for (size_t i = 0; i < n; i += 8) {
    const size_t c = n - i < 8 ? n - i : 8;
    if (c < 8) {
      memcpy(part, acc + i, c * sizeof *part);
    }
    const int32_t *from = c < 8 ? part : acc + i;
    const int16x4_t lo = vmovn_s32(q_stage(vld1q_s32(from), &q, p));
    const int16x4_t hi = vmovn_s32(q_stage(vld1q_s32(from + 4), &q, p));
    uint8_t out[8];
    vst1_u8(out, vreinterpret_u8_s8(vmovn_s16(vcombine_s16(lo, hi))));
    memcpy(dst + i, out, c);
  }
}

#if defined(__aarch64__)

/* Round towards zero, flush to zero. */
#define FPCR_TRUNCATE (UINT64_C(3) << 22 | UINT64_C(1) << 24)

static uint64_t begin_truncation(void) {
  uint64_t saved;
  __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
  __asm__ volatile("msr fpcr, %0" : : "r"(saved | FPCR_TRUNCATE) : "memory");
  return saved;
}

static void end_truncation(uint64_t saved) {
  __asm__ volatile("msr fpcr, %0" : : "r"(saved) : "memory");
}

/* One row, 16 columns from c0. */
static __attribute__((noinline)) void gemm_f32_inner(const gemm_job *j, uint32_t r, uint32_t c0) {
  float *out = (float *)(void *)(j->acc[r] + c0);
  float32x4_t acc[4];
  for (int v = 0; v < 4; v++) {
    acc[v] = vld1q_f32(out + 4 * v);
  }
  for (uint32_t k = 0; k < j->k; k++) {
    const float *b = (const float *)(const void *)(j->b + j->offs[k] + c0);
    float w;
    memcpy(&w, j->w[r] + 4 * (size_t)k, 4);
    for (int v = 0; v < 4; v++) { /* two instructions: the product is exact, the sum truncated */
      acc[v] = vaddq_f32(acc[v], vmulq_n_f32(vld1q_f32(b + 4 * v), w));
    }
  }
  for (int v = 0; v < 4; v++) {
    vst1q_f32(out + 4 * v, acc[v]);
  }
}

void neon_gemm_f32(const gemm_job *j) {
  const uint64_t saved = begin_truncation();
  for (uint32_t c = 0; c < j->cols; c += 16) {
    for (uint32_t r = 0; r < j->rows; r++) {
      gemm_f32_inner(j, r, c);
    }
  }
  end_truncation(saved);
}

static __attribute__((noinline)) void taps_f32_inner(float *acc, const float *const *taps,
                                                     const float *w, size_t taps_n, size_t n) {
  for (size_t i = 0; i < n; i += 4) {
    float part[4] = {0};
    const size_t m = n - i < 4 ? n - i : 4;
    memcpy(part, acc + i, m * sizeof *part);
    float32x4_t a = vld1q_f32(part);
    for (size_t t = 0; t < taps_n; t++) {
      a = vaddq_f32(a, vmulq_n_f32(vld1q_f32(taps[t] + i), w[t]));
    }
    vst1q_f32(part, a);
    memcpy(acc + i, part, m * sizeof *part);
  }
}

void neon_taps_f32(float *acc, const float *const *taps, const float *w, size_t taps_n, size_t n) {
  const uint64_t saved = begin_truncation();
  taps_f32_inner(acc, taps, w, taps_n, n);
  end_truncation(saved);
}

void neon_lookup8(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t *table) {
  uint8x16x4_t t[4];
  for (int q = 0; q < 16; q++) {
    t[q / 4].val[q % 4] = vld1q_u8(table + 16 * q);
  }
  const uint8x16_t step = vdupq_n_u8(64);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    uint8x16_t at = vld1q_u8(src + i), v = vqtbl4q_u8(t[0], at);
    for (int q = 1; q < 4; q++) { /* indices outside a quarter leave v as it is */
      at = vsubq_u8(at, step);
      v = vqtbx4q_u8(v, t[q], at);
    }
    vst1q_u8(dst + i, v);
  }
  generic_lookup8(dst + i, src + i, n - i, table);
}

#endif

const kernel_set kernels_neon = {
    .name = "neon",
    .pack4 = neon_pack4,
    .pack2 = generic_pack2,
    .gemm8 = neon_gemm8,
    .signed_bytes = 1,
    .gemm16 = generic_gemm16,
    .sum8 = generic_sum8,
    .taps16 = neon_taps16,
    .max8 = generic_max8,
    .widen8 = generic_widen8,
    .post8 = neon_post8,
    .arith_row = generic_arith_row,
    .unpack = generic_unpack,
#if defined(__aarch64__)
    .gemm_f32 = neon_gemm_f32,
    .taps_f32 = neon_taps_f32,
    .lookup8 = neon_lookup8,
#else
    .gemm_f32 = generic_gemm_f32,
    .taps_f32 = generic_taps_f32,
    .lookup8 = generic_lookup8,
#endif
};

#else
typedef int no_neon; /* ISO C forbids an empty translation unit */
#endif
