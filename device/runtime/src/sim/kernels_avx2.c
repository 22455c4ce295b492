/* AVX2 kernels (x86-64). */

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#include <immintrin.h>

#include "kernels_generic.h"

#define ALWAYS __attribute__((always_inline)) static inline
#define VECS 2 /* of 8 columns */
#define ROWS 4

/* ROWS or fewer rows from row r0, 16 columns from column c0. */
ALWAYS void gemm16_block(const gemm_job *j, const uint32_t r0, const uint32_t c0, const int rows) {
  __m256i acc[ROWS][VECS];
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < VECS; v++) {
      acc[r][v] = _mm256_loadu_si256((const __m256i *)(j->acc[r0 + r] + c0 + 8 * v));
    }
  }
  for (uint32_t k = 0; k < j->k; k++) {
    const uint32_t *b = j->b + j->offs[k] + c0;
    const __m256i x0 = _mm256_loadu_si256((const __m256i *)b);
    const __m256i x1 = _mm256_loadu_si256((const __m256i *)(b + 8));
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      int32_t w;
      memcpy(&w, j->w[r0 + r] + 4 * (size_t)k, 4);
      const __m256i wv = _mm256_set1_epi32(w);
      acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(x0, wv));
      acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(x1, wv));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < VECS; v++) {
      _mm256_storeu_si256((__m256i *)(j->acc[r0 + r] + c0 + 8 * v), acc[r][v]);
    }
  }
}

ALWAYS void gemm_f32_block(const gemm_job *j, const uint32_t r0, const uint32_t c0,
                           const int rows) {
  __m256 acc[ROWS][VECS];
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < VECS; v++) {
      acc[r][v] = _mm256_loadu_ps((const float *)(j->acc[r0 + r] + c0 + 8 * v));
    }
  }
  for (uint32_t k = 0; k < j->k; k++) {
    const float *b = (const float *)(const void *)(j->b + j->offs[k] + c0);
    const __m256 x0 = _mm256_loadu_ps(b), x1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      float w;
      memcpy(&w, j->w[r0 + r] + 4 * (size_t)k, 4);
      const __m256 wv = _mm256_set1_ps(w);
      acc[r][0] = _mm256_add_ps(acc[r][0], _mm256_mul_ps(x0, wv));
      acc[r][1] = _mm256_add_ps(acc[r][1], _mm256_mul_ps(x1, wv));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < VECS; v++) {
      _mm256_storeu_ps((float *)(j->acc[r0 + r] + c0 + 8 * v), acc[r][v]);
    }
  }
}

#define BLOCKS(block)                                                                              \
  for (uint32_t c = 0; c < j->cols; c += 8 * VECS) {                                               \
    for (uint32_t r = 0; r < j->rows; r += ROWS) {                                                 \
      CALL_UP_TO_4(j->rows - r, block, j, r, c)                                                    \
    }                                                                                              \
  }

static void avx2_gemm16(const gemm_job *j){BLOCKS(gemm16_block)}

/* Round towards zero, flush to zero, denormals are zero. */
#define MXCSR_TRUNCATE 0xE040

static __attribute__((noinline)) void avx2_gemm_f32_inner(const gemm_job *j) {
  BLOCKS(gemm_f32_block)
}

static void avx2_gemm_f32(const gemm_job *j) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | MXCSR_TRUNCATE);
  avx2_gemm_f32_inner(j);
  _mm_setcsr(saved);
}

static __attribute__((noinline)) void avx2_taps_f32_inner(float *acc, const float *const *taps,
                                                          const float *w, size_t taps_n, size_t n) {
  for (size_t i = 0; i < n; i += 8) {
    float part[8] = {0};
    const size_t m = n - i < 8 ? n - i : 8;
    memcpy(part, acc + i, m * sizeof *part);
    __m256 a = _mm256_loadu_ps(part);
    for (size_t t = 0; t < taps_n; t++) {
      a = _mm256_add_ps(a, _mm256_mul_ps(_mm256_loadu_ps(taps[t] + i), _mm256_set1_ps(w[t])));
    }
    _mm256_storeu_ps(part, a);
    memcpy(acc + i, part, m * sizeof *part);
  }
}

static void avx2_taps_f32(float *acc, const float *const *taps, const float *w, size_t taps_n,
                          size_t n) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | MXCSR_TRUNCATE);
  avx2_taps_f32_inner(acc, taps, w, taps_n, n);
  _mm_setcsr(saved);
}

