/* Inner loops, one set per instruction set; all sets give identical bytes.
 *
 * "Unit": 32 bits holding one pixel of 4 channels (bytes, gemm8), of 2 channels (int16, gemm16)
 * or of 1 channel (float, gemm_f32). Readers may read up to 64 units behind the last one used.
 */
#ifndef TPUFORGE_SIM_KERNELS_H
#define TPUFORGE_SIM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "internal.h"

#define GEMM_ROWS 6
#define GEMM_COLS 64

/* acc[r][i] += sum over k of <w[r] unit k, b[offs[k] + i]>, r < rows, i < cols.
 * gemm8: b unsigned (signed_bytes: signed) bytes, w signed bytes; gemm16: int16 pairs; gemm_f32:
 * float, product exact, additions truncated, in order of k (operands small enough that nothing
 * overflows). */
typedef struct {
  const uint32_t *b, *offs;
  uint32_t k, rows, cols;
  const uint8_t *w[GEMM_ROWS];
  int32_t (*acc)[GEMM_COLS];
} gemm_job;

/* block(arguments, n) with a constant n = count, at most 4 (6): one instance of an inlined block
 * each, in which loops up to n are unrolled. */
#define CALL_UP_TO_4(count, block, ...)                                                            \
  switch (count) {                                                                                 \
  case 1:                                                                                          \
    block(__VA_ARGS__, 1);                                                                         \
    break;                                                                                         \
  case 2:                                                                                          \
    block(__VA_ARGS__, 2);                                                                         \
    break;                                                                                         \
  case 3:                                                                                          \
    block(__VA_ARGS__, 3);                                                                         \
    break;                                                                                         \
  default:                                                                                         \
    block(__VA_ARGS__, 4);                                                                         \
    break;                                                                                         \
  }

/* Not by CALL_UP_TO_4, which it has to hold: no macro is expanded inside itself. */
#define CALL_UP_TO_6(count, block, ...)                                                            \
  switch (count) {                                                                                 \
  case 1:                                                                                          \
    block(__VA_ARGS__, 1);                                                                         \
    break;                                                                                         \
  case 2:                                                                                          \
    block(__VA_ARGS__, 2);                                                                         \
    break;                                                                                         \
  case 3:                                                                                          \
    block(__VA_ARGS__, 3);                                                                         \
    break;                                                                                         \
  case 4:                                                                                          \
    block(__VA_ARGS__, 4);                                                                         \
    break;                                                                                         \
  case 5:                                                                                          \
    block(__VA_ARGS__, 5);                                                                         \
    break;                                                                                         \
  default:                                                                                         \
    block(__VA_ARGS__, 6);                                                                         \
    break;                                                                                         \
  }

/* One row of tensor arithmetic, see arith.c. Strides in bytes; b constant when sb == 0 and
 * cb set. */
typedef struct {
  uint8_t eu, a_wide, a_signed, b_wide, b_signed, res_wide, res_signed, b_const, quant, res_add;
  uint8_t left_shift;
  const post_stage *post;
  const uint8_t *a, *a_hi, *b, *b_hi;
  const uint8_t *old, *old_hi; /* mac: where the result's old value is read */
  uint8_t *r, *r_hi;
  uint32_t wa, wb, wr; /* element strides */
  int32_t constant;
} arith_job;

/* A bit string, least significant bit first (hw/cv18xx-tdma.md section 6). */
typedef struct {
  const uint8_t *p;
  uint64_t bits, at; /* length, position */
} bit_reader;

