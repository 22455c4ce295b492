/* Convolution (hw/cv18xx-tiu.md sections 5.9, 5.10, 6): input packed into units, then blocks of
 * 6 output channels x 64 positions. */

#include <string.h>

#include "bf16.h"
#include "expand.h"
#include "kernels.h"
#include "partial.h"

typedef struct {
  const exec_ctx *x;
  const tiu_cmd *t;
  const kernel_set *k;
  expansion e;
  uint32_t per_unit, groups, taps, count; /* count: units per output channel */
  uint32_t *units, *offs;
  uint8_t *packed; /* repacked weights, NULL: used in place */
  channel_param *chan;
  void *rows;
  uint32_t flip, max_bits;
  int exact_f32;
} conv_state;

typedef struct {
  const uint8_t *p[4];
  const conv_state *s;
  uint32_t *max_bits;
} unit_source;

static uint32_t units_of(const tiu_cmd *t, uint32_t per_unit) {
  return (uint32_t)t->win.kh * t->win.kw * ceil_div(t->a.c, per_unit);
}

/* Layout of the scratch area for `per_unit` channels per unit; UINT64_MAX when out of reach. */
static uint64_t layout(const tiu_cmd *t, uint32_t per_unit, conv_state *s, uint8_t *base) {
  expansion local, *e = s ? &s->e : &local;
  expansion_init(e, t, 1);
  const uint64_t taps = (uint64_t)t->win.kh * t->win.kw, groups = ceil_div(t->a.c, per_unit);
  if (taps * groups > UINT32_MAX / 8 || e->plane * groups > UINT32_MAX / 8) {
    return UINT64_MAX;
  }
  uint64_t at = 0;
  const uint64_t sizes[5] = {(e->plane * groups + EXPAND_SLACK) * 4, taps * groups * 4,
                             (t->is_const ? 1 : t->res.c) * taps * groups * 4,
                             (uint64_t)t->res.c * sizeof(channel_param),
                             (uint64_t)expansion_row_units(e) * 4};
  uint64_t offset[5];
  for (int i = 0; i < 5; i++) {
    offset[i] = at;
    at += (sizes[i] + 127) & ~UINT64_C(63);
  }
  if (s) {
    s->units = (uint32_t *)(void *)(base + offset[0]);
    s->offs = (uint32_t *)(void *)(base + offset[1]);
    s->packed = base + offset[2];
    s->chan = (channel_param *)(void *)(base + offset[3]);
    s->rows = base + offset[4];
  }
  return at;
}

