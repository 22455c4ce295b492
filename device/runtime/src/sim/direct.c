/* Convolution, depthwise and pooling without buffers: one output at a time, every input position
 * looked up. Slow; for shapes whose expanded input would need too much memory. */

#include "bf16.h"
#include "kernels.h"
#include "partial.h"

channel_param channel_params(const exec_ctx *x, const tiu_cmd *t, uint32_t c) {
  channel_param out = {.mult = t->post.mult, .shift = t->post.shift};
  const uint32_t group = c / x->lanes;
  const uint8_t *p = x->rmem + (size_t)(c % x->lanes) * LANE_BYTES + t->p_off;
  if (t->ps32 >= 2) {
    return out;
  }
  if (t->chan_quant) {
    p += (size_t)group * (t->has_bias ? 9 : 5);
    out.add = t->has_bias ? (int32_t)load32(p) : 0;
    p += t->has_bias ? 4 : 0;
    out.mult = (int32_t)load32(p);
    out.shift = (int8_t)(x->gen_b ? (p[4] & 31) - (p[4] & 32) : p[4]);
  } else if (t->has_bias && t->bf16) {
    p += 2 * (size_t)group;
    out.add = (int32_t)((uint32_t)load16(p) << 16 | load16(p + t->p_bs));
  } else if (t->has_bias) {
    const uint8_t hi = p[group + t->p_bs];
    out.add = p[group] + (t->bias_signed ? (int8_t)hi : hi) * 256;
  }
  return out;
}

/* Input of expanded position (y, x): address of the element, NULL for a fill position. */
static const uint8_t *element(const tiu_cmd *t, const uint8_t *plane, uint32_t y, uint32_t x) {
  const window *w = &t->win;
  if (y < w->up || x < w->lf) {
    return NULL;
  }
  y -= w->up;
  x -= w->lf;
  if (y % (w->yins + 1u) || x % (w->xins + 1u)) {
    return NULL;
  }
  y /= w->yins + 1u;
  x /= w->xins + 1u;
  return y < t->a.h && x < t->a.w ? plane + (size_t)y * t->a.hs + (size_t)x * t->a.ws : NULL;
}

static uint32_t value_of(const tiu_cmd *t, const uint8_t *p) {
  if (t->bf16) {
    return f32_bits(p ? bf16_read(load16(p)) : (float)(t->fill & 0xFFFF));
  }
  return (uint32_t)(p ? (t->a.is_signed ? (int8_t)*p : *p) : t->fill);
}

static uint32_t weight_of(const tiu_cmd *t, const uint8_t *w, size_t i) {
  if (t->bf16) {
    return f32_bits(bf16_read(t->is_const ? (uint32_t)t->constant : load16(w + 2 * i)));
  }
  return (uint32_t)(t->is_const ? t->constant : t->b.is_signed ? (int8_t)w[i] : w[i]);
}

static uint32_t add_product(const tiu_cmd *t, uint32_t acc, uint32_t a, uint32_t b) {
  return t->bf16 ? f32_bits(f32_add(bits_f32(acc), f32_mul(bits_f32(a), bits_f32(b))))
                 : acc + a * b;
}

static void finish(const tiu_cmd *t, uint8_t *dst, uint32_t acc, const channel_param *c) {
  if (t->ps32 >= 2) {
    store_partial(t, dst, acc);
  } else if (t->bf16) {
    float v = bits_f32(acc);
    v = t->has_bias ? f32_add(v, f32_bias((uint32_t)c->add)) : v;
    store16(dst, bf16_result_relu(v, t->relu));
  } else {
    post_stage p = t->post;
    p.mult = c->mult;
    p.shift = c->shift;
    *dst = (uint8_t)post_value((int32_t)(acc + (uint32_t)c->add), &p);
  }
}

