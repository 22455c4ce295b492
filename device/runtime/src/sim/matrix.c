/* Matrix product (hw/cv18xx-tiu.md section 5.11): the convolution kernels with the columns of the
 * right matrix as positions, some at a time, and the rows of the left one as weights. */

#include <string.h>

#include "gemm.h"
#include "partial.h"

typedef struct {
  const exec_ctx *x;
  const tiu_cmd *t;
  const kernel_set *k;
  uint32_t per_unit, inner, count, flip, max_right, max_left;
  uint32_t width, first, cols; /* columns at a time; those at work */
  uint32_t *units, *offs;
  uint8_t *left;  /* GEMM_ROWS rows of `count` units */
  int32_t offset; /* of bytes on the right, see gemm8_offset */
  int32_t add[GEMM_ROWS];
} matrix_state;

static uint32_t units_of_depth(const kernel_set *k, const tiu_cmd *t) {
  return t->bf16 ? 1 : k->gemm8 && t->a.is_signed ? 4 : 2;
}

/* Layout of the scratch area for as many columns at a time as `area` bytes allow, at least 16. */
static uint64_t layout(const tiu_cmd *t, uint32_t per_unit, uint64_t area, matrix_state *s,
                       uint8_t *base) {
  const uint64_t count = ceil_div(t->b.n, per_unit), cols = (uint64_t)t->res.c * t->res.w;
  const uint64_t fixed = (GEMM_COLS + 64 + count + count * GEMM_ROWS) * 4 + 3 * 64;
  const uint64_t fit = area > fixed ? (area - fixed) / (count * 4) : 0;
  uint64_t width = fit >= GEMM_COLS ? fit - fit % GEMM_COLS : 16;
  width = width < cols ? width : cols;
  const uint64_t sizes[3] = {(count * width + GEMM_COLS + 64) * 4, count * 4,
                             count * 4 * GEMM_ROWS};
  uint64_t offset[3], at = 0;
  for (int i = 0; i < 3; i++) {
    offset[i] = at;
    at += (sizes[i] + 63) & ~UINT64_C(63);
  }
  if (s) {
    s->width = (uint32_t)width;
    s->units = (uint32_t *)(void *)(base + offset[0]);
    s->offs = (uint32_t *)(void *)(base + offset[1]);
    s->left = base + offset[2];
  }
  return at;
}

size_t matrix_scratch(const tiu_cmd *t, size_t area) {
  return (size_t)layout(t, units_of_depth(kernels_get(), t), area, NULL, NULL);
}

/* Inner index of step i of the sum: bf16 sums column w of every channel, then w + 1. */
static uint32_t inner_index(const matrix_state *s, uint32_t w, uint32_t c) {
  return c * s->t->a.w + w;
}

/* Row r as units at row `to` of s->left. */
static void pack_left_row(matrix_state *s, uint32_t r, uint32_t to) {
  const tiu_cmd *t = s->t;
  uint8_t *dst = s->left + (size_t)to * s->count * 4;
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
  s->add[to] = (int32_t)(0u - (uint32_t)s->offset * (uint32_t)sum);
}

/* `count` columns from column w of channel c on. */
static void pack_columns(matrix_state *s, uint32_t *dst, uint32_t c, uint32_t w, uint32_t count) {
  const tiu_cmd *t = s->t;
  const operand *b = &t->b;
  for (uint32_t i = 0; !t->bf16 && i < s->count; i++, dst += s->width) {
    const uint8_t *p[4];
    for (uint32_t q = 0; q < s->per_unit; q++) {
      const uint32_t k = i * s->per_unit + q; /* beyond the end: weight 0 */
      p[q] = operand_at(s->x, b, k < s->inner ? k : s->inner - 1, c) + w;
    }
    if (s->per_unit == 4) {
      s->k->pack4(dst, p, count, s->flip);
    } else {
      s->k->pack2(dst, p[0], p[1], count, b->is_signed);
    }
  }
  for (uint32_t aw = 0; t->bf16 && aw < t->a.w; aw++) {
    for (uint32_t lc = 0; lc < t->a.c; lc++) {
      const uint32_t k = inner_index(s, aw, lc);
      if (k >= s->inner) {
        continue;
      }
      const uint8_t *p = operand_at(s->x, b, k, c) + 2 * (size_t)w;
      for (uint32_t i = 0; i < count; i++) {
        dst[i] = f32_bits(bf16_read(load16(p + 2 * (size_t)i)));
        const uint32_t mag = dst[i] & 0x7FFFFFFF;
        s->max_right = mag > s->max_right ? mag : s->max_right;
      }
      dst += s->width;
    }
  }
}