typedef struct {
  const char *name;
  void (*pack4)(uint32_t *dst, const uint8_t *const p[4], size_t n, uint32_t flip);
  void (*pack2)(uint32_t *dst, const uint8_t *p0, const uint8_t *p1, size_t n, int is_signed);
  void (*gemm8)(const gemm_job *); /* NULL: use gemm16 */
  uint8_t signed_bytes;            /* gemm8 takes inputs as signed bytes */
  void (*gemm16)(const gemm_job *);
  void (*gemm_f32)(const gemm_job *);
  int32_t (*sum8)(const uint8_t *w, size_t n); /* sum of signed bytes */
  /* acc[i] += sum over pairs t of (t0: taps[2t][i], t1: taps[2t+1][i]) . w[t] (two int16) */
  void (*taps16)(int32_t *acc, const int16_t *const *taps, const int32_t *w, size_t pairs,
                 size_t n);
  /* acc[i] += taps[t][i] * w[t], truncated additions in order of t */
  void (*taps_f32)(float *acc, const float *const *taps, const float *w, size_t taps_n, size_t n);
  /* acc[i] = max (min) over acc[i] and all taps */
  void (*max8)(uint8_t *acc, const uint8_t *const *taps, size_t taps_n, size_t n, int is_signed,
               int is_min);
  void (*widen8)(int16_t *dst, const uint8_t *src, size_t n, int is_signed);
  void (*post8)(uint8_t *dst, const int32_t *acc, size_t n, const post_stage *p);
  void (*arith_row)(const arith_job *j, size_t n);
  void (*lookup8)(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t *table);
  /* 16 symbols of each of `blocks` compressed blocks without zero guard */
  void (*unpack)(uint8_t *sym, const uint8_t *map, size_t blocks, bit_reader *r);
} kernel_set;

extern const kernel_set kernels_scalar;
#if defined(__x86_64__)
extern const kernel_set kernels_avx2;
extern const kernel_set kernels_avx512vnni;
#endif
#if defined(__ARM_NEON)
extern const kernel_set kernels_neon;
#if defined(__aarch64__)
extern const kernel_set kernels_neon_dot;
#endif
#endif

/* Bytes of the other signedness go into gemm8 with their top bits flipped: by how much that moves
 * them, 0 if they go as they are. */
static inline int32_t gemm8_offset(const kernel_set *k, int is_signed) {
  return !is_signed == !k->signed_bytes ? 0 : is_signed ? 128 : -128;
}

/* The set in use, chosen once per process. */
const kernel_set *kernels_get(void);

/* Result stage of one accumulator, without the clamp (hw/cv18xx-tiu.md sections 3.1, 3.2). */
static inline int32_t post_r(int32_t x, const post_stage *p) {
  const unsigned s = (unsigned)p->shift;
  if (s == 0) {
    return x;
  }
  if (!p->round) {
    return p->arith ? x >> s : (int32_t)((uint32_t)x >> s);
  }
  if (p->arith) {
    return (int32_t)((uint32_t)(x >> (s - 1)) + 1u) >> 1;
  }
  return (int32_t)((((uint32_t)x >> (s - 1)) + 1u) >> 1);
}

/* Q of section 3.2 taken apart. Shift counts beyond 31 do what the vendor's 32-bit code does:
 * counts are taken modulo 32, the mask modulo 64 and cut to 32 bits. */
typedef struct {
  int32_t mult, mask, half;
  int32_t left, right;
} q_params;

static inline q_params q_prepare(const post_stage *p) {
  q_params q = {.mult = p->mult};
  const uint32_t s = p->shift < 0 ? 0 : (uint32_t)p->shift;
  q.left = p->shift < 0 ? -p->shift & 31 : 0;
  q.right = (int32_t)(s & 31);
  q.mask = (int32_t)(uint32_t)((UINT64_C(1) << (s & 63)) - 1);
  q.half = q.mask >> 1;
  return q;
}

static inline int32_t post_q(int32_t acc, const q_params *p) {
  acc = (int32_t)((uint32_t)acc << p->left);
  const int32_t q =
      (int32_t)(uint32_t)((uint64_t)((int64_t)acc * p->mult + (INT64_C(1) << 30)) >> 31);
  const int32_t threshold = p->half + (q < 0);
  return (int32_t)((uint32_t)(q >> p->right) + ((q & p->mask) > threshold));
}

static inline int32_t post_clamp(int32_t v, const post_stage *p) {
  return v < p->lo ? p->lo : v > p->hi ? p->hi : v;
}

static inline int32_t post_value(int32_t acc, const post_stage *p) {
  const q_params q = q_prepare(p);
  return post_clamp(p->quant ? post_q(acc, &q) : post_r(acc, p), p);
}

#endif
