/* Matrix product (hw/cv18xx-tiu.md section 5.11): the convolution kernels with the columns of the
 * right matrix as positions and the rows of the left one as weights. */

#include <string.h>

#include "kernels.h"
#include "partial.h"

typedef struct {
  const exec_ctx *x;
  const tiu_cmd *t;
  const kernel_set *k;
  uint32_t per_unit, inner, count, cols, flip, max_right, max_left;
  uint32_t *units, *offs;
  uint8_t *left; /* rows of `count` units */
  int32_t *add;  /* per row */
} matrix_state;

static uint64_t layout(const tiu_cmd *t, uint32_t per_unit, matrix_state *s, uint8_t *base) {
  const uint64_t count = ceil_div(t->b.n, per_unit), cols = (uint64_t)t->res.c * t->res.w;
  const uint64_t sizes[4] = {(count * cols + GEMM_COLS + 64) * 4, count * 4, count * 4 * t->res.n,
                             (uint64_t)t->res.n * 4};
  uint64_t offset[4], at = 0;
  for (int i = 0; i < 4; i++) {
    offset[i] = at;
    at += (sizes[i] + 127) & ~UINT64_C(63);
  }
  if (s) {
    s->units = (uint32_t *)(void *)(base + offset[0]);
    s->offs = (uint32_t *)(void *)(base + offset[1]);
    s->left = base + offset[2];
    s->add = (int32_t *)(void *)(base + offset[3]);
  }
  return at;
}

/* The operands fit local memory, hence at most a few MiB. */
size_t matrix_scratch(const tiu_cmd *t) {
  const uint64_t a = layout(t, t->bf16 ? 1 : 2, NULL, NULL);
  const uint64_t b = layout(t, t->bf16 ? 1 : 4, NULL, NULL);
  return (size_t)(a > b ? a : b);
}

/* Inner index of step i of the sum: bf16 sums column w of every channel, then w + 1. */
static uint32_t inner_index(const matrix_state *s, uint32_t w, uint32_t c) {
  return c * s->t->a.w + w;
}

static void pack_left_row(matrix_state *s, uint32_t r) {
  const tiu_cmd *t = s->t;
  uint8_t *dst = s->left + (size_t)r * s->count * 4;
  int32_t sum = 0;
  uint32_t k = 0;
  memset(dst, 0, (size_t)s->count * 4);
  if (t->bf16) {
    for (uint32_t w = 0; w < t->a.w; w++) {
      for (uint32_t c = 0; c < t->a.c && inner_index(s, w, c) < s->inner; c++) {
        const uint8_t *p = operand_at(s->x, &t->a, r, c) + 2 * (size_t)w;
        const uint32_t u = f32_bits(bf16_read(load16(p)));
        memcpy(dst + 4 * (size_t)k++, &u, 4);
        s->max_left = (u & 0x7FFFFFFF) > s->max_left ? u & 0x7FFFFFFF : s->max_left;
      }
    }
    return;
  }
  for (uint32_t c = 0; c < t->a.c; c++) {
    const uint8_t *p = operand_at(s->x, &t->a, r, c);
    for (uint32_t w = 0; w < t->a.w && k < s->inner; w++, k++) {
      const int16_t v = t->a.is_signed ? (int8_t)p[w] : p[w];
      sum += v;
      if (s->per_unit == 4) {
        dst[k] = (uint8_t)v;
      } else {
        memcpy(dst + 2 * (size_t)k, &v, 2);
      }
    }
  }
  s->add[r] = s->flip ? (int32_t)(0u - 128u * (uint32_t)sum) : 0;
}

static void pack_right(matrix_state *s) {
  const tiu_cmd *t = s->t;
  const operand *b = &t->b;
  for (uint32_t c = 0; c < t->res.c; c++) {
    uint32_t *dst = s->units + (size_t)c * b->w;
    for (uint32_t i = 0; !t->bf16 && i < s->count; i++, dst += s->cols) {
      const uint8_t *p[4];
      for (uint32_t q = 0; q < s->per_unit; q++) {
        const uint32_t k = i * s->per_unit + q; /* beyond the end: weight 0 */
        p[q] = operand_at(s->x, b, k < s->inner ? k : s->inner - 1, c);
      }
      if (s->per_unit == 4) {
        s->k->pack4(dst, p, b->w, s->flip);
      } else {
        s->k->pack2(dst, p[0], p[1], b->w, b->is_signed);
      }
    }
    for (uint32_t w = 0; t->bf16 && w < t->a.w; w++) {
      for (uint32_t lc = 0; lc < t->a.c; lc++) {
        const uint32_t k = inner_index(s, w, lc);
        if (k >= s->inner) {
          continue;
        }
        const uint8_t *p = operand_at(s->x, b, k, c);
        for (uint32_t i = 0; i < b->w; i++) {
          dst[i] = f32_bits(bf16_read(load16(p + 2 * (size_t)i)));
          const uint32_t mag = dst[i] & 0x7FFFFFFF;
          s->max_right = mag > s->max_right ? mag : s->max_right;
        }
        dst += s->cols;
      }
    }
  }
}

/* Address of column j of result row r. */
static uint8_t *result_at(const matrix_state *s, uint32_t r, uint32_t j) {
  const operand *o = &s->t->res;
  return plane_at(s->x, o, r, j / o->w) + (size_t)(j % o->w) * o->ws;
}

