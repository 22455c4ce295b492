/* Pooling and depthwise convolution (hw/cv18xx-tiu.md sections 5.7, 5.8): one channel at a time,
 * chunks of the flat positions of expand.h. */

#include <string.h>

#include "bf16.h"
#include "expand.h"
#include "gemm.h"
#include "partial.h"

#define CHUNK 256

typedef struct {
  const exec_ctx *x;
  const tiu_cmd *t;
  const kernel_set *k;
  expansion e;
  uint32_t taps, size, max_bits; /* size: bytes per unit of `map` */
  uint32_t fill, y, flat;        /* first output row, positions */
  uint8_t *map, *bytes;          /* bytes: the map before widening (integer depthwise) */
  uint32_t *offs;                /* unit offset of each tap */
  const void **ptrs;             /* one per tap, even count */
  int32_t *weights;              /* pairs of int16, or floats */
  void *rows;
} window_state;

typedef struct {
  window_state *s;
  const uint8_t *plane;
} plane_source;

static int packed(const tiu_cmd *t) {
  const uint32_t e = t->bf16 ? 2 : 1;
  return t->a.ws == e && t->a.hs == t->a.w * e;
}

/* Bytes per unit of the map: bf16 as fp32, other sums as int16. */
static uint32_t unit_size(const tiu_cmd *t, int sums) { return t->bf16 ? 4 : sums ? 2 : 1; }

/* Layout of the scratch area, as in conv.c. */
static uint64_t layout(const tiu_cmd *t, int sums, uint64_t area, window_state *s, uint8_t *base) {
  expansion local, *e = s ? &s->e : &local;
  const uint64_t size = unit_size(t, sums), bytes = size == 2;
  expansion_init(e, t, packed(t), 1);
  const uint64_t taps = (uint64_t)t->win.kh * t->win.kw + 1;
  if (taps > UINT32_MAX / 64 || e->plane > UINT32_MAX / 8) {
    return UINT64_MAX;
  }
  uint64_t sizes[6] = {EXPAND_SLACK * size,
                       taps * sizeof(void *),
                       sums ? taps * 4 : 0,
                       (uint64_t)expansion_row_units(e) * (bytes ? 1 : size),
                       taps * 4,
                       EXPAND_SLACK * bytes},
           fixed = 6 * 128;
  for (int i = 0; i < 6; i++) {
    fixed += sizes[i];
  }
  const uint32_t rows = expansion_rows(e, t->res.h, area > fixed ? area - fixed : 0, size + bytes);
  expansion_init(e, t, packed(t), rows);
  sizes[0] += e->plane * size;
  sizes[5] += e->plane * bytes;
  uint64_t offset[6], at = 0;
  for (int i = 0; i < 6; i++) {
    offset[i] = at;
    at += (sizes[i] + 127) & ~UINT64_C(63);
  }
  if (s) {
    s->size = (uint32_t)size;
    s->map = base + offset[0];
    s->ptrs = (const void **)(void *)(base + offset[1]);
    s->weights = (int32_t *)(void *)(base + offset[2]);
    s->rows = base + offset[3];
    s->offs = (uint32_t *)(void *)(base + offset[4]);
    s->bytes = base + offset[5];
  }
  return at;
}

size_t window_scratch(const tiu_cmd *t, int sums, size_t area) {
  const uint64_t need = layout(t, sums, area, NULL, NULL);
  return need > MAX_SCRATCH ? (size_t)MAX_SCRATCH + 1 : (size_t)need;
}

static void load_byte_row(void *dst, const void *ctx, uint32_t row, uint32_t count) {
  const plane_source *p = ctx;
  const operand *a = &p->s->t->a;
  const uint8_t *src = p->plane + (size_t)row * a->hs;
  if (a->ws == 1) {
    memcpy(dst, src, count);
    return;
  }
  for (uint32_t i = 0; i < count; i++) {
    ((uint8_t *)dst)[i] = src[(size_t)i * a->ws];
  }
}

static void load_float_row(void *dst, const void *ctx, uint32_t row, uint32_t count) {
  const plane_source *p = ctx;
  const operand *a = &p->s->t->a;
  const uint8_t *src = p->plane + (size_t)row * a->hs;
  uint32_t *d = dst, max = p->s->max_bits;
  for (uint32_t i = 0; i < count; i++) {
    d[i] = f32_bits(bf16_read(load16(src + (size_t)i * a->ws)));
    const uint32_t mag = d[i] & 0x7FFFFFFF;
    max = mag > max ? mag : max;
  }
  p->s->max_bits = max;
}

