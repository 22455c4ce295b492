/* Building of expanded input maps, see expand.h. */

#include "expand.h"

#include <string.h>

static uint32_t used_phases(uint32_t taps, uint32_t dilation, uint32_t stride, uint8_t *slot,
                            uint8_t *phase) {
  uint32_t count = 0;
  memset(slot, 0xFF, 32);
  for (uint32_t i = 0; i < taps && i < stride; i++) {
    const uint32_t p = i * dilation % stride;
    if (slot[p] == 0xFF) {
      slot[p] = (uint8_t)count;
      phase[count++] = (uint8_t)p;
    }
  }
  return count;
}

void expansion_init(expansion *x, const tiu_cmd *t, int packed_rows, uint32_t rows) {
  const window *w = &t->win;
  x->rows = rows;
  x->out_h = t->res.h;
  x->in_h = t->a.h;
  x->in_w = t->a.w;
  x->height = (t->a.h - 1u) * (w->yins + 1u) + 1 + w->yins_last + w->up + w->dn;
  x->width = (t->a.w - 1u) * (w->xins + 1u) + 1 + w->xins_last + w->lf + w->rt;
  x->whole =
      packed_rows && w->ystr == 1 && w->xstr == 1 && x->height == t->a.h && x->width == t->a.w;
  x->plain = w->xstr == 1 && w->xins == 0;
  x->hph = rows + (w->kh - 1u) * w->ydil / w->ystr;
  x->wph = ceil_div(x->width, w->xstr);
  x->ny = used_phases(w->kh, w->ydil, w->ystr, x->yslot, x->yphase);
  x->nx = used_phases(w->kw, w->xdil, w->xstr, x->xslot, x->xphase);
  x->plane = (uint64_t)x->ny * x->nx * x->hph * x->wph;
}

uint32_t expansion_rows(const expansion *x, uint32_t most, uint64_t area, uint64_t unit) {
  const uint64_t row = (uint64_t)x->ny * x->nx * x->wph * unit, first = x->plane * unit;
  const uint64_t fit = first >= area ? 1 : 1 + (area - first) / row;
  return fit >= most ? most : ceil_div(most, ceil_div(most, (uint32_t)fit));
}

static void fill_units(uint8_t *dst, size_t count, uint32_t size, uint32_t fill) {
  const uint8_t bytes[4] = {(uint8_t)fill, (uint8_t)(fill >> 8), (uint8_t)(fill >> 16),
                            (uint8_t)(fill >> 24)};
  if (size == 1 ||
      (bytes[0] == bytes[1] && (size == 2 || (bytes[0] == bytes[2] && bytes[0] == bytes[3])))) {
    memset(dst, bytes[0], count * size);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    memcpy(dst + i * size, bytes, size);
  }
}

void expand_fill(const expansion *x, void *dst, uint32_t size, uint32_t fill) {
  if (!x->whole) { /* there every unit is an input */
    fill_units(dst, (size_t)x->plane, size, fill);
  }
}

#define COPY_UNITS(type)                                                                           \
  do {                                                                                             \
    type *restrict d = dst;                                                                        \
    const type *restrict s = src;                                                                  \
    if (dstep == 1 && sstep == 2) {                                                                \
      for (size_t i = 0; i < count; i++) {                                                         \
        d[i] = s[2 * i];                                                                           \
      }                                                                                            \
    } else {                                                                                       \
      for (size_t i = 0; i < count; i++) {                                                         \
        d[i * dstep] = s[i * sstep];                                                               \
      }                                                                                            \
    }                                                                                              \
  } while (0)

/* dst[i*dstep] = src[i*sstep] */
static void copy_units(void *dst, uint32_t dstep, const void *src, uint32_t sstep, uint32_t size,
                       size_t count) {
  if (size == 1) {
    COPY_UNITS(uint8_t);
  } else if (size == 2) {
    COPY_UNITS(uint16_t);
  } else {
    COPY_UNITS(uint32_t);
  }
}

static uint32_t gcd(uint32_t a, uint32_t b) { return b ? gcd(b, a % b) : a; }

/* Input i is expanded row or column pad + i*step; those congruent to `phase` modulo the stride form
 * an arithmetic progression. */
static phase_inputs inputs_of(uint32_t pad, uint32_t step, uint32_t stride, uint32_t phase,
                              uint32_t inputs) {
  const uint32_t common = gcd(step, stride);
  phase_inputs c = {0, 0, 0, stride / common, step / common};
  for (uint32_t i = 0; i < c.in_step && i < inputs; i++) {
    const uint32_t at = pad + i * step;
    if (at % stride == phase) {
      c.input = i;
      c.place = at / stride;
      c.count = (inputs - i + c.in_step - 1) / c.in_step;
      break;
    }
  }
  return c;
}

void expand_begin(expansion *x, const window *w) {
  for (uint32_t i = 0; i < x->ny; i++) {
    x->ys[i] = inputs_of(w->up, w->yins + 1u, w->ystr, x->yphase[i], x->in_h);
  }
  for (uint32_t i = 0; i < x->nx; i++) {
    x->xs[i] = inputs_of(w->lf, w->xins + 1u, w->xstr, x->xphase[i], x->in_w);
  }
}

/* Input row `source` to its columns of all phases; row: its place in the first of them. */
static void place_row(const expansion *x, const window *w, uint8_t *row, uint32_t size,
                      uint32_t source, row_loader load, const void *ctx, void *rows) {
  if (x->plain) {
    load(row + (size_t)w->lf * size, ctx, source, x->in_w);
    return;
  }
  load(rows, ctx, source, x->in_w);
  for (uint32_t i = 0; i < x->nx; i++) {
    const phase_inputs *c = &x->xs[i];
    copy_units(row + ((size_t)i * x->hph * x->wph + c->place) * size, c->out_step,
               (uint8_t *)rows + (size_t)c->input * size, c->in_step, size, c->count);
  }
}

void expand_rows(const expansion *x, const window *w, void *dst, uint32_t size, uint32_t fill,
                 uint32_t y, row_loader load, const void *ctx, void *rows) {
  if (x->whole) {
    load(dst, ctx, y, (x->in_h - y < x->hph ? x->in_h - y : x->hph) * x->in_w);
    return;
  }
  for (uint32_t k = 0; k < x->ny; k++) {
    const phase_inputs *r = &x->ys[k];
    uint8_t *row = (uint8_t *)dst + (size_t)k * x->nx * x->hph * x->wph * size;
    for (uint32_t q = 0; q < x->hph; q++, row += (size_t)x->wph * size) {
      const uint32_t step = y + q - r->place; /* huge when negative */
      const uint32_t i = r->out_step == 1 ? step : step / r->out_step;
      if (i * r->out_step == step && i < r->count) {
        place_row(x, w, row, size, r->input + i * r->in_step, load, ctx, rows);
        continue;
      }
      for (uint32_t p = 0; p < x->nx && x->rows < x->out_h; p++) {
        fill_units(row + (size_t)p * x->hph * x->wph * size, x->wph, size, fill);
      }
    }
  }
}

void expand_scatter(const expansion *x, const operand *r, uint8_t *plane, uint32_t p,
                    const uint8_t *v, uint32_t len, uint32_t size) {
  uint32_t y = p / x->wph, c = p % x->wph;
  for (uint32_t i = 0; i < len;) {
    const uint32_t run = len - i < x->wph - c ? len - i : x->wph - c;
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
