/* Tensor arithmetic, look-up and sums (hw/cv18xx-tiu.md sections 5.1 to 5.5). */

#include <string.h>

#include "bf16.h"
#include "kernels.h"

/* ---- bf16 rows ---- */

static uint16_t bf16_combine(int eu, uint32_t pa, uint32_t pb, uint32_t pr, int relu) {
  const float a = bf16_read(pa), b = bf16_read(pb);
  const int invalid = a != a || b != b;
  float r;
  switch (eu) {
  case EU_MUL:
    r = f32_mul(a, b);
    break;
  case EU_MAC:
    r = (pr & 0x7F80) == 0x7F80 ? bits_f32(F32_INVALID) : bits_f32(pr << 16);
    r = f32_add(f32_mul(a, b), r);
    break;
  case EU_ADD:
    r = f32_add(a, b);
    break;
  case EU_SUB:
    r = f32_add(a, -b);
    break;
  case EU_MAX:
    r = a > b ? a : b;
    break;
  case EU_MIN:
    r = a > b ? b : a;
    break;
  case EU_GE:
    r = a >= b ? 1.0f : 0.0f;
    break;
  default:
    return bf16_result(a); /* copy */
  }
  return invalid ? 0x7F7F : bf16_result_relu(r, relu);
}

static void bf16_row(const tiu_cmd *t, const uint8_t *a, const uint8_t *b, const uint8_t *old,
                     uint8_t *r, const uint32_t ws[3], size_t n) {
  for (size_t i = 0; i < n; i++) {
    const uint32_t pb = t->is_const ? (uint32_t)t->constant : load16(b + i * ws[2]);
    const uint32_t pr = load16(old + i * ws[0]);
    store16(r + i * ws[0], bf16_combine(t->eu, load16(a + i * ws[1]), pb, pr, t->relu));
  }
}

/* ---- iteration over rows ---- */

typedef struct {
  uint32_t n, c, h, w;
  uint32_t hs[3], ws[3]; /* result, operand 0, operand 1 */
} row_plan;

/* Merge h and w where all operands allow it. */
static row_plan plan_rows(const tiu_cmd *t) {
  const operand *o[3] = {&t->res, &t->a, &t->b};
  const int used = t->is_const || t->eu == EU_COPY ? 2 : 3;
  row_plan p = {.n = t->res.n, .c = t->res.c, .h = t->res.h, .w = t->res.w};
  int merge = 1;
  for (int i = 0; i < used; i++) {
    p.hs[i] = o[i]->hs;
    p.ws[i] = p.w == 1 ? o[i]->hs : o[i]->ws;
    merge &= p.w == 1 || o[i]->hs == p.w * o[i]->ws;
  }
  if (merge) {
    p.w *= p.h;
    p.h = 1;
  }
  return p;
}

/* Shift amounts must be in -16..16 (the vendor's simulator aborts otherwise). */
static int check_shifts(const exec_ctx *x, const tiu_cmd *t) {
  for (uint32_t n = 0; n < t->res.n; n++) {
    for (uint32_t c = 0; c < t->res.c; c++) {
      const uint8_t *p = operand_at(x, &t->b, n, c);
      for (uint32_t i = 0; i < (uint32_t)t->res.h * t->res.w; i++) {
        const int8_t s = (int8_t)p[i / t->res.w * t->b.hs + i % t->res.w * t->b.ws];
        if (s < -16 || s > 16) {
          return sim_fail(x->err, TPU_SIM_BAD_STREAM,
                          "shift by %d at (%u, %u, %u, %u), possible are -16..16", s, n, c,
                          i / t->res.w, i % t->res.w);
        }
      }
    }
  }
  return TPU_SIM_OK;
}

int exec_arith(const exec_ctx *x, const tiu_cmd *t) {
  const int rc = t->eu == EU_SHIFT && !t->is_const ? check_shifts(x, t) : TPU_SIM_OK;
  if (rc != TPU_SIM_OK) {
    return rc;
  }
  const kernel_set *k = kernels_get();
  const row_plan p = plan_rows(t);
  const int with_b = !t->is_const && t->eu != EU_COPY;
  arith_job j = {.eu = t->eu,
                 .a_wide = t->a.wide,
                 .a_signed = t->a.is_signed,
                 .b_wide = t->b.wide,
                 .b_signed = t->b.is_signed,
                 .res_wide = t->res.wide,
                 .res_signed = t->res.is_signed,
                 .b_const = !with_b,
                 .quant = t->post.quant,
                 .left_shift = t->left_shift,
                 .post = &t->post,
                 .wa = p.ws[1],
                 .wb = p.ws[2],
                 .wr = p.ws[0],
                 .constant = t->constant};
  const span channels = share_of(x, p.c, 1);
  for (uint32_t n = 0; n < p.n; n++) {
    for (uint32_t c = channels.first; c < channels.end; c++) {
      uint8_t *r = plane_at(x, &t->res, n, c);
      const uint8_t *a = operand_at(x, &t->a, n, c);
      const uint8_t *b = with_b ? operand_at(x, &t->b, n, c) : a;
      for (uint32_t h = 0; h < p.h; h++) {
        if (t->bf16) {
          bf16_row(t, a, b, x->rmem + (r - x->lmem), r, p.ws, p.w);
        } else {
          j.a = a;
          j.a_hi = t->a.wide ? a + t->a.bs : a;
          j.b = b;
          j.b_hi = t->b.wide && with_b ? b + t->b.bs : b;
          j.r = r;
          j.r_hi = t->res.wide || t->eu == EU_MAC ? r + t->res.bs : r;
          j.old = x->rmem + (j.r - x->lmem);
          j.old_hi = x->rmem + (j.r_hi - x->lmem);
          k->arith_row(&j, p.w);
        }
        r += p.hs[0];
        a += p.hs[1];
        b += with_b ? p.hs[2] : 0;
      }
    }
  }
  return TPU_SIM_OK;
}

void exec_lookup(const exec_ctx *x, const tiu_cmd *t) {
  const kernel_set *k = kernels_get();
  const size_t count = (size_t)t->res.h * t->res.w;
  for (uint32_t n = 0; n < t->res.n; n++) {
    for (uint32_t c = 0; c < t->res.c; c++) {
      const uint8_t *table = x->rmem + (size_t)(c % x->lanes) * LANE_BYTES + t->b.off;
      const uint8_t *src = operand_at(x, &t->a, n, c);
      uint8_t *dst = plane_at(x, &t->res, n, c);
      if (!t->bf16) {
        k->lookup8(dst, src, count, table);
        continue;
      }
      for (size_t i = 0; i < count; i++) {
        store16(dst + 2 * i, load16(table + 2 * src[2 * i]));
      }
    }
  }
}

void exec_mdsum(const exec_ctx *x, const tiu_cmd *t) {
  const uint32_t count = (uint32_t)t->a.h * t->a.w;
  for (uint32_t c = 0; c < t->a.c; c++) {
    int32_t sum = 0;
    for (uint32_t n = 0; n < t->a.n; n++) {
      const uint8_t *p = operand_at(x, &t->a, n, c);
      for (uint32_t i = 0; i < count; i++) {
        sum += t->a.is_signed ? (int8_t)p[i] : p[i];
      }
    }
    const uint32_t v = (uint32_t)post_value(sum, &t->post);
    uint8_t *d = plane_at(x, &t->res, 0, c);
    d[0] = (uint8_t)v;
    if (t->res.wide) {
      d[t->res.bs] = (uint8_t)(v >> 8);
    }
  }
}
