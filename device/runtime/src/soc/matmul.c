/* Y = L * R in tiles of ROWS x 16 * lanes, summed up over slices of DEPTH in 32-bit partial sums
 * (hw/cv18xx-tiu.md sections 5.11 and 6, hw/cv18xx-tdma.md sections 4.1 and 4.6).
 *
 * Local memory of every lane: the slice of R, rows of 16 columns; the slice of L, 16 columns a
 * channel; four planes of the sums' bytes. A store spreads one plane over every fourth byte of Y.
 */
#include "matmul.h"

#include <string.h>

#include "model/stream.h"
#include "sim/chip.h"
#include "sim/cv18xx_fields.h"

enum {
  ROWS = 64,
  DEPTH = 512,
  WIDTH = 16, /* columns of a channel */
  RIGHT_AT = 0,
  LEFT_AT = DEPTH * WIDTH,
  SUM_AT = LEFT_AT + ROWS * (DEPTH / 2), /* 2 lanes: the most channels in one */
  LEFT_BASE = 2,
  RIGHT_BASE = 3,
  RESULT_BASE = 4,
  MOST_IDS = 0xFFFE,
  PACKETS = 8 + TIU_BYTES
};

_Static_assert(SUM_AT + 4 * ROWS * WIDTH <= LANE_BYTES, "local memory");

/* Where a field lies in the words of both generations. */
typedef struct {
  uint16_t low[2];
  uint8_t width[2];
} place;

#define X(name, low_a, width_a, low_b, width_b)                                                    \
  A_##name = low_a, AW_##name = width_a, B_##name = low_b, BW_##name = width_b,