/* The columns s->first .. of the right matrix. */
static void pack_right(matrix_state *s) {
  const uint32_t w = s->t->b.w;
  s->max_right = 0;
  for (uint32_t at = 0, run; at < s->cols; at += run) {
    const uint32_t column = (s->first + at) % w;
    run = s->cols - at < w - column ? s->cols - at : w - column;
    pack_columns(s, s->units + at, (s->first + at) / w, column, run);
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

/* Start values of columns j .. of row r, whose offset is `add`. */
static void init_row(const matrix_state *s, int32_t *acc, uint32_t r, uint32_t j, uint32_t len,
                     int32_t add) {
  const tiu_cmd *t = s->t;
  memset(acc, 0, GEMM_COLS * sizeof *acc);
  for (uint32_t i = 0; i < len; i++) {
    uint32_t v = t->bf16 ? 0 : (uint32_t)add;
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

/* Whether fp32 sums might leave the range of the fast kernel, or a partial is special. */
static int needs_exact(const matrix_state *s, const gemm_job *j) {
  int exact = gemm_range_is_large(s->max_right, s->max_left, (uint64_t)s->count * 4);
  for (uint32_t r = 0; (s->t->ps32 & 1) && r < j->rows; r++) {
    for (uint32_t i = 0; i < j->cols; i++) {
      const uint32_t u = (uint32_t)j->acc[r][i], e = u >> 23 & 255;
      exact |= e >= 127 + 120 || (e == 0 && (u & 0x7FFFFF));
    }
  }
  return exact;
}

/* Rows r0 .. (in s->left), columns s->first + c0 .. */
static void run_block(const matrix_state *s, uint32_t r0, uint32_t rows, uint32_t c0) {
  _Alignas(64) int32_t acc[GEMM_ROWS][GEMM_COLS];
  gemm_job j = {.b = s->units + c0, .offs = s->offs, .k = s->count, .rows = rows, .acc = acc};
  j.cols = s->cols - c0 < GEMM_COLS ? s->cols - c0 : GEMM_COLS;
  for (uint32_t r = 0; r < rows; r++) {
    j.w[r] = s->left + (size_t)r * s->count * 4;
    init_row(s, acc[r], r0 + r, s->first + c0, j.cols, s->add[r]);
  }
  gemm_run(s->k, &j, s->per_unit, s->t->bf16 && needs_exact(s, &j));
  for (uint32_t r = 0; r < rows; r++) {
    finish_row(s, acc[r], r0 + r, s->first + c0, j.cols);
  }
}

/* All rows of the packed columns. */
static void run_rows(matrix_state *s) {
  const uint32_t n = s->t->res.n;
  for (uint32_t r0 = 0; r0 < n; r0 += GEMM_ROWS) {
    const uint32_t rows = n - r0 < GEMM_ROWS ? n - r0 : GEMM_ROWS;
    s->max_left = 0;
    for (uint32_t r = 0; r < rows; r++) {
      pack_left_row(s, r0 + r, r);
    }
    for (uint32_t c = 0; c < s->cols; c += GEMM_COLS) {
      run_block(s, r0, rows, c);
    }
  }
}

void exec_matrix(const exec_ctx *x, const tiu_cmd *t) {
  matrix_state s = {.x = x, .t = t, .k = kernels_get()};
  const span columns = share_of(x, (uint32_t)t->res.c * t->res.w, GEMM_COLS);
  s.per_unit = units_of_depth(s.k, t);
  layout(t, s.per_unit, x->scratch_size, &s, x->scratch);
  s.inner = t->b.n;
  s.count = ceil_div(s.inner, s.per_unit);
  s.offset = s.per_unit == 4 ? gemm8_offset(s.k, t->b.is_signed) : 0;
  s.flip = s.offset ? 0x80808080u : 0;
  for (uint32_t k = 0; k < s.count; k++) {
    s.offs[k] = k * s.width;
  }
  for (s.first = columns.first; s.first < columns.end; s.first += s.width) {
    s.cols = columns.end - s.first < s.width ? columns.end - s.first : s.width;
    pack_right(&s);
    run_rows(&s);
  }
}
