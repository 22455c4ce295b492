/* Transfers (hw/cv18xx-tdma.md sections 4 and 5). */

#include "stream.h"

#include <string.h>

/* ---- conversions (section 5) ---- */

static uint16_t int_to_bf16(int32_t v) {
  const float x = (float)v;
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return (uint16_t)(u >> 16);
}

/* Rounded (nearest even, or truncated) and saturated. */
static uint8_t bf16_to_int(uint32_t p, const tdma_cmd *d, int gen_b) {
  const int32_t lo = d->is_signed ? -128 : 0, hi = d->is_signed ? 127 : 255;
  const int32_t exponent = (int32_t)(p >> 7 & 255) - 127, negative = (p & 0x8000) != 0;
  const uint32_t mantissa = (p & 0x7F) | 0x80;
  int32_t v;
  if (exponent >= 9) {
    const int nan = exponent == 128 && (p & 0x7F) != 0;
    if (!gen_b && exponent >= 64 && !nan) {
      return 0; /* quirk */
    }
    return (uint8_t)(negative ? lo : hi);
  }
  if (exponent < -1) {
    v = 0;
  } else if (exponent >= 7) {
    v = (int32_t)(mantissa << (exponent - 7));
  } else {
    const int s = 7 - exponent; /* 1..8 */
    v = (int32_t)(mantissa >> s);
    const uint32_t rest = mantissa & ((1u << s) - 1), half = 1u << (s - 1);
    v += !d->truncate && (rest > half || (rest == half && (v & 1)));
  }
  v = negative ? -v : v;
  return (uint8_t)(v < lo ? lo : v > hi ? hi : v);
}

static uint16_t lut_helper(uint16_t p, const tdma_cmd *d) {
  if (d->lut_base) {
    return p & 0xFF80;
  }
  const uint32_t exponent = p >> 7 & 255, mantissa = p & 0x7F;
  int32_t i;
  if (exponent == 255) {
    i = 63;
  } else if (exponent != 0) {
    i = (int32_t)exponent - 127 + 63;
  } else if (mantissa == 0) {
    i = 0;
  } else {
    int32_t top = 6;
    while (!(mantissa >> top & 1)) {
      top--;
    }
    i = top - 133 + 63; /* mantissa * 2^-133 */
  }
  return (uint16_t)((i & 255) * 0x0101);
}

static void convert(uint8_t *dst, const uint8_t *src, size_t n, const tdma_cmd *d, int gen_b) {
  if (d->src.fmt == d->dst.fmt) {
    const size_t e = d->src.fmt == 2 ? 2 : 1;
    if (e == 2 && (d->lut_idx || d->lut_base) && d->src.local && d->dst.local) {
      for (size_t i = 0; i < n; i++) {
        store16(dst + 2 * i, lut_helper(load16(src + 2 * i), d));
      }
    } else if (src + n * e <= dst || dst + n * e <= src) {
      memcpy(dst, src, n * e);
    } else { /* overlapping: element after element, upwards */
      for (size_t i = 0; i < n * e; i += e) {
        const uint8_t v[2] = {src[i], src[i + e - 1]};
        memcpy(dst + i, v, e);
      }
    }
  } else if (d->dst.fmt == 2) {
    for (size_t i = 0; i < n; i++) {
      store16(dst + 2 * i, int_to_bf16(d->is_signed ? (int8_t)src[i] : src[i]));
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      dst[i] = bf16_to_int(load16(src + 2 * i), d, gen_b);
    }
  }
}

/* count elements from one stream to the other. */
static void copy_stream(const exec_ctx *x, const tdma_cmd *d, const side *to, const side *from,
                        uint64_t count) {
  stream a, b;
  stream_open(&a, x, from);
  stream_open(&b, x, to);
  while (count) {
    uint64_t n = a.left < b.left ? a.left : b.left;
    n = n < count ? n : count;
    convert(b.p, a.p, n, d, x->gen_b);
    stream_skip(&a, n);
    stream_skip(&b, n);
    count -= n;
  }
}

static void copy_matrix_rows(const exec_ctx *x, const tdma_cmd *d) {
  const uint32_t rows = d->src.n, cols = d->src.local ? d->dst.w : d->src.w;
  side from = d->src, to = d->dst;
  from.n = to.n = 1;
  for (uint32_t r = 0; r < rows; r++) {
    copy_stream(x, d, &to, &from, cols);
    from.addr += from.ns;
    to.addr += to.ns;
  }
}

