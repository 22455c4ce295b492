/* AVX-512 kernels with VNNI dot products (x86-64). */

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((                                                                                \
        target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512vbmi2,avx2"))),     \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512vbmi2,avx2")
#pragma GCC target("prefer-vector-width=512")
#endif

#include <immintrin.h>

#include "kernels_generic.h"

#define ALWAYS __attribute__((always_inline)) static inline

/* Units of 4 bytes or of 2 words. */
ALWAYS void gemm_block(const gemm_job *j, const int rows, const int vecs, const int bytes) {
  __m512i acc[GEMM_ROWS][4];
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) {
      acc[r][v] = _mm512_loadu_si512(j->acc[r] + 16 * v);
    }
  }
  for (uint32_t k = 0; k < j->k; k++) {
    const uint32_t *b = j->b + j->offs[k];
    __m512i x[4];
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) {
      x[v] = _mm512_loadu_si512(b + 16 * v);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
      int32_t w;
      memcpy(&w, j->w[r] + 4 * (size_t)k, 4);
      const __m512i wv = _mm512_set1_epi32(w);
#pragma GCC unroll 4
      for (int v = 0; v < vecs; v++) {
        acc[r][v] = bytes ? _mm512_dpbusd_epi32(acc[r][v], x[v], wv)
                          : _mm512_dpwssd_epi32(acc[r][v], x[v], wv);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) {
      _mm512_storeu_si512(j->acc[r] + 16 * v, acc[r][v]);
    }
  }
}

ALWAYS void gemm8_block(const gemm_job *j, const int rows, const int vecs) {
  gemm_block(j, rows, vecs, 1);
}

ALWAYS void gemm16_block(const gemm_job *j, const int rows, const int vecs) {
  gemm_block(j, rows, vecs, 0);
}

/* fp32: the caller has set flush-to-zero; additions round towards zero. */
ALWAYS void gemm_f32_block(const gemm_job *j, const int rows, const int vecs) {
  __m512 acc[GEMM_ROWS][4];
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) {
      acc[r][v] = _mm512_loadu_ps(j->acc[r] + 16 * v);
    }
  }
  for (uint32_t k = 0; k < j->k; k++) {
    const uint32_t *b = j->b + j->offs[k];
    __m512 x[4];
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) {
      x[v] = _mm512_loadu_ps(b + 16 * v);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
      float w;
      memcpy(&w, j->w[r] + 4 * (size_t)k, 4);
      const __m512 wv = _mm512_set1_ps(w);
#pragma GCC unroll 4
      for (int v = 0; v < vecs; v++) {
        acc[r][v] = _mm512_add_round_ps(acc[r][v], _mm512_mul_ps(x[v], wv),
                                        _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) {
      _mm512_storeu_ps(j->acc[r] + 16 * v, acc[r][v]);
    }
  }
}

/* rows x vecs instances of a block function */
#define BY_VECS(block, j, rows) CALL_UP_TO_4((j->cols + 15) / 16, block, j, rows)
#define BY_ROWS(block) CALL_UP_TO_6(j->rows, BY_VECS, block, j)

static void vnni_gemm8(const gemm_job *j) { BY_ROWS(gemm8_block) }

static void vnni_gemm16(const gemm_job *j) { BY_ROWS(gemm16_block) }

static void vnni_gemm_f32(const gemm_job *j) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040); /* flush to zero, denormals are zero */
  BY_ROWS(gemm_f32_block)
  _mm_setcsr(saved);
}

static void vnni_taps_f32(float *acc, const float *const *taps, const float *w, size_t taps_n,
                          size_t n) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = n - i >= 16 ? 0xFFFF : (__mmask16)((1u << (n - i)) - 1);
    __m512 a = _mm512_maskz_loadu_ps(m, acc + i);
    for (size_t t = 0; t < taps_n; t++) {
      a = _mm512_add_round_ps(a, _mm512_mul_ps(_mm512_loadu_ps(taps[t] + i), _mm512_set1_ps(w[t])),
                              _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    }
    _mm512_mask_storeu_ps(acc + i, m, a);
  }
  _mm_setcsr(saved);
}

static int32_t vnni_sum8(const uint8_t *w, size_t n) {
  __m512i s = _mm512_setzero_si512();
  const __m512i ones = _mm512_set1_epi8(1);
  for (size_t i = 0; i < n; i += 64) {
    const __mmask64 m = n - i >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << (n - i)) - 1;
    s = _mm512_dpbusd_epi32(s, ones, _mm512_maskz_loadu_epi8(m, w + i));
  }
  return _mm512_reduce_add_epi32(s);
}

