/* Portable inner loops, written so that the compiler can vectorise them. Included once per kernel
 * set, after an eventual target pragma; every function is static and may be left unused. */

#include <string.h>

#include "bf16.h"
#include "kernels.h"
#include "unpack.h"

#define UNUSED_OK __attribute__((unused))

static UNUSED_OK void generic_pack4(uint32_t *restrict dst, const uint8_t *const p[4], size_t n,
                                    uint32_t flip) {
  const uint8_t *restrict a = p[0], *restrict b = p[1], *restrict c = p[2], *restrict d = p[3];
  for (size_t i = 0; i < n; i++) {
    dst[i] = (a[i] | (uint32_t)b[i] << 8 | (uint32_t)c[i] << 16 | (uint32_t)d[i] << 24) ^ flip;
  }
}

static UNUSED_OK void generic_pack2(uint32_t *restrict dst, const uint8_t *restrict p0,
                                    const uint8_t *restrict p1, size_t n, int is_signed) {
  if (is_signed) {
    for (size_t i = 0; i < n; i++) {
      dst[i] = (uint16_t)(int8_t)p0[i] | (uint32_t)(uint16_t)(int8_t)p1[i] << 16;
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      dst[i] = p0[i] | (uint32_t)p1[i] << 16;
    }
  }
}

static UNUSED_OK void generic_gemm16(const gemm_job *j) {
  for (uint32_t r = 0; r < j->rows; r++) {
    int32_t *restrict acc = j->acc[r];
    for (uint32_t k = 0; k < j->k; k++) {
      const uint32_t w = load32(j->w[r] + 4 * (size_t)k);
      const int32_t w0 = (int16_t)w, w1 = (int16_t)(w >> 16);
      const uint32_t *restrict b = j->b + j->offs[k];
      for (uint32_t i = 0; i < j->cols; i++) {
        const int32_t sum = w0 * (int16_t)b[i] + w1 * (int16_t)(b[i] >> 16);
        acc[i] = (int32_t)((uint32_t)acc[i] + (uint32_t)sum);
      }
    }
  }
}

static UNUSED_OK void generic_gemm_f32(const gemm_job *j) {
  for (uint32_t r = 0; r < j->rows; r++) {
    float acc[GEMM_COLS];
    memcpy(acc, j->acc[r], j->cols * sizeof *acc);
    for (uint32_t k = 0; k < j->k; k++) {
      const float w = bits_f32(load32(j->w[r] + 4 * (size_t)k));
      const uint32_t *b = j->b + j->offs[k];
      for (uint32_t i = 0; i < j->cols; i++) {
        acc[i] = f32_add_small(acc[i], f32_mul_small(bits_f32(b[i]), w));
      }
    }
    memcpy(j->acc[r], acc, j->cols * sizeof *acc);
  }
}

static UNUSED_OK int32_t generic_sum8(const uint8_t *w, size_t n) {
  int32_t s = 0;
  for (size_t i = 0; i < n; i++) {
    s += (int8_t)w[i];
  }
  return s;
}

static UNUSED_OK void generic_taps16(int32_t *restrict acc, const int16_t *const *taps,
                                     const int32_t *w, size_t pairs, size_t n) {
  for (size_t t = 0; t < pairs; t++) {
    const int32_t w0 = (int16_t)w[t], w1 = w[t] >> 16;
    const int16_t *restrict a = taps[2 * t], *restrict b = taps[2 * t + 1];
    for (size_t i = 0; i < n; i++) {
      acc[i] = (int32_t)((uint32_t)acc[i] + (uint32_t)(w0 * a[i] + w1 * b[i]));
    }
  }
}

static UNUSED_OK void generic_taps_f32(float *restrict acc, const float *const *taps,
                                       const float *w, size_t taps_n, size_t n) {
  for (size_t t = 0; t < taps_n; t++) {
    const float *restrict a = taps[t];
    for (size_t i = 0; i < n; i++) {
      acc[i] = f32_add_small(acc[i], f32_mul_small(a[i], w[t]));
    }
  }
}