static void avx2_taps16(int32_t *acc, const int16_t *const *taps, const int32_t *w, size_t pairs,
                        size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    __m256i lo = _mm256_setzero_si256(), hi = lo;
    for (size_t t = 0; t < pairs; t++) {
      const __m256i a = _mm256_loadu_si256((const __m256i *)(taps[2 * t] + i));
      const __m256i b = _mm256_loadu_si256((const __m256i *)(taps[2 * t + 1] + i));
      const __m256i wv = _mm256_set1_epi32(w[t]);
      lo = _mm256_add_epi32(lo, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), wv));
      hi = _mm256_add_epi32(hi, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), wv));
    }
    int32_t part[16] = {0};
    const size_t m = n - i < 16 ? n - i : 16;
    memcpy(part, acc + i, m * sizeof *part);
    __m256i *q = (__m256i *)part;
    const __m256i v0 = _mm256_permute2x128_si256(lo, hi, 0x20);
    const __m256i v1 = _mm256_permute2x128_si256(lo, hi, 0x31);
    _mm256_storeu_si256(q, _mm256_add_epi32(_mm256_loadu_si256(q), v0));
    _mm256_storeu_si256(q + 1, _mm256_add_epi32(_mm256_loadu_si256(q + 1), v1));
    memcpy(acc + i, part, m * sizeof *part);
  }
}

/* Q of 8 accumulators, as in kernels_vnni.c. */
ALWAYS __m256i q_stage(__m256i a, __m256i m, __m128i left, __m128i right, __m256i mask,
                       __m256i half) {
  const __m256i bias = _mm256_set1_epi64x(INT64_C(1) << 30);
  a = _mm256_sll_epi32(a, left);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, m), bias);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a, 32), m), bias);
  const __m256i q =
      _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
  const __m256i threshold = _mm256_sub_epi32(half, _mm256_srai_epi32(q, 31));
  const __m256i up = _mm256_cmpgt_epi32(_mm256_and_si256(q, mask), threshold);
  return _mm256_sub_epi32(_mm256_sra_epi32(q, right), up);
}

static void avx2_post8(uint8_t *dst, const int32_t *acc, size_t n, const post_stage *p) {
  if (!p->quant) {
    generic_post8(dst, acc, n, p);
    return;
  }
  const q_params q = q_prepare(p);
  const __m128i left_v = _mm_cvtsi32_si128(q.left), right_v = _mm_cvtsi32_si128(q.right);
  const __m256i mask_v = _mm256_set1_epi32(q.mask), half = _mm256_set1_epi32(q.half);
  const __m256i m = _mm256_set1_epi32(q.mult);
  const __m256i lo = _mm256_set1_epi32(p->lo), hi = _mm256_set1_epi32(p->hi);
  int32_t part[8];
  for (size_t i = 0; i < n; i += 8) {
    const size_t c = n - i < 8 ? n - i : 8;
    if (c < 8) {
      memset(part, 0, sizeof part);
      memcpy(part, acc + i, c * sizeof *part);
    }
    __m256i a = _mm256_loadu_si256((const __m256i *)(c < 8 ? part : acc + i));
    a = q_stage(a, m, left_v, right_v, mask_v, half);
    a = _mm256_min_epi32(_mm256_max_epi32(a, lo), hi);
    /* low byte of every 32-bit lane */
    const __m256i b = _mm256_shuffle_epi8(
        a, _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8,
                            12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    const uint64_t v =
        (uint32_t)_mm256_extract_epi32(b, 0) | (uint64_t)(uint32_t)_mm256_extract_epi32(b, 4) << 32;
    memcpy(dst + i, &v, c);
  }
}

const kernel_set kernels_avx2 = {
    .name = "avx2",
    .pack4 = generic_pack4,
    .pack2 = generic_pack2,
    .gemm8 = NULL,
    .gemm16 = avx2_gemm16,
    .gemm_f32 = avx2_gemm_f32,
    .sum8 = generic_sum8,
    .taps16 = avx2_taps16,
    .taps_f32 = avx2_taps_f32,
    .max8 = generic_max8,
    .widen8 = generic_widen8,
    .post8 = avx2_post8,
    .arith_row = generic_arith_row,
    .lookup8 = generic_lookup8,
    .unpack = generic_unpack,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int not_x86_64; /* ISO C forbids an empty translation unit */
#endif