/* One group of 32 outputs per step; a pair of taps is interleaved and multiplied at once. */
static void vnni_taps16(int32_t *acc, const int16_t *const *taps, const int32_t *w, size_t pairs,
                        size_t n) {
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  for (size_t i = 0; i < n; i += 32) {
    __m512i lo = _mm512_setzero_si512(), hi = lo;
    for (size_t t = 0; t < pairs; t++) {
      const __m512i a = _mm512_loadu_si512(taps[2 * t] + i);
      const __m512i b = _mm512_loadu_si512(taps[2 * t + 1] + i);
      const __m512i wv = _mm512_set1_epi32(w[t]);
      lo = _mm512_dpwssd_epi32(lo, _mm512_unpacklo_epi16(a, b), wv);
      hi = _mm512_dpwssd_epi32(hi, _mm512_unpackhi_epi16(a, b), wv);
    }
    const __m512i v0 = _mm512_permutex2var_epi64(lo, first, hi);
    const __m512i v1 = _mm512_permutex2var_epi64(lo, second, hi);
    const uint32_t left = n - i >= 32 ? ~0u : (1u << (n - i)) - 1;
    const __mmask16 m0 = (__mmask16)left, m1 = (__mmask16)(left >> 16);
    _mm512_mask_storeu_epi32(acc + i, m0,
                             _mm512_add_epi32(v0, _mm512_maskz_loadu_epi32(m0, acc + i)));
    _mm512_mask_storeu_epi32(acc + i + 16, m1,
                             _mm512_add_epi32(v1, _mm512_maskz_loadu_epi32(m1, acc + i + 16)));
  }
}

/* Q of 16 accumulators: high halves of doubled products, then a rounding shift. */
ALWAYS __m512i q_stage(__m512i a, __m512i m, __m512i left, __m512i right, __m512i mask,
                       __m512i half) {
  const __m512i bias = _mm512_set1_epi64(INT64_C(1) << 30);
  a = _mm512_sllv_epi32(a, left);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(a, m), bias);
  const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(a, 32), m), bias);
  const __m512i q =
      _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
  const __m512i threshold = _mm512_sub_epi32(half, _mm512_srai_epi32(q, 31));
  const __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(q, mask), threshold);
  const __m512i r = _mm512_srav_epi32(q, right);
  return _mm512_mask_sub_epi32(r, up, r, _mm512_set1_epi32(-1));
}

ALWAYS __m512i r_stage(__m512i a, const post_stage *p, __m512i count, __m512i less) {
  if (p->shift == 0) {
    return a;
  }
  if (p->arith) {
    return p->round ? _mm512_srai_epi32(
                          _mm512_add_epi32(_mm512_srav_epi32(a, less), _mm512_set1_epi32(1)), 1)
                    : _mm512_srav_epi32(a, count);
  }
  return p->round ? _mm512_srli_epi32(
                        _mm512_add_epi32(_mm512_srlv_epi32(a, less), _mm512_set1_epi32(1)), 1)
                  : _mm512_srlv_epi32(a, count);
}

static void vnni_post8(uint8_t *dst, const int32_t *acc, size_t n, const post_stage *p) {
  const q_params q = q_prepare(p);
  const int right = p->quant ? q.right : p->shift;
  const __m512i left_v = _mm512_set1_epi32(q.left), right_v = _mm512_set1_epi32(right);
  const __m512i less = _mm512_set1_epi32(right - 1), mask_v = _mm512_set1_epi32(q.mask);
  const __m512i half = _mm512_set1_epi32(q.half), m = _mm512_set1_epi32(q.mult);
  const __m512i lo = _mm512_set1_epi32(p->lo), hi = _mm512_set1_epi32(p->hi);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 k = n - i >= 16 ? 0xFFFF : (__mmask16)((1u << (n - i)) - 1);
    __m512i a = _mm512_maskz_loadu_epi32(k, acc + i);
    a = p->quant ? q_stage(a, m, left_v, right_v, mask_v, half) : r_stage(a, p, right_v, less);
    a = _mm512_min_epi32(_mm512_max_epi32(a, lo), hi);
    _mm512_mask_cvtepi32_storeu_epi8(dst + i, k, a);
  }
}