static UNUSED_OK void generic_max8(uint8_t *restrict acc, const uint8_t *const *taps, size_t taps_n,
                                   size_t n, int is_signed, int is_min) {
  /* with the sign bit flipped, signed order is unsigned order; min(x) = ~max(~x) */
  const uint8_t flip = (uint8_t)((is_signed ? 0x80 : 0) ^ (is_min ? 0xFF : 0));
  for (size_t i = 0; i < n; i++) {
    acc[i] ^= flip;
  }
  for (size_t t = 0; t < taps_n; t++) {
    const uint8_t *restrict a = taps[t];
    for (size_t i = 0; i < n; i++) {
      const uint8_t v = a[i] ^ flip;
      acc[i] = acc[i] > v ? acc[i] : v;
    }
  }
  for (size_t i = 0; i < n; i++) {
    acc[i] ^= flip;
  }
}

static UNUSED_OK void generic_widen8(int16_t *restrict dst, const uint8_t *restrict src, size_t n,
                                     int is_signed) {
  if (is_signed) {
    for (size_t i = 0; i < n; i++) {
      dst[i] = (int8_t)src[i];
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      dst[i] = src[i];
    }
  }
}

/* R stage of n accumulators, in place. */
static UNUSED_OK void generic_shift(int32_t *restrict v, size_t n, const post_stage *p) {
  const unsigned s = (unsigned)p->shift;
  if (s == 0) {
    return;
  }
  if (p->arith) {
    if (p->round) {
      for (size_t i = 0; i < n; i++) {
        v[i] = (int32_t)((uint32_t)(v[i] >> (s - 1)) + 1u) >> 1;
      }
    } else {
      for (size_t i = 0; i < n; i++) {
        v[i] >>= s;
      }
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      v[i] = post_r(v[i], p);
    }
  }
}

static UNUSED_OK void generic_clamp8(uint8_t *restrict dst, const int32_t *restrict v, size_t n,
                                     int32_t lo, int32_t hi) {
  for (size_t i = 0; i < n; i++) {
    int32_t x = v[i] < lo ? lo : v[i];
    dst[i] = (uint8_t)(x > hi ? hi : x);
  }
}

static UNUSED_OK void generic_post8(uint8_t *restrict dst, const int32_t *restrict acc, size_t n,
                                    const post_stage *p) {
  if (p->quant) {
    const q_params q = q_prepare(p);
    for (size_t i = 0; i < n; i++) {
      dst[i] = (uint8_t)post_clamp(post_q(acc[i], &q), p);
    }
    return;
  }
  int32_t v[64];
  for (size_t at = 0; at < n; at += 64) {
    const size_t m = n - at < 64 ? n - at : 64;
    memcpy(v, acc + at, m * sizeof *v);
    generic_shift(v, m, p);
    generic_clamp8(dst + at, v, m, p->lo, p->hi);
  }
}

static UNUSED_OK void generic_lookup8(uint8_t *dst, const uint8_t *src, size_t n,
                                      const uint8_t *table) {
  for (size_t i = 0; i < n; i++) {
    dst[i] = table[src[i]];
  }
}

static UNUSED_OK void generic_unpack(uint8_t *sym, const uint8_t *map, size_t blocks,
                                     bit_reader *r) {
  for (size_t b = 0; b < blocks; b++) {
    unpack_block(r, map[b], 0, sym + b * BLOCK);
  }
}

/* ---- tensor arithmetic ---- */

static inline void generic_fetch(int32_t *restrict v, const uint8_t *restrict lo,
                                 const uint8_t *restrict hi, uint32_t ws, size_t n, int wide,
                                 int is_signed) {
  if (ws == 1 && !wide) {
    if (is_signed) {
      for (size_t i = 0; i < n; i++) {
        v[i] = (int8_t)lo[i];
      }
    } else {
      for (size_t i = 0; i < n; i++) {
        v[i] = lo[i];
      }
    }
  } else if (ws == 1) {
    if (is_signed) {
      for (size_t i = 0; i < n; i++) {
        v[i] = lo[i] + (int8_t)hi[i] * 256;
      }
    } else {
      for (size_t i = 0; i < n; i++) {
        v[i] = lo[i] + hi[i] * 256;
      }
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      const size_t at = i * ws;
      const int32_t high = !wide ? 0 : is_signed ? (int8_t)hi[at] : hi[at];
      v[i] = wide ? lo[at] + high * 256 : is_signed ? (int8_t)lo[at] : lo[at];
    }
  }
}

