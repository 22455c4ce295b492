/* Every function of the kernel set in use against the portable one, over awkward lengths, extreme
 * values, strides and parameters. Bytes behind a result must stay as they were.
 *
 *   kernels [ROUNDS]           prints the name of the set and the number of comparisons
 *   kernels gemm8|gemm16 RUNS  runs 6 x 64 sums of 512 units, nothing else: for counting
 * instructions
 *
 * Built by test_kernels.py from this file and all of device/runtime/src/sim. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { MOST = 320, DEPTH = 40, BYTES = 16384 };

static const uint32_t lengths[] = {1,  2,  3,  7,  8,  9,   15,  16,  17,  31,
                                   32, 33, 63, 64, 65, 100, 255, 256, 257, 300};
static uint64_t state = 1;
static unsigned compared;
static const kernel_set *set;
static _Alignas(64) uint8_t data[BYTES], expected[BYTES], result[BYTES];

static uint32_t next(uint32_t below) {
  state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
  return (uint32_t)(state >> 33) % below;
}

/* Random bytes: uniform, or extremes. */
static void randomise(uint8_t *p, size_t n) {
  static const uint8_t extremes[] = {0, 1, 0x7F, 0x80, 0x81, 0xFF};
  const int uniform = next(2) == 0;
  for (size_t i = 0; i < n; i++) {
    p[i] = uniform ? (uint8_t)next(256) : extremes[next(6)];
  }
}

/* The first bytes hold a result, the others what was there before. */
static void check(const char *what, uint32_t n, uint32_t detail) {
  compared++;
  for (size_t i = 0; i < BYTES; i++) {
    if (expected[i] != result[i]) {
      printf("%s %s: n %u, detail %u: byte %zu is %u, not %u\n", set->name, what, n, detail, i,
             result[i], expected[i]);
      exit(1);
    }
  }
}

static void fresh(void) {
  randomise(expected, BYTES);
  memcpy(result, expected, BYTES);
}

/* ---- sums of products ---- */

static uint32_t units[MOST * 2 + 256];
static uint8_t weights[GEMM_ROWS][DEPTH * 4];
static uint32_t offsets[DEPTH];

static void reference_gemm8(const gemm_job *j) {
  for (uint32_t r = 0; r < j->rows; r++) {
    for (uint32_t i = 0; i < j->cols; i++) {
      for (uint32_t k = 0; k < 4 * j->k; k++) {
        const uint8_t b = (uint8_t)(j->b[j->offs[k / 4] + i] >> 8 * (k % 4));
        j->acc[r][i] += (set->signed_bytes ? (int8_t)b : b) * (int8_t)j->w[r][k];
      }
    }
  }
}

/* Moderate and tiny numbers whose products are exact, no denormals; now and then +0. */
static uint32_t random_float(void) {
  const uint32_t exponent = next(8) == 0 ? 1 + next(69) : 100 + next(50);
  return next(16) == 0 ? 0 : next(2) << 31 | exponent << 23 | next(128) << 16;
}

/* -0 counts as +0: every reader of sums flushes it. */
static void flush_zeros(uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i += 4) {
    uint32_t u;
    memcpy(&u, p + i, 4);
    u = u == 0x80000000u ? 0 : u;
    memcpy(p + i, &u, 4);
  }
}

static void make_units(int kind) {
  randomise((uint8_t *)units, sizeof units);
  randomise(&weights[0][0], sizeof weights);
  for (size_t i = 0; kind != 8 && i < sizeof units / 4; i++) {
    const uint32_t v = units[i];
    units[i] = kind == 32 ? random_float()
               : next(2)  ? v & 0xFF00FF
                          : (uint16_t)(int8_t)v | (uint32_t)(uint16_t)(int8_t)(v >> 16) << 16;
  }
  for (uint32_t r = 0; kind != 8 && r < GEMM_ROWS; r++) {
    for (uint32_t k = 0; k < DEPTH; k++) {
      const uint32_t v =
          kind == 32 ? random_float()
                     : (uint16_t)(int8_t)next(256) | (uint32_t)(uint16_t)(int8_t)next(256) << 16;
      memcpy(&weights[r][4 * k], &v, 4);
    }
  }
}

static void run_gemm(const char *what, void (*ours)(const gemm_job *),
                     void (*reference)(const gemm_job *), int kind, uint32_t cols) {
  int32_t a[GEMM_ROWS][GEMM_COLS], b[GEMM_ROWS][GEMM_COLS];
  gemm_job j = {.b = units, .offs = offsets, .cols = cols};
  j.rows = 1 + next(GEMM_ROWS);
  j.k = 1 + next(DEPTH);
  make_units(kind);
  for (uint32_t k = 0; k < j.k; k++) {
    offsets[k] = next(MOST);
  }
  for (uint32_t r = 0; r < j.rows; r++) {
    j.w[r] = weights[r];
    for (uint32_t i = 0; i < GEMM_COLS; i++) {
      a[r][i] = b[r][i] = kind == 32 ? (int32_t)random_float() : (int32_t)next(1u << 31) / 2;
    }
  }
  j.acc = a;
  reference(&j);
  j.acc = b;
  ours(&j);
  memset(expected, 0, BYTES);
  memset(result, 0, BYTES);
  for (uint32_t r = 0; r < j.rows; r++) {
    memcpy(expected + 256 * r, a[r], 4 * (size_t)cols);
    memcpy(result + 256 * r, b[r], 4 * (size_t)cols);
  }
  if (kind == 32) {
    flush_zeros(expected, BYTES);
    flush_zeros(result, BYTES);
  }
  check(what, cols, j.rows * 1000 + j.k);
}