enum { CV_TIU_FIELDS(X) };
#undef X
#define X(name, low, width) T_##name = low, TW_##name = width,
enum { CV_TDMA_FIELDS(X) };
#undef X
#define TIU(name)                                                                                  \
  {                                                                                                \
    {A_##name, B_##name}, { AW_##name, BW_##name }                                                 \
  }
#define TDMA(name)                                                                                 \
  {                                                                                                \
    {T_##name, T_##name}, { TW_##name, TW_##name }                                                 \
  }

typedef struct {
  uint8_t magic;
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

/* Set fields that are 0. */
static void put(const emitter *e, uint32_t *words, const place *places, const uint32_t *values,
                size_t count) {
  for (size_t f = 0; f < count; f++) {
    uint32_t low = places[f].low[!e->gen_a], width = places[f].width[!e->gen_a];
    for (uint32_t i = 0; i < width; i++) {
      words[(low + i) / 32] |= (values[f] >> i & 1) << (low + i) % 32;
    }
  }
}

static void send(emitter *e, const uint32_t *words, uint8_t size, uint8_t engine) {
  memcpy(e->at, (uint8_t[8]){e->magic, size, engine}, 8);
  for (int i = 0; i < size; i++) {
    e->at[8 + i] = (uint8_t)(words[i / 4] >> i % 4 * 8);
  }
  e->at += 8 + size;
}

/* ---- TDMA ---- */

/* The fields that differ between transfers, in the order of `transfer`. */
static const place transfer_places[] = {
    TDMA(trans_dir),
    TDMA(sys_dtype),
    TDMA(src_base_reg_sel),
    TDMA(dst_base_reg_sel),
    TDMA(src_base_addr_high),
    TDMA(dst_base_addr_high),
    TDMA(src_base_addr_low),
    TDMA(src_n_stride),
    TDMA(src_c_stride_low),
    TDMA(src_h_stride),
    TDMA(dst_base_addr_low),
    TDMA(dst_n_stride),
    TDMA(dst_c_stride_low),
    TDMA(dst_h_stride),
    TDMA(src_n),
    TDMA(src_c),
    TDMA(src_h),
    TDMA(src_w),
    TDMA(dst_c),
    TDMA(dst_h),
    TDMA(dst_w),
    TDMA(vld),
    TDMA(bar_en),
    TDMA(src_fmt),
    TDMA(dst_fmt),
    TDMA(cmd_id),
    TDMA(wait_id_tpu),
};

typedef struct {
  uint32_t direction, matrix;
  uint32_t src_base, dst_base, src_high, dst_high;
  uint32_t src, src_n_stride, src_c_stride, src_h_stride;
  uint32_t dst, dst_n_stride, dst_c_stride, dst_h_stride;
  uint32_t src_shape[4], dst_shape[3];
  uint32_t ones[4], id, wait;
} transfer;

_Static_assert(sizeof(transfer) == 4 * sizeof(transfer_places) / sizeof(place), "one place each");

static void send_transfer(emitter *e, transfer t) {
  uint32_t words[TDMA_BYTES / 4] = {0};
  for (int i = 0; i < 4; i++) {
    t.ones[i] = 1;
  }
  t.id = ++e->tdma;
  t.wait = e->tiu;
  put(e, words, transfer_places, (const uint32_t *)&t, sizeof(t) / 4);
  send(e, words, TDMA_BYTES, 2);
}

/* rows x columns bytes, row_bytes apart in DDR, as a matrix at `local`. */
static void load(emitter *e, uint32_t base, uint32_t address, uint32_t row_bytes, uint32_t rows,
                 uint32_t columns, uint32_t local, uint32_t row_stride) {
  send_transfer(e, (transfer){.matrix = 1,
                              .src_base = base,
                              .src_high = e->gen_a, /* where its DDR begins */
                              .src = address,
                              .src_n_stride = 1,
                              .src_c_stride = row_bytes,
                              .src_h_stride = 1,
                              .dst = local,
                              .dst_n_stride = row_stride,
                              .dst_c_stride = WIDTH,
                              .dst_h_stride = WIDTH,
                              .src_shape = {rows, rows, 1, columns},
                              .dst_shape = {up(columns, WIDTH), 1, WIDTH}});
}

/* One plane: `channels` of `width` columns from channel `first`, to every fourth byte of Y. */
static void store(emitter *e, const tile *t, uint32_t plane, uint32_t first, uint32_t channels,
                  uint32_t width) {
  send_transfer(e, (transfer){.direction = 1,
                              .dst_base = RESULT_BASE,
                              .dst_high = e->gen_a,
                              .src = first * LANE_BYTES + SUM_AT + plane * t->rows * WIDTH,
                              .src_n_stride = WIDTH,
                              .src_c_stride = WIDTH,
                              .src_h_stride = WIDTH,
                              .dst = (t->i * e->n + t->j + first * WIDTH) * 4 + plane,
                              .dst_n_stride = e->n * 4,
                              .dst_c_stride = WIDTH * 4,
                              .dst_h_stride = 4,
                              .src_shape = {t->rows, channels, 1, width},
                              .dst_shape = {channels, width, 1}});
}

/* ---- TIU ---- */

/* The fields of the product, in the order of the values in `multiply`. */
static const place product_places[] = {
    /* always 1 */
    TIU(cmd_en), TIU(cmd_id_en), TIU(opt_rshift_typ), TIU(opt_opd2_sign), TIU(opt_res0_seg),
    TIU(opt_opd0_seg), TIU(opt_opd1_seg), TIU(conv_op_x_str), TIU(conv_op_y_str), TIU(res0_h),
    TIU(opd0_h), TIU(opd1_h), TIU(opd2_h), TIU(opd2_n),
    /* signed? */
    TIU(opt_shift_typ), TIU(opt_res0_sign), TIU(opt_opd0_sign), TIU(opt_opd1_sign),
    /* channels of the result, WIDTH, rows */
    TIU(res0_c), TIU(opd1_c), TIU(opd2_c), TIU(res0_w), TIU(opd0_w), TIU(opd2_w), TIU(res0_n),
    TIU(opd0_n),
    /* the others */
    TIU(cmd_id_tpu), TIU(cmd_id_gdma), TIU(tsk_typ), TIU(tsk_opd_num), TIU(ps32_md),
    TIU(res0_b_str), TIU(res0_addr), TIU(opd0_c), TIU(opd0_addr), TIU(opd1_n), TIU(opd1_w)};

enum { ONES = 14, SIGNS = 4, SPREADS = 3, WIDTHS = 3, HEIGHTS = 2, OTHERS = 11 };

_Static_assert(sizeof(product_places) / sizeof(place) ==
                   ONES + SIGNS + SPREADS + WIDTHS + HEIGHTS + OTHERS,
               "one value each");

/* sums (+)= left [rows, depth] * right [depth, columns] */
static void multiply(emitter *e, const tile *t, uint32_t depth, bool first) {
  const uint32_t left = up(depth, WIDTH), right = up(t->columns, WIDTH);
  const uint32_t repeated[][2] = {
      {ONES, 1}, {SIGNS, e->is_signed}, {SPREADS, right}, {WIDTHS, WIDTH}, {HEIGHTS, t->rows}};
  const uint32_t last = depth - WIDTH * (left - 1); /* columns in the last channel of left */
  const uint32_t others[OTHERS] = {
      ++e->tiu, e->tdma, 2, 2, first ? 2 : 3, t->rows * WIDTH, SUM_AT, left, LEFT_AT, depth, last};
  uint32_t values[sizeof(product_places) / sizeof(place)], *at = values;
  for (size_t group = 0; group < sizeof(repeated) / sizeof(repeated[0]); group++) {
    for (uint32_t i = 0; i < repeated[group][0]; i++) {
      *at++ = repeated[group][1];
    }
  }
  memcpy(at, others, sizeof(others));
  uint32_t words[TIU_BYTES / 4] = {0};
  for (uint32_t beat = 1; beat < 7 && !e->gen_a; beat++) { /* their numbers in generation B */
    words[4 * beat + 3] = beat << 28;
  }
  put(e, words, product_places, values, sizeof(values) / 4);
  send(e, words, TIU_BYTES, 0);
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
  const chip_info *info = chip_find(chip);
  emitter e = {.magic = info->magic,
               .gen_a = !info->gen_b,
               .is_signed = is_signed,
               .lanes = info->lanes,
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