#define EACH(expr)                                                                                 \
  for (size_t i = 0; i < n; i++) {                                                                 \
    v[i] = (int32_t)(expr);                                                                        \
  }                                                                                                \
  break

/* Integer result of one operation before the result stage (hw/cv18xx-tiu.md section 5.1). */
static inline void generic_combine(int eu, int32_t *restrict v, const int32_t *restrict b,
                                   const int32_t *restrict r, size_t n, unsigned left) {
  switch (eu) {
  case EU_MUL:
    EACH(v[i] * b[i]);
  case EU_MAC:
    EACH((uint32_t)(v[i] * b[i]) + ((uint32_t)r[i] << left));
  case EU_ADD:
    EACH(v[i] + b[i]);
  case EU_SUB:
    EACH(v[i] - b[i]);
  case EU_MAX:
    EACH(v[i] > b[i] ? v[i] : b[i]);
  case EU_MIN:
    EACH(v[i] < b[i] ? v[i] : b[i]);
  case EU_AND:
    EACH(v[i] & b[i]);
  case EU_OR:
    EACH(v[i] | b[i]);
  case EU_XOR:
    EACH(v[i] ^ b[i]);
  case EU_GE:
    EACH(v[i] >= b[i]);
  case EU_SHIFT:
    for (size_t i = 0; i < n; i++) {
      const int32_t s = b[i];
      v[i] = s >= 0 ? (int16_t)(s > 15 ? 0 : (uint32_t)v[i] << s) : v[i] >> (s < -31 ? 31 : -s);
    }
    break;
  default:
    break;
  }
}

#undef EACH

#define ARITH_CHUNK 256

static UNUSED_OK void generic_arith_row(const arith_job *j, size_t total) {
  int32_t v[ARITH_CHUNK], b[ARITH_CHUNK], r[ARITH_CHUNK];
  if (j->b_const || j->wb == 0) {
    int32_t value = j->constant;
    if (!j->b_const) {
      generic_fetch(&value, j->b, j->b_hi, 1, 1, j->b_wide, j->b_signed);
    }
    for (size_t i = 0; i < ARITH_CHUNK && i < total; i++) {
      b[i] = value;
    }
  }
  for (size_t at = 0; at < total; at += ARITH_CHUNK) {
    const size_t n = total - at < ARITH_CHUNK ? total - at : ARITH_CHUNK;
    generic_fetch(v, j->a + at * j->wa, j->a_hi + at * j->wa, j->wa, n, j->a_wide, j->a_signed);
    if (!j->b_const && j->wb != 0) {
      generic_fetch(b, j->b + at * j->wb, j->b_hi + at * j->wb, j->wb, n, j->b_wide, j->b_signed);
    }
    uint8_t *lo = j->r + at * j->wr, *hi = j->r_hi + at * j->wr;
    if (j->eu == EU_MAC) {
      generic_fetch(r, j->old + at * j->wr, j->old_hi + at * j->wr, j->wr, n, 1, j->res_signed);
    }
    generic_combine(j->eu, v, b, r, n, j->left_shift);
    if (j->quant) {
      const q_params q = q_prepare(j->post);
      for (size_t i = 0; i < n; i++) {
        v[i] = post_q(v[i], &q);
      }
    } else {
      generic_shift(v, n, j->post);
    }
    if (j->wr == 1 && !j->res_wide) {
      generic_clamp8(lo, v, n, j->post->lo, j->post->hi);
      continue;
    }
    for (size_t i = 0; i < n; i++) {
      int32_t x = v[i] < j->post->lo ? j->post->lo : v[i];
      x = x > j->post->hi ? j->post->hi : x;
      lo[i * j->wr] = (uint8_t)x;
      if (j->res_wide) {
        hi[i * j->wr] = (uint8_t)((uint32_t)x >> 8);
      }
    }
  }
}