/* Exchange n and c of a side in global memory. */
static side swapped(side s) {
  const uint32_t n = s.n, ns = s.ns;
  s.n = s.c;
  s.ns = s.cs;
  s.c = n;
  s.cs = ns;
  return s;
}

static void trans_nc(const exec_ctx *x, const tdma_cmd *d) {
  side from = d->src, to = d->dst;
  const uint64_t count = (uint64_t)from.n * from.c * from.h * from.w;
  if (from.local) {
    to = swapped(to);
  } else {
    from = swapped(from);
  }
  copy_stream(x, d, &to, &from, count);
}

/* Address of element (n, c, h, 0). */
static uint8_t *at(const exec_ctx *x, const side *d, uint32_t n, uint32_t c, uint32_t h) {
  stream s = {.d = d, .x = x, .n = n, .c = c, .h = h};
  s.base = d->local ? x->lmem : x->regions[d->region].data + d->addr;
  return stream_row(&s);
}

static void trans_cw(const exec_ctx *x, const tdma_cmd *d) {
  for (uint32_t n = 0; n < d->src.n; n++) {
    for (uint32_t c = 0; c < d->src.c; c++) {
      for (uint32_t h = 0; h < d->src.h; h++) {
        const uint8_t *s = at(x, &d->src, n, c, h);
        uint8_t *t = at(x, &d->dst, n, 0, h) + c;
        for (uint32_t w = 0; w < d->src.w; w++) {
          t[(size_t)w * d->dst.cs] = s[w];
        }
      }
    }
  }
}

static void trans_hwc(const exec_ctx *x, const tdma_cmd *d) {
  for (uint32_t n = 0; n < d->src.n; n++) {
    for (uint32_t c = 0; c < d->src.c; c++) {
      for (uint32_t h = 0; h < d->src.h; h++) {
        const uint8_t *s = at(x, &d->src, n, 0, h) + c;
        uint8_t *t = at(x, &d->dst, n, c, h);
        for (uint32_t w = 0; w < d->src.w; w++) {
          t[w] = s[(size_t)w * d->src.c];
        }
      }
    }
  }
}

/* Local row j holds column j of the global matrix. */
static void trans_matrix(const exec_ctx *x, const tdma_cmd *d) {
  for (uint32_t r = 0; r < d->src.n; r++) {
    const uint8_t *s = at(x, &d->src, r, 0, 0);
    const uint32_t c = r / d->dst.w, w = r % d->dst.w;
    for (uint32_t j = 0; j < d->src.w; j++) {
      at(x, &d->dst, j, c, 0)[w] = s[j];
    }
  }
}

static void fill(const exec_ctx *x, const tdma_cmd *d) {
  const side *t = &d->dst;
  stream s;
  stream_open(&s, x, t);
  uint64_t count = (uint64_t)t->n * t->c * t->h * t->w;
  while (count) {
    const uint64_t n = s.left < count ? s.left : count;
    if (t->fmt == 1) {
      memset(s.p, d->value & 255, n);
    } else {
      for (uint64_t i = 0; i < n; i++) {
        store16(s.p + 2 * i, d->value);
      }
    }
    stream_skip(&s, n);
    count -= n;
  }
}

int exec_tdma(const exec_ctx *x, int op, const tdma_cmd *d) {
  switch (op) {
  case OP_COPY:
    if (d->bytes) {
      side from = d->src, to = d->dst; /* local side: flat, across lane ends */
      const uint8_t *s =
          from.local ? x->lmem + from.addr : x->regions[from.region].data + from.addr;
      uint8_t *t = to.local ? x->lmem + to.addr : x->regions[to.region].data + to.addr;
      memmove(t, s, from.w);
    } else if (d->matrix) {
      copy_matrix_rows(x, d);
    } else {
      copy_stream(x, d, &d->dst, &d->src, (uint64_t)d->src.n * d->src.c * d->src.h * d->src.w);
    }
    return TPU_SIM_OK;
  case OP_FILL:
    fill(x, d);
    return TPU_SIM_OK;
  case OP_TRANS_NC:
    trans_nc(x, d);
    return TPU_SIM_OK;
  case OP_TRANS_CW:
    trans_cw(x, d);
    return TPU_SIM_OK;
  case OP_TRANS_HWC:
    trans_hwc(x, d);
    return TPU_SIM_OK;
  case OP_TRANS_MATRIX:
    trans_matrix(x, d);
    return TPU_SIM_OK;
  case OP_DECOMPRESS:
    return exec_decompress(x, d);
  default:
    return exec_compress(x, d);
  }
}