static void test_gemm(uint32_t n) {
  if (n > GEMM_COLS) {
    return;
  }
  if (set->gemm8) {
    run_gemm("gemm8", set->gemm8, reference_gemm8, 8, n);
  }
  run_gemm("gemm16", set->gemm16, kernels_scalar.gemm16, 16, n);
  run_gemm("gemm_f32", set->gemm_f32, kernels_scalar.gemm_f32, 32, n);
}

static void test_taps(uint32_t n) {
  static int16_t words[MOST * 4];
  static float floats[MOST * 4];
  const int16_t *taps[DEPTH];
  const float *taps_f[DEPTH];
  int32_t pairs[DEPTH];
  float w[DEPTH];
  const uint32_t count = 1 + next(DEPTH / 2);
  for (size_t i = 0; i < MOST * 4; i++) {
    words[i] = (int16_t)(next(384) - 128);
    const uint32_t u = random_float();
    memcpy(&floats[i], &u, 4);
  }
  for (uint32_t t = 0; t < 2 * count; t++) {
    const uint32_t at = next(MOST), u = random_float();
    taps[t] = words + at;
    taps_f[t] = floats + at;
    pairs[t / 2] = (int32_t)((uint16_t)(next(384) - 128) | (next(384) - 128) << 16);
    memcpy(&w[t], &u, 4);
  }
  fresh();
  kernels_scalar.taps16((int32_t *)(void *)expected, taps, pairs, count, n);
  set->taps16((int32_t *)(void *)result, taps, pairs, count, n);
  check("taps16", n, count);
  for (uint32_t i = 0; i < BYTES / 4; i++) {
    const uint32_t u = random_float();
    memcpy(expected + 4 * (size_t)i, &u, 4);
  }
  memcpy(result, expected, BYTES);
  kernels_scalar.taps_f32((float *)(void *)expected, taps_f, w, 2 * count, n);
  set->taps_f32((float *)(void *)result, taps_f, w, 2 * count, n);
  flush_zeros(expected, BYTES);
  flush_zeros(result, BYTES);
  check("taps_f32", n, 2 * count);
}

/* ---- bytes ---- */

static void test_bytes(uint32_t n) {
  const uint8_t *p[4], *taps[DEPTH];
  const int is_signed = (int)next(2), is_min = (int)next(2);
  const uint32_t flip = next(2) * 0x80808080u, count = 1 + next(DEPTH);
  randomise(data, BYTES);
  for (int i = 0; i < 4; i++) {
    p[i] = data + next(4096);
  }
  for (uint32_t i = 0; i < count; i++) {
    taps[i] = data + next(4096);
  }
  fresh();
  kernels_scalar.pack4((uint32_t *)(void *)expected, p, n, flip);
  set->pack4((uint32_t *)(void *)result, p, n, flip);
  check("pack4", n, flip);
  fresh();
  kernels_scalar.pack2((uint32_t *)(void *)expected, p[0], p[1], n, is_signed);
  set->pack2((uint32_t *)(void *)result, p[0], p[1], n, is_signed);
  check("pack2", n, (uint32_t)is_signed);
  fresh();
  kernels_scalar.widen8((int16_t *)(void *)expected, p[0], n, is_signed);
  set->widen8((int16_t *)(void *)result, p[0], n, is_signed);
  check("widen8", n, (uint32_t)is_signed);
  fresh();
  kernels_scalar.max8(expected, taps, count, n, is_signed, is_min);
  set->max8(result, taps, count, n, is_signed, is_min);
  check("max8", n, count);
  fresh();
  kernels_scalar.lookup8(expected, p[0], n, p[1]);
  set->lookup8(result, p[0], n, p[1]);
  check("lookup8", n, 0);
  fresh();
  const int32_t sums[2] = {kernels_scalar.sum8(p[0], n), set->sum8(p[0], n)};
  memcpy(expected, &sums[0], 4);
  memcpy(result, &sums[1], 4);
  check("sum8", n, 0);
}

/* Blocks of the three kinds, the bit string often too short for them. */
static void test_unpack(uint32_t n) {
  uint8_t map[MOST];
  const uint32_t blocks = n < 64 ? n : 64;
  randomise(data, BYTES);
  randomise(map, blocks);
  for (uint32_t i = 0; i < BYTES; i++) {
    data[i] |= (uint8_t)(next(4) ? 0x55 : 0);
  }
  bit_reader a = {.p = data, .bits = 8 * (uint64_t)next(blocks * 24 + 40), .at = next(3)}, b = a;
  fresh();
  kernels_scalar.unpack(expected, map, blocks, &a);
  set->unpack(result, map, blocks, &b);
  check("unpack", blocks, (uint32_t)a.bits);
  memcpy(expected, &a.at, 8);
  memcpy(result, &b.at, 8);
  check("unpack position", blocks, (uint32_t)a.bits);
}

