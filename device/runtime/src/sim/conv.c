/* Convolution (hw/cv18xx-tiu.md sections 5.9, 5.10, 6): the input of some output rows packed into
 * units, then blocks of 6 output channels x 64 positions. */

#include <string.h>

#include "bf16.h"
#include "expand.h"
#include "gemm.h"
#include "partial.h"

typedef struct {
  const exec_ctx *x;
  const tiu_cmd *t;
  const kernel_set *k;
  expansion e;
  uint32_t per_unit, groups, taps, count; /* count: units per output channel */
  uint32_t *units, *offs;
  uint8_t *packed; /* weights of GEMM_ROWS channels, NULL: used in place */
  void *rows;
  uint32_t flip, max_bits;
  int32_t offset; /* of inputs in units of bytes, see gemm8_offset */
  /* what a block works on */
  uint32_t n, y, oc, flat;
  channel_param chan[GEMM_ROWS];
  int exact_f32;
} conv_state;

typedef struct {
  const uint8_t *p[4];
  const conv_state *s;
  uint32_t *max_bits;
} unit_source;

/* Channels per unit: 4 bytes where the kernel set multiplies signed weights by them. */
static uint32_t channels_per_unit(const kernel_set *k, const tiu_cmd *t) {
  const int bytes = k->gemm8 && (t->is_const ? t->constant == (int8_t)t->constant : t->b.is_signed);
  return t->bf16 ? 1 : bytes ? 4 : 2;
}

static int weights_in_place(const tiu_cmd *t, uint32_t per_unit) {
  return per_unit == 4 && t->a.c % 4 == 0 && !t->is_const;
}

/* Layout of the scratch area for at most `most` output rows at a time, as many as `area` bytes
 * allow, but at least one; UINT64_MAX when out of reach. */
static uint64_t layout(const tiu_cmd *t, uint32_t per_unit, uint32_t most, uint64_t area,
                       conv_state *s, uint8_t *base) {
  expansion local, *e = s ? &s->e : &local;
  expansion_init(e, t, 1, 1);
  const uint64_t taps = (uint64_t)t->win.kh * t->win.kw, groups = ceil_div(t->a.c, per_unit);
  if (taps * groups > UINT32_MAX / 8 || e->plane * groups > UINT32_MAX / 8) {
    return UINT64_MAX;
  }
  const uint64_t packed = weights_in_place(t, per_unit) ? 0 : t->is_const ? 1 : GEMM_ROWS;
  uint64_t sizes[4] = {EXPAND_SLACK * 4, taps * groups * 4, packed * taps * groups * 4,
                       (uint64_t)expansion_row_units(e) * 4};
  uint64_t fixed = 4 * 128; /* of alignment */
  for (int i = 0; i < 4; i++) {
    fixed += sizes[i];
  }
  const uint32_t rows = expansion_rows(e, most, area > fixed ? area - fixed : 0, groups * 4);
  expansion_init(e, t, 1, rows);
  sizes[0] += e->plane * groups * 4;
  uint64_t offset[4], at = 0;
  for (int i = 0; i < 4; i++) {
    offset[i] = at;
    at += (sizes[i] + 127) & ~UINT64_C(63);
  }
  if (s) {
    s->units = (uint32_t *)(void *)(base + offset[0]);
    s->offs = (uint32_t *)(void *)(base + offset[1]);
    s->packed = packed ? base + offset[2] : NULL;
    s->rows = base + offset[3];
  }
  return at;
}

size_t conv_scratch(const tiu_cmd *t, size_t area) {
  const uint32_t per_unit = channels_per_unit(kernels_get(), t);
  const uint64_t need = layout(t, per_unit, t->res.h, area, NULL, NULL);
  return need > MAX_SCRATCH ? (size_t)MAX_SCRATCH + 1 : (size_t)need;
}

static void load_bytes4(void *dst, const void *ctx, uint32_t row, uint32_t count) {
  const unit_source *u = ctx;
  const size_t at = (size_t)row * u->s->e.in_w;
  const uint8_t *p[4] = {u->p[0] + at, u->p[1] + at, u->p[2] + at, u->p[3] + at};
  u->s->k->pack4(dst, p, count, u->s->flip);
}