static void begin(window_state *s, const exec_ctx *x, const tiu_cmd *t, int sums) {
  s->x = x;
  s->t = t;
  s->k = kernels_get();
  s->max_bits = s->y = 0;
  layout(t, sums, x->scratch_size, s, x->scratch);
  expand_begin(&s->e, &t->win);
  s->taps = (uint32_t)t->win.kh * t->win.kw;
  for (uint32_t i = 0; i < s->taps; i++) {
    s->offs[i] = (uint32_t)tap_offset(&s->e, &t->win, i / t->win.kw, i % t->win.kw);
  }
  s->offs[s->taps] = 0; /* partner of an odd last tap, weight 0 */
}

/* Sets the number of positions of the rows from s->y on; 0 behind the last row. */
static int next_rows(window_state *s) {
  const uint32_t end = s->t->res.h;
  if (s->y < end) {
    s->flat = expansion_flat(&s->e, s->t, end - s->y < s->e.rows ? end - s->y : s->e.rows);
  }
  return s->y < end;
}

/* Pointers of all taps for the chunk of flat positions from p on. */
static inline void point_taps(window_state *s, uint32_t p) {
  for (uint32_t i = 0; i <= s->taps; i++) {
    s->ptrs[i] = s->map + ((size_t)s->offs[i] + p) * s->size;
  }
}

/* ---- depthwise, average ---- */

static void int_weights(window_state *s, const uint8_t *w) {
  const tiu_cmd *t = s->t;
  for (uint32_t i = 0; i < s->taps; i += 2) {
    const int32_t a = t->is_const ? t->constant : (int8_t)w[i];
    const int32_t b = i + 1 == s->taps ? 0 : t->is_const ? t->constant : (int8_t)w[i + 1];
    s->weights[i / 2] = (int32_t)((uint32_t)(uint16_t)a | (uint32_t)b << 16);
  }
}

static void int_plane(window_state *s, uint8_t *out, const channel_param *c) {
  const tiu_cmd *t = s->t;
  int32_t acc[CHUNK];
  uint8_t bytes[CHUNK];
  post_stage post = t->post;
  post.mult = c->mult;
  post.shift = c->shift;
  const int dense = expansion_dense(&s->e, &t->res);
  for (uint32_t p = 0; p < s->flat; p += CHUNK) {
    const uint32_t len = s->flat - p < CHUNK ? s->flat - p : CHUNK;
    for (uint32_t i = 0; i < len; i++) {
      acc[i] = c->add;
    }
    point_taps(s, p);
    s->k->taps16(acc, (const int16_t *const *)(const void *)s->ptrs, s->weights, (s->taps + 1) / 2,
                 len);
    s->k->post8(dense ? out + p : bytes, acc, len, &post);
    if (!dense) {
      expand_scatter(&s->e, &t->res, out, p, bytes, len, 1);
    }
  }
}

static uint32_t float_weights(window_state *s, const uint8_t *w) {
  uint32_t max = 0;
  for (uint32_t i = 0; i < s->taps; i++) {
    const uint32_t v = s->t->is_const ? (uint32_t)s->t->constant : load16(w + 2 * (size_t)i);
    const uint32_t u = f32_bits(bf16_read(v));
    memcpy(&s->weights[i], &u, 4);
    max = (u & 0x7FFFFFFF) > max ? u & 0x7FFFFFFF : max;
  }
  return max;
}

static void float_taps_exact(const window_state *s, float *acc, uint32_t len) {
  for (uint32_t i = 0; i < len; i++) {
    for (uint32_t k = 0; k < s->taps; k++) {
      const float a = ((const float *)s->ptrs[k])[i];
      acc[i] = f32_add(acc[i], f32_mul(a, bits_f32((uint32_t)s->weights[k])));
    }
  }
}

static void float_plane(window_state *s, uint8_t *out, const channel_param *c, uint32_t wmax) {
  const tiu_cmd *t = s->t;
  float acc[CHUNK];
  uint8_t bytes[CHUNK * 2];
  const int exact = gemm_range_is_large(s->max_bits, wmax, s->taps);
  for (uint32_t p = 0; p < s->flat; p += CHUNK) {
    const uint32_t len = s->flat - p < CHUNK ? s->flat - p : CHUNK;
    memset(acc, 0, sizeof acc);
    point_taps(s, p);
    if (exact) {
      float_taps_exact(s, acc, len);
    } else {
      s->k->taps_f32(acc, (const float *const *)(const void *)s->ptrs,
                     (const float *)(const void *)s->weights, s->taps, len);
    }
    for (uint32_t i = 0; i < len; i++) {
      if (t->ps32 == 2) {
        const uint32_t y = (p + i) / s->e.wph, col = (p + i) % s->e.wph;
        if (col < t->res.w) {
          store_partial(t, out + (size_t)y * t->res.hs + (size_t)col * t->res.ws, f32_bits(acc[i]));
        }
      } else {
        const float v = t->has_bias ? f32_add(acc[i], f32_bias((uint32_t)c->add)) : acc[i];
        store16(bytes + 2 * i, bf16_result_relu(v, t->relu));
      }
    }
    if (t->ps32 != 2) {
      expand_scatter(&s->e, &t->res, out, p, bytes, len, 2);
    }
  }
}