static void vnni_pack4(uint32_t *dst, const uint8_t *const p[4], size_t n, uint32_t flip) {
  const __m512i f = _mm512_set1_epi32((int)flip);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 k = n - i >= 16 ? 0xFFFF : (__mmask16)((1u << (n - i)) - 1);
    const __m128i a = _mm_maskz_loadu_epi8(k, p[0] + i), b = _mm_maskz_loadu_epi8(k, p[1] + i);
    const __m128i c = _mm_maskz_loadu_epi8(k, p[2] + i), d = _mm_maskz_loadu_epi8(k, p[3] + i);
    const __m128i ab0 = _mm_unpacklo_epi8(a, b), ab1 = _mm_unpackhi_epi8(a, b);
    const __m128i cd0 = _mm_unpacklo_epi8(c, d), cd1 = _mm_unpackhi_epi8(c, d);
    __m512i v = _mm512_castsi128_si512(_mm_unpacklo_epi16(ab0, cd0));
    v = _mm512_inserti32x4(v, _mm_unpackhi_epi16(ab0, cd0), 1);
    v = _mm512_inserti32x4(v, _mm_unpacklo_epi16(ab1, cd1), 2);
    v = _mm512_inserti32x4(v, _mm_unpackhi_epi16(ab1, cd1), 3);
    _mm512_mask_storeu_epi32(dst + i, k, _mm512_xor_si512(v, f));
  }
}

/* 16 symbols per step: the positions of the one bits of the unary part, their distances, and the
 * low bit planes as masks. */
static void vnni_unpack(uint8_t *sym, const uint8_t *map, size_t blocks, bit_reader *r) {
  const __m512i index = _mm512_set_epi8(
      63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41,
      40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18,
      17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (size_t b = 0; b < blocks; b++, sym += BLOCK) {
    const unsigned k = map[b] >> 5, unary = 16 + (map[b] & 31);
    const uint64_t byte = r->at >> 3;
    if (k >= 6 || byte + 32 > r->bits >> 3) {
      unpack_block(r, map[b], 0, sym);
      continue;
    }
    __m128i low = _mm_setzero_si128();
    for (unsigned p = 0; p < k; p++, r->at += 16) {
      uint32_t v;
      memcpy(&v, r->p + (r->at >> 3), 4);
      const __mmask16 plane = (__mmask16)(v >> (r->at & 7));
      low = _mm_or_si128(low, _mm_maskz_set1_epi8(plane, (char)(1 << p)));
    }
    uint64_t v;
    memcpy(&v, r->p + (r->at >> 3), 8);
    v = (v >> (r->at & 7)) & ((UINT64_C(1) << unary) - 1);
    r->at += unary;
    const int ones = __builtin_popcountll(v);
    const __m128i at = _mm512_castsi512_si128(_mm512_maskz_compress_epi8(v, index));
    const __m128i before = _mm_alignr_epi8(at, _mm_set1_epi8(-1), 15);
    __m128i q = _mm_sub_epi8(_mm_sub_epi8(at, before), _mm_set1_epi8(1));
    if (ones < BLOCK) { /* damaged stream: like the portable code, no zeros after the last */
      q = _mm_maskz_mov_epi8((__mmask16)((1u << ones) - 1), q);
    }
    /* bytes shifted left by k < 6 within 16-bit elements, strays masked off */
    const __m128i high = _mm_and_si128(_mm_sll_epi16(q, _mm_cvtsi32_si128((int)k)),
                                       _mm_set1_epi8((char)(0xFF << k)));
    _mm_storeu_si128((__m128i *)(void *)sym, _mm_or_si128(low, high));
  }
}

const kernel_set kernels_avx512vnni = {
    .name = "avx512vnni",
    .pack4 = vnni_pack4,
    .pack2 = generic_pack2,
    .gemm8 = vnni_gemm8,
    .gemm16 = vnni_gemm16,
    .gemm_f32 = vnni_gemm_f32,
    .sum8 = vnni_sum8,
    .taps16 = vnni_taps16,
    .taps_f32 = vnni_taps_f32,
    .max8 = generic_max8,
    .widen8 = generic_widen8,
    .post8 = vnni_post8,
    .arith_row = generic_arith_row,
    .lookup8 = generic_lookup8,
    .unpack = vnni_unpack,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int not_x86_64; /* ISO C forbids an empty translation unit */
#endif