static void load_words2(void *dst, const void *ctx, uint32_t row, uint32_t count) {
  const unit_source *u = ctx;
  const size_t at = (size_t)row * u->s->e.in_w;
  u->s->k->pack2(dst, u->p[0] + at, u->p[1] + at, count, u->s->t->a.is_signed);
}

static void load_floats(void *dst, const void *ctx, uint32_t row, uint32_t count) {
  const unit_source *u = ctx;
  const uint8_t *p = u->p[0] + (size_t)row * u->s->e.in_w * 2;
  uint32_t *d = dst, max = *u->max_bits;
  for (uint32_t i = 0; i < count; i++) {
    d[i] = f32_bits(bf16_read(load16(p + 2 * i)));
    const uint32_t mag = d[i] & 0x7FFFFFFF;
    max = mag > max ? mag : max;
  }
  *u->max_bits = max;
}

static uint32_t fill_unit(const conv_state *s) {
  const uint32_t v = (uint32_t)s->t->fill;
  if (s->per_unit == 4) {
    return ((v & 255) * 0x01010101u) ^ s->flip;
  }
  return s->per_unit == 2 ? (v & 0xFFFF) * 0x00010001u : f32_bits((float)(v & 0xFFFF));
}

static void pack_input(conv_state *s, int first) {
  const tiu_cmd *t = s->t;
  const row_loader load = s->per_unit == 4   ? load_bytes4
                          : s->per_unit == 2 ? load_words2
                                             : load_floats;
  const uint32_t fill = fill_unit(s);
  s->max_bits = f32_bits((float)(t->fill & 0xFFFF));
  for (uint32_t g = 0; g < s->groups; g++) {
    unit_source u = {.s = s, .max_bits = &s->max_bits};
    for (uint32_t i = 0; i < s->per_unit; i++) {
      const uint32_t c = g * s->per_unit + i; /* missing channels have weight 0 */
      u.p[i] = operand_at(s->x, &t->a, s->n, c < t->a.c ? c : t->a.c - 1u);
    }
    uint32_t *map = s->units + g * s->e.plane;
    if (first) {
      expand_fill(&s->e, map, 4, fill);
    }
    expand_rows(&s->e, &t->win, map, 4, fill, s->y, load, &u, s->rows);
  }
}

static const uint8_t *weights_at(const conv_state *s, uint32_t oc) {
  const exec_ctx *x = s->x;
  return x->rmem + (size_t)(oc % x->lanes) * LANE_BYTES + s->t->b.off +
         (size_t)(oc / x->lanes) * s->t->b.cs;
}

static int32_t weight_value(const conv_state *s, const uint8_t *w, size_t i) {
  return s->t->is_const ? s->t->constant : s->t->b.is_signed ? (int8_t)w[i] : w[i];
}

/* One output channel's weights as units; returns the sum of the weights, or the largest
 * magnitude's bits for bf16. */
static int32_t pack_weights(const conv_state *s, uint32_t oc, uint8_t *dst) {
  const tiu_cmd *t = s->t;
  const uint8_t *w = weights_at(s, oc);
  const uint32_t ic = t->a.c;
  int32_t sum = 0;
  if (s->per_unit == 1) {
    for (uint32_t i = 0; i < s->count; i++) {
      const uint32_t v = t->is_const ? (uint32_t)t->constant : load16(w + 2 * (size_t)i);
      const uint32_t u = f32_bits(bf16_read(v));
      memcpy(dst + 4 * (size_t)i, &u, 4);
      sum = (int32_t)(u & 0x7FFFFFFF) > sum ? (int32_t)(u & 0x7FFFFFFF) : sum;
    }
    return sum;
  }
  if (s->per_unit == 2 && ic % 2 == 0 && !t->is_const) {
    s->k->widen8((int16_t *)(void *)dst, w, (size_t)s->taps * ic, t->b.is_signed);
    return 0;
  }
  memset(dst, 0, (size_t)s->count * 4);
  for (uint32_t tap = 0; tap < s->taps; tap++) {
    uint8_t *row = dst + (size_t)tap * s->groups * 4;
    for (uint32_t c = 0; c < ic; c++) {
      const int32_t v = weight_value(s, w, (size_t)tap * ic + c);
      sum += v;
      if (s->per_unit == 4) {
        row[c] = (uint8_t)v;
      } else {
        const int16_t v16 = (int16_t)v;
        memcpy(row + 2 * c, &v16, 2);
      }
    }
  }
  return sum;
}