/* One channel of one sample. */
static void depthwise_plane(window_state *s, const uint8_t *w, const channel_param *c,
                            const plane_source *src, uint8_t *out) {
  const tiu_cmd *t = s->t;
  const uint32_t wmax = t->bf16 ? float_weights(s, w) : 0;
  if (!t->bf16) {
    int_weights(s, w);
  }
  for (s->y = 0; next_rows(s); s->y += s->e.rows) {
    uint8_t *row = out + (size_t)s->y * t->res.hs;
    if (t->bf16) {
      s->max_bits = s->fill;
      expand_rows(&s->e, &t->win, s->map, 4, s->fill, s->y, load_float_row, src, s->rows);
      float_plane(s, row, c, wmax);
    } else {
      expand_rows(&s->e, &t->win, s->bytes, 1, s->fill, s->y, load_byte_row, src, s->rows);
      s->k->widen8((int16_t *)(void *)s->map, s->bytes, (size_t)s->e.plane, t->a.is_signed);
      int_plane(s, row, c);
    }
  }
}

void exec_depthwise(const exec_ctx *x, const tiu_cmd *t) {
  if (t->direct) {
    exec_depthwise_direct(x, t);
    return;
  }
  window_state s;
  begin(&s, x, t, 1);
  s.fill = t->bf16 ? f32_bits((float)(t->fill & 0xFFFF)) : (uint32_t)t->fill & 255;
  expand_fill(&s.e, t->bf16 ? s.map : s.bytes, t->bf16 ? 4 : 1, s.fill);
  const span channels = share_of(x, t->res.c, 1);
  for (uint32_t n = 0; n < t->res.n; n++) {
    for (uint32_t c = channels.first; c < channels.end; c++) {
      const channel_param param = channel_params(x, t, c);
      const uint8_t *w = x->rmem + (size_t)(c % x->lanes) * LANE_BYTES + t->b.off +
                         (size_t)(c / x->lanes) * t->b.cs;
      const plane_source src = {&s, operand_at(x, &t->a, n, c)};
      depthwise_plane(&s, w, &param, &src, plane_at(x, &t->res, n, c));
    }
  }
}

/* ---- max, min ---- */

static void float_max(const window_state *s, uint8_t *bytes, uint32_t len) {
  for (uint32_t i = 0; i < len; i++) {
    float best = ((const float *)s->ptrs[0])[i];
    int invalid = 0;
    for (uint32_t k = 0; k < s->taps; k++) {
      const float v = ((const float *)s->ptrs[k])[i];
      invalid |= v != v;
      best = (s->t->eu == 3 ? v < best : v > best) ? v : best;
    }
    store16(bytes + 2 * i, invalid ? 0x7F7F : bf16_result(best));
  }
}

/* The output rows from s->y on. */
static void pool_rows(window_state *s, uint8_t *out) {
  const tiu_cmd *t = s->t;
  uint8_t bytes[CHUNK * 2];
  for (uint32_t p = 0; p < s->flat; p += CHUNK) {
    const uint32_t len = s->flat - p < CHUNK ? s->flat - p : CHUNK;
    point_taps(s, p);
    if (t->bf16) {
      float_max(s, bytes, len);
    } else {
      memset(bytes, (int)s->fill, len);
      s->k->max8(bytes, (const uint8_t *const *)(const void *)s->ptrs, s->taps, len, t->a.is_signed,
                 t->eu == 3);
    }
    expand_scatter(&s->e, &t->res, out, p, bytes, len, t->bf16 ? 2 : 1);
  }
}

void exec_pool(const exec_ctx *x, const tiu_cmd *t) {
  if (t->direct) {
    exec_pool_direct(x, t);
    return;
  }
  window_state s;
  begin(&s, x, t, 0);
  const row_loader load = t->bf16 ? load_float_row : load_byte_row;
  s.fill = t->bf16 ? f32_bits(bf16_read((uint32_t)t->fill & 0xFFFF)) : (uint32_t)t->fill & 255;
  expand_fill(&s.e, s.map, s.size, s.fill);
  const span channels = share_of(x, t->res.c, 1);
  for (uint32_t n = 0; n < t->res.n; n++) {
    for (uint32_t c = channels.first; c < channels.end; c++) {
      const plane_source src = {&s, operand_at(x, &t->a, n, c)};
      for (s.y = 0; next_rows(&s); s.y += s.e.rows) {
        expand_rows(&s.e, &t->win, s.map, s.size, s.fill, s.y, load, &src, s.rows);
        pool_rows(&s, plane_at(x, &t->res, n, c) + (size_t)s.y * t->res.hs);
      }
    }
  }
}