/* Bias of column j: 16 or 32 bits in byte rows, or fp32 in two rows of halves. */
static uint32_t bias_at(const matrix_state *s, uint32_t j) {
  const tiu_cmd *t = s->t;
  operand o = t->res;
  o.off = t->p_off;
  const uint8_t *p = operand_at(s->x, &o, 0, j / o.w) + (size_t)(j % o.w) * o.ws;
  const size_t row = t->p_bs;
  if (t->bf16) {
    return (uint32_t)load16(p) << 16 | load16(p + row);
  }
  if (t->chan_quant) {
    return p[0] | (uint32_t)p[row] << 8 | (uint32_t)p[2 * row] << 16 | (uint32_t)p[3 * row] << 24;
  }
  return p[0] + (t->bias_signed ? (uint32_t)(int8_t)p[row] : p[row]) * 256u;
}

static void init_row(const matrix_state *s, int32_t *acc, uint32_t r, uint32_t j, uint32_t len) {
  const tiu_cmd *t = s->t;
  memset(acc, 0, GEMM_COLS * sizeof *acc);
  for (uint32_t i = 0; i < len; i++) {
    uint32_t v = t->bf16 ? 0 : (uint32_t)s->add[r];
    const uint8_t *p = result_at(s, r, j + i);
    if (t->ps32 & 1) {
      const uint32_t u = load_partial(t, p);
      v = !t->bf16 ? v + u : (u & 0x7F800000) == 0x7F800000 ? F32_INVALID : u;
    }
    if (t->res_add) {
      const uint8_t hi = p[t->res.bs];
      const uint32_t old = p[0] + (t->res.is_signed ? (uint32_t)(int8_t)hi : hi) * 256u;
      v += old << t->left_shift;
    }
    if (t->has_bias && t->ps32 < 2 && !t->bf16) {
      v += bias_at(s, j + i);
    }
    acc[i] = (int32_t)v;
  }
}

static void finish_row(const matrix_state *s, const int32_t *acc, uint32_t r, uint32_t j,
                       uint32_t len) {
  const tiu_cmd *t = s->t;
  for (uint32_t i = 0; i < len; i++) {
    uint8_t *p = result_at(s, r, j + i);
    if (t->ps32 >= 2) {
      store_partial(t, p, (uint32_t)acc[i]);
    } else if (t->bf16) {
      float v = bits_f32((uint32_t)acc[i]);
      v = t->has_bias ? f32_add(v, f32_bias(bias_at(s, j + i))) : v;
      store16(p, bf16_result_relu(v, t->relu));
    } else {
      const uint32_t v = (uint32_t)post_value(acc[i], &t->post);
      p[0] = (uint8_t)v;
      if (t->res.wide) {
        p[t->res.bs] = (uint8_t)(v >> 8);
      }
    }
  }
}

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

/* Whether fp32 sums might leave the range of the fast kernel, or a partial is special. */
static int needs_exact(const matrix_state *s, const gemm_job *j) {
  const uint32_t ex = s->max_right >> 23, ew = s->max_left >> 23;
  uint32_t bits = 2;
  while ((UINT64_C(1) << bits) < (uint64_t)s->count * 4) {
    bits++;
  }
  int exact = ex == 255 || ew == 255 || ex + ew + bits > 254 + 120;
  for (uint32_t r = 0; (s->t->ps32 & 1) && r < j->rows; r++) {
    for (uint32_t i = 0; i < j->cols; i++) {
      const uint32_t u = (uint32_t)j->acc[r][i], e = u >> 23 & 255;
      exact |= e >= 127 + 120 || (e == 0 && (u & 0x7FFFFF));
    }
  }
  return exact;
}

static void run_block(const matrix_state *s, uint32_t r0, uint32_t c0) {
  _Alignas(64) int32_t acc[GEMM_ROWS][GEMM_COLS];
  gemm_job j = {.b = s->units + c0, .offs = s->offs, .k = s->count, .acc = acc};
  j.rows = s->t->res.n - r0 < GEMM_ROWS ? s->t->res.n - r0 : GEMM_ROWS;
  j.cols = s->cols - c0 < GEMM_COLS ? s->cols - c0 : GEMM_COLS;
  for (uint32_t r = 0; r < j.rows; r++) {
    j.w[r] = s->left + (size_t)(r0 + r) * s->count * 4;
    init_row(s, acc[r], r0 + r, c0, j.cols);
  }
  if (s->t->bf16) {
    if (needs_exact(s, &j)) {
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
    finish_row(s, acc[r], r0 + r, c0, j.cols);
  }
}

void exec_matrix(const exec_ctx *x, const tiu_cmd *t) {
  matrix_state s = {.x = x, .t = t, .k = kernels_get()};
  s.per_unit = t->bf16 ? 1 : s.k->gemm8 && t->a.is_signed ? 4 : 2;
  layout(t, s.per_unit, &s, x->scratch);
  s.inner = t->b.n;
  s.count = ceil_div(s.inner, s.per_unit);
  s.cols = (uint32_t)t->res.c * t->res.w;
  s.flip = s.per_unit == 4 && t->b.is_signed ? 0x80808080u : 0;
  for (uint32_t k = 0; k < s.count; k++) {
    s.offs[k] = k * s.cols;
  }
  for (uint32_t r = 0; r < t->res.n; r++) {
    pack_left_row(&s, r);
  }
  pack_right(&s);
  for (uint32_t c = 0; c < s.cols; c += GEMM_COLS) {
    for (uint32_t r = 0; r < t->res.n; r += GEMM_ROWS) {
      run_block(&s, r, c);
    }
  }
}