/* Weights, bias, multiplier, shift of the channels s->oc .. */
static void load_channels(conv_state *s, uint32_t rows) {
  const tiu_cmd *t = s->t;
  uint32_t wmax = 0;
  for (uint32_t r = 0; r < rows; r++) {
    channel_param *c = &s->chan[r];
    int32_t wsum = 0;
    *c = channel_params(s->x, t, s->oc + r);
    if (s->packed) {
      wsum = pack_weights(s, s->oc + r, s->packed + (t->is_const ? 0 : r) * s->count * (size_t)4);
    } else if (s->flip) {
      wsum = s->k->sum8(weights_at(s, s->oc + r), (size_t)s->count * 4);
    }
    if (t->bf16) {
      wmax = (uint32_t)wsum > wmax ? (uint32_t)wsum : wmax;
    } else if (s->flip) {
      c->add = (int32_t)((uint32_t)c->add - (uint32_t)s->offset * (uint32_t)wsum);
    }
  }
  s->exact_f32 = t->bf16 && gemm_range_is_large(s->max_bits, wmax, (uint64_t)s->count * 4);
}

/* ---- results ---- */

/* Row s->y of channel oc of the result. */
static uint8_t *result_rows(const conv_state *s, uint32_t oc) {
  return plane_at(s->x, &s->t->res, s->n, oc) + (size_t)s->y * s->t->res.hs;
}

/* Byte distance of flat position p, or -1 for a column to drop. */
static inline int64_t place(const conv_state *s, uint32_t p) {
  const uint32_t y = p / s->e.wph, c = p % s->e.wph;
  const operand *r = &s->t->res;
  return c < r->w ? (int64_t)y * r->hs + (int64_t)c * r->ws : -1;
}

static void init_row(const conv_state *s, int32_t *acc, uint8_t *plane, uint32_t p, uint32_t len,
                     int32_t add) {
  const int partial = s->t->ps32 & 1;
  for (uint32_t i = 0; i < GEMM_COLS; i++) {
    acc[i] = s->t->bf16 ? 0 : add;
  }
  for (uint32_t i = 0; partial && i < len; i++) {
    const int64_t at = place(s, p + i);
    if (at >= 0) {
      acc[i] = (int32_t)((uint32_t)acc[i] + conv_partial(s->t, plane + at));
    }
  }
}

static void finish_row(const conv_state *s, const int32_t *acc, uint8_t *plane, uint32_t p,
                       uint32_t len, const channel_param *c) {
  const tiu_cmd *t = s->t;
  uint8_t out[GEMM_COLS * 2];
  if (t->ps32 >= 2) {
    for (uint32_t i = 0; i < len; i++) {
      const int64_t at = place(s, p + i);
      if (at >= 0) {
        store_partial(s->t, plane + at, (uint32_t)acc[i]);
      }
    }
  } else if (t->bf16) {
    const float bias = f32_bias((uint32_t)c->add);
    for (uint32_t i = 0; i < len; i++) {
      float v = bits_f32((uint32_t)acc[i]);
      v = t->has_bias ? f32_add(v, bias) : v;
      store16(out + 2 * i, bf16_result_relu(v, t->relu));
    }
    expand_scatter(&s->e, &t->res, plane, p, out, len, 2);
  } else {
    post_stage post = t->post;
    post.mult = c->mult;
    post.shift = c->shift;
    const int dense = expansion_dense(&s->e, &t->res);
    s->k->post8(dense ? plane + p : out, acc, len, &post);
    if (!dense) {
      expand_scatter(&s->e, &t->res, plane, p, out, len, 1);
    }
  }
}

