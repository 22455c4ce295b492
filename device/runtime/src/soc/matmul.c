/* Y = L * R in tiles of ROWS x 16 * lanes, summed up over slices of DEPTH in 32-bit partial sums
 * (hw/cv18xx-tiu.md sections 5.11 and 6, hw/cv18xx-tdma.md sections 4.1 and 4.6).
 *
 * Local memory of every lane: the slice of R, rows of 16 columns; the slice of L, 16 columns a
 * channel; four planes of the sums' bytes. A store spreads one plane over every fourth byte of Y.
 */
#include "matmul.h"

#include <string.h>

#include "model/stream.h"
#include "sim/cv18xx_fields.h"

enum {
  ROWS = 64,
  DEPTH = 512,
  WIDTH = 16, /* columns of a channel */
  RIGHT_AT = 0,
  LEFT_AT = DEPTH * WIDTH,
  SUM_AT = LEFT_AT + ROWS * (DEPTH / 2), /* 2 lanes: the most channels in one */
  LANE_BYTES = 32768,
  LEFT_BASE = 2,
  RIGHT_BASE = 3,
  RESULT_BASE = 4,
  MOST_IDS = 0xFFFE,
  PACKETS = 8 + TIU_BYTES
};

_Static_assert(SUM_AT + 4 * ROWS * WIDTH <= LANE_BYTES, "local memory");

#define X(name, low_a, width_a, low_b, width_b)                                                    \
  A_##name = low_a, AW_##name = width_a, B_##name = low_b, BW_##name = width_b,
enum { CV_TIU_FIELDS(X) };
#undef X
#define X(name, low, width) T_##name = low, TW_##name = width,
enum { CV_TDMA_FIELDS(X) };
#undef X

typedef struct {
  const char *chip;
  bool gen_a, is_signed;
  uint32_t lanes, m, k, n;
  uint8_t *at;        /* where the next packet goes */
  uint32_t tiu, tdma; /* youngest ids */
} emitter;

/* A tile: rows from i, columns from j. */
typedef struct {
  uint32_t i, j, rows, columns;
} tile;

static uint32_t up(uint32_t x, uint32_t unit) { return (x + unit - 1) / unit; }

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void put(uint32_t *words, unsigned low, unsigned width, uint64_t value) {
  for (unsigned i = 0; i < width; i++) {
    uint32_t bit = UINT32_C(1) << (low + i) % 32;
    words[(low + i) / 32] &= ~bit;
    words[(low + i) / 32] |= value >> i & 1 ? bit : 0;
  }
}