/* Enough for every kernel set, so that a program does not depend on the choice. */
size_t conv_scratch(const tiu_cmd *t, uint32_t lanes) {
  (void)lanes;
  const uint64_t a = layout(t, t->bf16 ? 1 : 2, NULL, NULL);
  const uint64_t b = layout(t, t->bf16 ? 1 : 4, NULL, NULL);
  const uint64_t need = a > b ? a : b;
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

static void pack_input(conv_state *s, uint32_t n) {
  const tiu_cmd *t = s->t;
  const row_loader load = s->per_unit == 4   ? load_bytes4
                          : s->per_unit == 2 ? load_words2
                                             : load_floats;
  s->max_bits = f32_bits((float)(t->fill & 0xFFFF));
  for (uint32_t g = 0; g < s->groups; g++) {
    unit_source u = {.s = s, .max_bits = &s->max_bits};
    for (uint32_t i = 0; i < s->per_unit; i++) {
      const uint32_t c = g * s->per_unit + i; /* missing channels have weight 0 */
      u.p[i] = operand_at(s->x, &t->a, n, c < t->a.c ? c : t->a.c - 1u);
    }
    uint32_t *map = s->units + g * s->e.plane;
    if (n == 0) {
      expand_fill(&s->e, map, 4, fill_unit(s));
    }
    expand_rows(&s->e, &t->win, map, 4, load, &u, s->rows);
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

/* Bias, multiplier, shift and weight sums of every output channel. */
static void load_channels(conv_state *s) {
  const tiu_cmd *t = s->t;
  uint32_t wmax = 0;
  int32_t wsum = 0;
  for (uint32_t oc = 0; oc < t->res.c; oc++) {
    channel_param *c = &s->chan[oc];
    *c = channel_params(s->x, t, oc);
    if (s->packed && (!t->is_const || oc == 0)) {
      wsum = pack_weights(s, oc, s->packed + (size_t)oc * s->count * 4);
    } else if (s->flip && !t->is_const) {
      wsum = s->k->sum8(weights_at(s, oc), (size_t)s->count * 4);
    }
    if (t->bf16) {
      wmax = (uint32_t)wsum > wmax ? (uint32_t)wsum : wmax;
    } else if (s->flip) {
      c->add = (int32_t)((uint32_t)c->add - 128u * (uint32_t)wsum);
    }
  }
  /* fp32: the fast kernel needs |sums| < 2^126 */
  const uint32_t ex = s->max_bits >> 23, ew = wmax >> 23;
  uint32_t bits = 2;
  while ((UINT64_C(1) << bits) < (uint64_t)s->count * 4) {
    bits++;
  }
  s->exact_f32 = ex == 255 || ew == 255 || ex + ew + bits > 254 + 120;
}

/* ---- results ---- */

/* Byte distance of flat position p, or -1 for a column to drop. */
static inline int64_t place(const conv_state *s, uint32_t p) {
  const uint32_t y = p / s->e.wph, c = p % s->e.wph;
  const operand *r = &s->t->res;
  return c < r->w ? (int64_t)y * r->hs + (int64_t)c * r->ws : -1;
}

/* Copy len result bytes (elements of e bytes) of flat positions from p on to their rows. */
static void scatter(const conv_state *s, uint8_t *plane, uint32_t p, const uint8_t *v, uint32_t len,
                    uint32_t size) {
  const operand *r = &s->t->res;
  uint32_t y = p / s->e.wph, c = p % s->e.wph;
  for (uint32_t i = 0; i < len;) {
    const uint32_t run = len - i < s->e.wph - c ? len - i : s->e.wph - c;
    const uint32_t used = c >= r->w ? 0 : run < r->w - c ? run : r->w - c;
    uint8_t *d = plane + (size_t)y * r->hs + (size_t)c * r->ws;
    if (r->ws == size) {
      memcpy(d, v + (size_t)i * size, (size_t)used * size);
    } else {
      for (uint32_t q = 0; q < used; q++) {
        memcpy(d + (size_t)q * r->ws, v + ((size_t)i + q) * size, size);
      }
    }
    i += run;
    c = 0;
    y++;
  }
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
    scatter(s, plane, p, out, len, 2);
  } else {
    post_stage post = t->post;
    post.mult = c->mult;
    post.shift = c->shift;
    const int dense = s->e.wph == t->res.w && t->res.ws == 1 && t->res.hs == t->res.w;
    s->k->post8(dense ? plane + p : out, acc, len, &post);
    if (!dense) {
      scatter(s, plane, p, out, len, 1);
    }
  }
}

/* fp32 with overflow and invalid values. */
static void gemm_f32_exact(const gemm_job *j) {
  for (uint32_t r = 0; r < j->rows; r++) {
    for (uint32_t i = 0; i < j->cols; i++) {
      float acc = bits_f32((uint32_t)j->acc[r][i]);
      for (uint32_t k = 0; k < j->k; k++) {
        const float w = bits_f32(load32(j->w[r] + 4 * (size_t)k));
        acc = f32_add(acc, f32_mul(bits_f32(j->b[j->offs[k] + i]), w));
      }
      j->acc[r][i] = (int32_t)f32_bits(acc);
    }
  }
}

static void run_block(const conv_state *s, uint32_t n, uint32_t oc, uint32_t p) {
  const tiu_cmd *t = s->t;
  _Alignas(64) int32_t acc[GEMM_ROWS][GEMM_COLS];
  gemm_job j = {.b = s->units + p, .offs = s->offs, .k = s->count, .acc = acc};
  j.rows = t->res.c - oc < GEMM_ROWS ? t->res.c - oc : GEMM_ROWS;
  j.cols = s->e.flat - p < GEMM_COLS ? s->e.flat - p : GEMM_COLS;
  int big = s->exact_f32;
  for (uint32_t r = 0; r < j.rows; r++) {
    const size_t row = t->is_const ? 0 : oc + r;
    j.w[r] = s->packed ? s->packed + row * s->count * 4 : weights_at(s, oc + r);
    init_row(s, acc[r], plane_at(s->x, &t->res, n, oc + r), p, j.cols, s->chan[oc + r].add);
    for (uint32_t i = 0; t->bf16 && (t->ps32 & 1) && i < j.cols; i++) {
      big |= ((uint32_t)acc[r][i] >> 23 & 255) >= 127 + 120;
    }
  }
  if (t->bf16) {
    if (big) {
      gemm_f32_exact(&j);
    } else {
      s->k->gemm_f32(&j);
    }
  } else if (s->per_unit == 4) {
    s->k->gemm8(&j);
  } else {
    s->k->gemm16(&j);
  }
  for (uint32_t r = 0; r < j.rows; r++) {
    finish_row(s, acc[r], plane_at(s->x, &t->res, n, oc + r), p, j.cols, &s->chan[oc + r]);
  }
}

void exec_conv(const exec_ctx *x, const tiu_cmd *t) {
  if (t->direct) {
    exec_conv_direct(x, t);
    return;
  }
  conv_state s = {.x = x, .t = t, .k = kernels_get()};
  const int bytes =
      s.k->gemm8 && (t->is_const ? t->constant == (int8_t)t->constant : t->b.is_signed);
  s.per_unit = t->bf16 ? 1 : bytes ? 4 : 2;
  layout(t, s.per_unit, &s, x->scratch);
  s.taps = (uint32_t)t->win.kh * t->win.kw;
  s.groups = ceil_div(t->a.c, s.per_unit);
  s.count = units_of(t, s.per_unit);
  s.flip = s.per_unit == 4 && t->a.is_signed ? 0x80808080u : 0;
  if (s.per_unit == 4 && t->a.c % 4 == 0 && !t->is_const) {
    s.packed = NULL;
  }
  for (uint32_t tap = 0, k = 0; tap < s.taps; tap++) {
    const uint64_t at = tap_offset(&s.e, &t->win, tap / t->win.kw, tap % t->win.kw);
    for (uint32_t g = 0; g < s.groups; g++) {
      s.offs[k++] = (uint32_t)(g * s.e.plane + at);
    }
  }
  for (uint32_t n = 0; n < t->res.n; n++) {
    pack_input(&s, n);
    if (n == 0 || t->bf16) {
      load_channels(&s);
    }
    for (uint32_t p = 0; p < s.e.flat; p += GEMM_COLS) {
      for (uint32_t oc = 0; oc < t->res.c; oc += GEMM_ROWS) {
        run_block(&s, n, oc, p);
      }
    }
  }
}