static void run_block(const conv_state *s, uint32_t rows, uint32_t p) {
  const tiu_cmd *t = s->t;
  _Alignas(64) int32_t acc[GEMM_ROWS][GEMM_COLS];
  gemm_job j = {.b = s->units + p, .offs = s->offs, .k = s->count, .rows = rows, .acc = acc};
  j.cols = s->flat - p < GEMM_COLS ? s->flat - p : GEMM_COLS;
  int exact = s->exact_f32;
  for (uint32_t r = 0; r < rows; r++) {
    j.w[r] = s->packed ? s->packed + (t->is_const ? 0 : r) * s->count * (size_t)4
                       : weights_at(s, s->oc + r);
    init_row(s, acc[r], result_rows(s, s->oc + r), p, j.cols, s->chan[r].add);
    for (uint32_t i = 0; t->bf16 && (t->ps32 & 1) && i < j.cols; i++) {
      exact |= ((uint32_t)acc[r][i] >> 23 & 255) >= 127 + 120;
    }
  }
  gemm_run(s->k, &j, s->per_unit, exact);
  for (uint32_t r = 0; r < rows; r++) {
    finish_row(s, acc[r], result_rows(s, s->oc + r), p, j.cols, &s->chan[r]);
  }
}

/* The output rows from s->y on that the packed input serves, output channels from .. to-1. */
static void run_channels(conv_state *s, uint32_t from, uint32_t to) {
  for (s->oc = from; s->oc < to; s->oc += GEMM_ROWS) {
    const uint32_t rows = to - s->oc < GEMM_ROWS ? to - s->oc : GEMM_ROWS;
    load_channels(s, rows);
    for (uint32_t p = 0; p < s->flat; p += GEMM_COLS) {
      run_block(s, rows, p);
    }
  }
}

static void begin(conv_state *s, const exec_ctx *x, const tiu_cmd *t, uint32_t most) {
  *s = (conv_state){.x = x, .t = t, .k = kernels_get()};
  s->per_unit = channels_per_unit(s->k, t);
  layout(t, s->per_unit, most, x->scratch_size, s, x->scratch);
  expand_begin(&s->e, &t->win);
  s->taps = (uint32_t)t->win.kh * t->win.kw;
  s->groups = ceil_div(t->a.c, s->per_unit);
  s->count = s->taps * s->groups;
  s->offset = s->per_unit == 4 ? gemm8_offset(s->k, t->a.is_signed) : 0;
  s->flip = s->offset ? 0x80808080u : 0;
  for (uint32_t tap = 0, k = 0; tap < s->taps; tap++) {
    const uint64_t at = tap_offset(&s->e, &t->win, tap / t->win.kw, tap % t->win.kw);
    for (uint32_t g = 0; g < s->groups; g++) {
      s->offs[k++] = (uint32_t)(g * s->e.plane + at);
    }
  }
}

/* Parts of a command: by output rows, which divides the packing of inputs, too, or by channels
 * where there are few rows. */
static int share_by_rows(const exec_ctx *x, const tiu_cmd *t) {
  return t->res.h >= 7 * x->parts || (t->res.h >= 2 * x->parts && t->res.h % x->parts == 0);
}

void exec_conv(const exec_ctx *x, const tiu_cmd *t) {
  if (t->direct) {
    exec_conv_direct(x, t);
    return;
  }
  const int by_rows = share_by_rows(x, t);
  const span rows = by_rows ? share_of(x, t->res.h, 1) : (span){0, t->res.h};
  const span channels = by_rows ? (span){0, t->res.c} : share_of(x, t->res.c, GEMM_ROWS);
  if (channels.first == channels.end) {
    return;
  }
  conv_state s;
  begin(&s, x, t, rows.end - rows.first);
  for (s.n = 0; s.n < t->res.n; s.n++) {
    for (s.y = rows.first; s.y < rows.end; s.y += s.e.rows) {
      s.flat = expansion_flat(&s.e, t, rows.end - s.y < s.e.rows ? rows.end - s.y : s.e.rows);
      pack_input(&s, s.n == 0 && s.y == rows.first);
      run_channels(&s, channels.first, channels.end);
    }
  }
}