#define TIU(name, value)                                                                           \
  put(w, e->gen_a ? (unsigned)A_##name : (unsigned)B_##name,                                       \
      e->gen_a ? (unsigned)AW_##name : (unsigned)BW_##name, (uint64_t)(value))
#define TDMA(name, value) put(w, T_##name, TW_##name, (uint64_t)(value))

static void send(emitter *e, const uint32_t *words, uint8_t size, uint8_t engine) {
  memcpy(e->at, (uint8_t[8]){stream_magic(e->chip), size, engine}, 8);
  for (int i = 0; i < size; i++) {
    e->at[8 + i] = (uint8_t)(words[i / 4] >> i % 4 * 8);
  }
  e->at += 8 + size;
}

/* ---- TDMA ---- */

typedef struct {
  uint32_t address, n_stride, c_stride, h_stride;
} side;

static void start(emitter *e, uint32_t *w, uint32_t direction, side src, side dst) {
  TDMA(vld, 1);
  TDMA(bar_en, 1);
  TDMA(trans_dir, direction);
  TDMA(cmd_id, ++e->tdma);
  TDMA(wait_id_tpu, e->tiu);
  TDMA(src_fmt, 1);
  TDMA(dst_fmt, 1);
  TDMA(src_base_addr_low, src.address);
  TDMA(src_n_stride, src.n_stride);
  TDMA(src_c_stride_low, src.c_stride);
  TDMA(src_h_stride, src.h_stride);
  TDMA(dst_base_addr_low, dst.address);
  TDMA(dst_n_stride, dst.n_stride);
  TDMA(dst_c_stride_low, dst.c_stride);
  TDMA(dst_h_stride, dst.h_stride);
}

/* rows x columns bytes, row_bytes apart in DDR, as a matrix at `local`. */
static void load(emitter *e, unsigned base, uint32_t address, uint32_t row_bytes, uint32_t rows,
                 uint32_t columns, uint32_t local, uint32_t row_stride) {
  uint32_t w[TDMA_BYTES / 4] = {0};
  start(e, w, 0, (side){address, 1, row_bytes, 1}, (side){local, row_stride, WIDTH, WIDTH});
  TDMA(sys_dtype, 1);
  TDMA(src_base_reg_sel, base);
  TDMA(src_base_addr_high, e->gen_a); /* where its DDR begins */
  TDMA(src_n, rows);
  TDMA(src_c, rows);
  TDMA(src_h, 1);
  TDMA(src_w, columns);
  TDMA(dst_c, up(columns, WIDTH));
  TDMA(dst_h, 1);
  TDMA(dst_w, WIDTH);
  send(e, w, TDMA_BYTES, 2);
}

/* One plane: `channels` of `width` columns from channel `first`, to every fourth byte of Y. */
static void store(emitter *e, const tile *t, uint32_t plane, uint32_t first, uint32_t channels,
                  uint32_t width) {
  uint32_t w[TDMA_BYTES / 4] = {0};
  uint32_t local = first * LANE_BYTES + SUM_AT + plane * t->rows * WIDTH;
  uint32_t address = (t->i * e->n + t->j + first * WIDTH) * 4 + plane;
  start(e, w, 1, (side){local, WIDTH, WIDTH, WIDTH}, (side){address, e->n * 4, WIDTH * 4, 4});
  TDMA(dst_base_reg_sel, RESULT_BASE);
  TDMA(dst_base_addr_high, e->gen_a);
  TDMA(src_n, t->rows);
  TDMA(src_c, channels);
  TDMA(src_h, 1);
  TDMA(src_w, width);
  TDMA(dst_c, channels);
  TDMA(dst_h, width);
  TDMA(dst_w, 1);
  send(e, w, TDMA_BYTES, 2);
}

/* ---- TIU ---- */

/* sums (+)= left [rows, depth] * right [depth, columns] */
static void multiply(emitter *e, const tile *t, uint32_t depth, bool first) {
  static const uint32_t reserved[] = {1, 2, 3, 4, 5, 6}; /* generation B: numbers of the beats */
  uint32_t w[TIU_BYTES / 4] = {0}, left = up(depth, WIDTH), right = up(t->columns, WIDTH);
  for (unsigned i = 0; i < 6 && !e->gen_a; i++) {
    put(w, 128 * (i + 1) + 124, 4, reserved[i]);
  }
  TIU(cmd_en, 1);
  TIU(cmd_id_en, 1);
  TIU(cmd_id_tpu, ++e->tiu);
  TIU(cmd_id_gdma, e->tdma);
  TIU(tsk_typ, 2);
  TIU(tsk_opd_num, 2);
  TIU(opt_rshift_typ, 1);
  TIU(opt_shift_typ, e->is_signed);
  TIU(opt_res0_sign, e->is_signed);
  TIU(opt_opd0_sign, e->is_signed);
  TIU(opt_opd1_sign, e->is_signed);
  TIU(opt_opd2_sign, 1);
  TIU(opt_res0_seg, 1);
  TIU(opt_opd0_seg, 1);
  TIU(opt_opd1_seg, 1);
  TIU(ps32_md, first ? 2 : 3);
  TIU(res0_n, t->rows);
  TIU(res0_c, right);
  TIU(res0_h, 1);
  TIU(res0_w, WIDTH);
  TIU(res0_b_str, t->rows * WIDTH);
  TIU(res0_addr, SUM_AT);
  TIU(opd0_n, t->rows);
  TIU(opd0_c, left);
  TIU(opd0_h, 1);
  TIU(opd0_w, WIDTH);
  TIU(opd0_addr, LEFT_AT);
  TIU(opd1_n, depth);
  TIU(opd1_c, right);
  TIU(opd1_h, 1);
  TIU(opd1_w, depth - WIDTH * (left - 1)); /* columns in the last channel of left */
  TIU(opd1_addr, RIGHT_AT);
  TIU(opd2_n, 1);
  TIU(opd2_c, right);
  TIU(opd2_h, 1);
  TIU(opd2_w, WIDTH);
  TIU(conv_op_x_str, 1);
  TIU(conv_op_y_str, 1);
  send(e, w, TIU_BYTES, 0);
}

static void emit_tile(emitter *e, const tile *t) {
  for (uint32_t at = 0; at < e->k; at += DEPTH) {
    uint32_t depth = least(DEPTH, e->k - at);
    load(e, LEFT_BASE, t->i * e->k + at, e->k, t->rows, depth, LEFT_AT,
         WIDTH * up(up(depth, WIDTH), e->lanes));
    load(e, RIGHT_BASE, at * e->n + t->j, e->n, depth, t->columns, RIGHT_AT, WIDTH);
    multiply(e, t, depth, at == 0);
  }
  uint32_t full = t->columns / WIDTH, rest = t->columns % WIDTH;
  for (uint32_t plane = 0; plane < 4; plane++) {
    if (full) {
      store(e, t, plane, 0, full, WIDTH);
    }
    if (rest) {
      store(e, t, plane, full, 1, rest);
    }
  }
}

CVI_RC matmul_commands(const char *chip, bool is_signed, uint32_t m, uint32_t k, uint32_t n,
                       uint8_t **out, size_t *out_size) {
  static const uint8_t lanes[] = {32, 8, 8, 2};
  emitter e = {.chip = chip,
               .gen_a = stream_magic(chip) == 0xA5,
               .is_signed = is_signed,
               .lanes = lanes[stream_magic(chip) - 0xA5],
               .m = m,
               .k = k,
               .n = n};
  uint32_t width = WIDTH * e.lanes, slices = up(k, DEPTH);
  uint64_t tiles = (uint64_t)up(m, ROWS) * up(n, width);
  if (m - 1 >= MATMUL_MOST || k - 1 >= MATMUL_MOST || n - 1 >= MATMUL_MOST ||
      tiles * (2 * slices + 8) > MOST_IDS) {
    return rt_fail(CVI_RC_INVALID_ARG, "matrix product %u x %u x %u: too large for one %s job", m,
                   k, n, chip);
  }
  uint8_t *stream = rt_zalloc((size_t)tiles * (3 * slices + 8), PACKETS, "matrix product");
  if (!stream) {
    return CVI_RC_NOMEM;
  }
  e.at = stream;
  for (uint32_t i = 0; i < m; i += ROWS) {
    for (uint32_t j = 0; j < n; j += width) {
      const tile t = {i, j, least(ROWS, m - i), least(width, n - j)};
      emit_tile(&e, &t);
    }
  }
  *out = stream;
  *out_size = (size_t)(e.at - stream);
  return CVI_RC_SUCCESS;
}