/* ---- result stage ---- */

static post_stage random_post(int wide, int is_signed) {
  static const int32_t multipliers[] = {INT32_MIN, INT32_MAX, 1 << 30, 0, 1, -1};
  post_stage p = {.quant = (uint8_t)next(2), .round = (uint8_t)next(2), .arith = (uint8_t)next(2)};
  const int32_t half = wide ? 32768 : 128;
  p.shift = (int8_t)(p.quant ? (int)next(96) - 32 : (int)next(32));
  p.mult = next(4) ? (int32_t)next(1u << 31) : multipliers[next(6)];
  p.lo = is_signed && next(2) ? -half : 0;
  p.hi = is_signed ? half - 1 : 2 * half - 1;
  return p;
}

static void test_post(uint32_t n) {
  int32_t acc[MOST];
  const post_stage p = random_post(0, (int)next(2));
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t v = next(1u << 31) << next(2);
    acc[i] = next(8) ? (int32_t)v >> next(32) : next(2) ? INT32_MIN : INT32_MAX;
  }
  fresh();
  kernels_scalar.post8(expected, acc, n, &p);
  set->post8(result, acc, n, &p);
  check("post8", n, (uint32_t)p.quant * 1000 + (uint8_t)p.shift);
}

static void arith_pointers(arith_job *j, uint8_t *memory) {
  j->r = memory;
  j->r_hi = memory + 4096;
  j->old = j->r;
  j->old_hi = j->r_hi;
}

static void test_arith(uint32_t n) {
  static const uint32_t strides[] = {1, 1, 2, 3, 7};
  const post_stage p = random_post(0, (int)next(2));
  const uint32_t eu = next(EU_LUT);
  if (eu == EU_COPY) {
    return;
  }
  const int wide = eu == EU_ADD || eu == EU_SUB || eu == EU_SHIFT;
  arith_job j = {.eu = (uint8_t)eu,
                 .a_wide = (uint8_t)wide,
                 .b_wide = (uint8_t)(wide && eu != EU_SHIFT),
                 .a_signed = (uint8_t)next(2),
                 .b_signed = (uint8_t)(eu == EU_SHIFT || next(2)),
                 .res_wide = (uint8_t)next(2),
                 .res_signed = (uint8_t)next(2),
                 .b_const = (uint8_t)next(2),
                 .quant = p.quant,
                 .left_shift = (uint8_t)next(16),
                 .post = &p,
                 .wa = strides[next(5)],
                 .wb = next(6) ? strides[next(5)] : 0,
                 .wr = strides[next(5)]};
  randomise(data, BYTES);
  for (uint32_t i = 8192; eu == EU_SHIFT && i < 12288; i++) {
    data[i] = (uint8_t)(next(33) - 16);
  }
  j.constant = eu == EU_SHIFT ? (int32_t)next(33) - 16 : (int32_t)next(256) - 128;
  j.a = data + next(64);
  j.a_hi = data + 4096 + next(64);
  j.b = data + 8192 + next(64);
  j.b_hi = data + 12288 + next(64);
  fresh();
  arith_pointers(&j, expected);
  kernels_scalar.arith_row(&j, n);
  arith_pointers(&j, result);
  set->arith_row(&j, n);
  check("arith_row", n, eu);
}

static int count_instructions(const char *what, int runs) {
  static int32_t acc[GEMM_ROWS][GEMM_COLS];
  static uint32_t many[512];
  static uint8_t w[GEMM_ROWS][512 * 4];
  gemm_job j = {.b = units, .offs = many, .k = 512, .rows = GEMM_ROWS, .cols = GEMM_COLS};
  for (uint32_t r = 0; r < GEMM_ROWS; r++) {
    j.w[r] = w[r];
  }
  j.acc = acc;
  for (int i = 0; i < runs; i++) {
    (strcmp(what, "gemm8") == 0 && set->gemm8 ? set->gemm8 : set->gemm16)(&j);
  }
  printf("%s %d\n", set->name, runs);
  return 0;
}

int main(int argc, char **argv) {
  set = kernels_get();
  if (argc == 3) {
    return count_instructions(argv[1], atoi(argv[2]));
  }
  const int rounds = argc > 1 ? atoi(argv[1]) : 20;
  static void (*const tests[])(uint32_t) = {test_gemm,   test_taps, test_bytes,
                                            test_unpack, test_post, test_arith};
  for (int round = 0; round < rounds; round++) {
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
      for (size_t t = 0; t < sizeof tests / sizeof *tests; t++) {
        tests[t](lengths[i]);
      }
    }
  }
  printf("%s %u\n", set->name, compared);
  return 0;
}