/* One output of a convolution (channels 0..count-1 of sample n) or of a depthwise channel. */
static uint32_t sum_taps(const exec_ctx *x, const tiu_cmd *t, uint32_t n, uint32_t first,
                         uint32_t count, const uint8_t *w, uint32_t oy, uint32_t ox, uint32_t acc) {
  size_t at = 0;
  for (uint32_t i = 0; i < t->win.kh; i++) {
    for (uint32_t j = 0; j < t->win.kw; j++) {
      const uint32_t y = oy * t->win.ystr + i * t->win.ydil;
      const uint32_t c = ox * t->win.xstr + j * t->win.xdil;
      for (uint32_t k = 0; k < count; k++) {
        const uint8_t *p = element(t, operand_at(x, &t->a, n, first + k), y, c);
        acc = add_product(t, acc, value_of(t, p), weight_of(t, w, at++));
      }
    }
  }
  return acc;
}

static void direct_loops(const exec_ctx *x, const tiu_cmd *t, int conv) {
  for (uint32_t n = 0; n < t->res.n; n++) {
    for (uint32_t c = 0; c < t->res.c; c++) {
      const channel_param param = channel_params(x, t, c);
      const uint8_t *w = x->rmem + (size_t)(c % x->lanes) * LANE_BYTES + t->b.off +
                         (size_t)(c / x->lanes) * t->b.cs;
      for (uint32_t y = 0; y < t->res.h; y++) {
        for (uint32_t i = 0; i < t->res.w; i++) {
          uint8_t *dst = plane_at(x, &t->res, n, c) + (size_t)y * t->res.hs + (size_t)i * t->res.ws;
          const uint8_t *old = x->rmem + (dst - x->lmem);
          const uint32_t start = t->ps32 & 1 ? conv_partial(t, old) : 0;
          const uint32_t acc = sum_taps(x, t, n, conv ? 0 : c, conv ? t->a.c : 1, w, y, i, start);
          finish(t, dst, acc, &param);
        }
      }
    }
  }
}

void exec_conv_direct(const exec_ctx *x, const tiu_cmd *t) { direct_loops(x, t, 1); }

void exec_depthwise_direct(const exec_ctx *x, const tiu_cmd *t) { direct_loops(x, t, 0); }

static void pool_one(const tiu_cmd *t, const uint8_t *plane, uint8_t *dst, uint32_t oy,
                     uint32_t ox) {
  int32_t best = t->fill;
  float best_f = 0;
  int first = 1, invalid = 0;
  for (uint32_t i = 0; i < t->win.kh; i++) {
    for (uint32_t j = 0; j < t->win.kw; j++) {
      const uint8_t *p = element(t, plane, oy * t->win.ystr + i, ox * t->win.xstr + j);
      if (t->bf16) {
        const float v = bf16_read(p ? load16(p) : (uint32_t)t->fill & 0xFFFF);
        invalid |= v != v;
        if (first || (t->eu == 3 ? v < best_f : v > best_f)) {
          best_f = v;
        }
        first = 0;
      } else {
        const int32_t v = (int32_t)value_of(t, p);
        best = (t->eu == 3 ? v < best : v > best) ? v : best;
      }
    }
  }
  if (t->bf16) {
    store16(dst, invalid ? 0x7F7F : bf16_result(best_f));
  } else {
    *dst = (uint8_t)best;
  }
}

void exec_pool_direct(const exec_ctx *x, const tiu_cmd *t) {
  for (uint32_t n = 0; n < t->res.n; n++) {
    for (uint32_t c = 0; c < t->res.c; c++) {
      const uint8_t *plane = operand_at(x, &t->a, n, c);
      uint8_t *out = plane_at(x, &t->res, n, c);
      for (uint32_t y = 0; y < t->res.h; y++) {
        for (uint32_t i = 0; i < t->res.w; i++) {
          pool_one(t, plane, out + (size_t)y * t->res.hs + (size_t)i * t->res.ws, y, i);
        }
      }
    }
  }
}
