/* Shared declarations of the CV18xx simulator (not public). Specification: hw/cv18xx*.md. */
#ifndef TPUFORGE_SIM_INTERNAL_H
#define TPUFORGE_SIM_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "chip.h"
#include "cv18xx_fields.h"
#include "sim.h"
#include "team.h"

#define MAX_LANES 32u
#define PAD_BYTES 256u /* readable slack behind local memory and scratch areas */
#define DDR_START_A UINT64_C(0x100000000)
#ifndef SCRATCH_SHARE /* a command takes that part of the program's memory if it can */
#define SCRATCH_SHARE 32
#define SCRATCH_LEAST 4096 /* ... bytes, at least */
#endif
#define SCRATCH_MOST (1u << 20)
#define MAX_SCRATCH (UINT64_C(96) << 20) /* larger expansions use the direct (slow) loops */
#ifndef SHARED_WORK
#define SHARED_WORK 500000 /* operations of a command for which it pays to use several threads */
#endif
#define MAX_COMMAND_WORK (UINT64_C(1) << 33)
#define MAX_STREAM_WORK (UINT64_C(1) << 41)

/* Error text under construction; `engine` NULL: no command prefix. */
typedef struct {
  char *buf;
  size_t len;
  const char *engine;
  uint32_t index;
} err_ctx;

int sim_fail(const err_ctx *e, int code, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* ---- decoded commands ---- */

typedef enum {
  OP_NOP,
  OP_ARITH,
  OP_LOOKUP,
  OP_MDSUM,
  OP_POOL,      /* max, min */
  OP_DEPTHWISE, /* and average pooling (constant weight) */
  OP_CONV,
  OP_MATRIX,
  OP_COPY, /* TDMA tensor copy with or without conversion, byte copy, matrix load/store */
  OP_FILL,
  OP_TRANS_NC,
  OP_TRANS_CW,
  OP_TRANS_HWC,
  OP_TRANS_MATRIX,
  OP_COMPRESS,
  OP_DECOMPRESS
} op_kind;

enum {
  EU_MUL = 0,
  EU_MAC,
  EU_ADD,
  EU_SUB,
  EU_MAX,
  EU_MIN,
  EU_SHIFT,
  EU_AND,
  EU_OR,
  EU_XOR,
  EU_COPY,
  EU_GE,
  EU_LUT
};

/* A tensor in local memory: element (n, c, h, w) is in lane (lane + c) mod L at
 * off + n*ns + ((lane + c) div L)*cs + h*hs + w*ws; further byte planes at distance bs. */
typedef struct {
  uint32_t off, ns, cs, hs, ws, bs;
  uint16_t n, c, h, w;
  uint8_t lane, is_signed, wide;
} operand;

/* Result stage (hw/cv18xx-tiu.md section 3): shift R or quantised multiplication Q, then clamp. */
typedef struct {
  uint8_t quant, round, arith;
  int8_t shift;
  int32_t mult, lo, hi;
} post_stage;

typedef struct {
  uint16_t kh, kw;
  uint8_t up, dn, lf, rt, ystr, xstr, yins, xins, yins_last, xins_last, ydil, xdil;
} window;

typedef struct {
  operand res, a, b;
  post_stage post;
  window win;
  uint32_t p_off, p_bs; /* opd2: bias or parameters */
  int32_t constant;     /* operand 1 when is_const */
  int32_t fill;
  uint8_t eu, bf16, is_const, has_bias, bias_signed, chan_quant, relu, ps32, res_add, left_shift;
  uint8_t direct;       /* convolution, window: expansion too large, use the direct loops */
  uint8_t snapshot;     /* the result overlaps an operand: read from a copy */
  uint8_t write_planes; /* the result's bytes in a lane: planes of write_bytes, res.bs apart */
  uint32_t write_bytes;
} tiu_cmd;

/* One side of a transfer. Local: addr = lane*32768 + offset. Global: addr relative to the region.
 * Byte strides. */
typedef struct {
  uint64_t addr;
  uint32_t n, c, h, w, ns, cs, hs;
  uint8_t local, region, fmt; /* fmt 1: bytes, 2: bf16 */
} side;

typedef struct {
  side src, dst;
  uint64_t count; /* elements of a compressed transfer */
  uint32_t cols;  /* of a matrix */
  uint16_t value;
  uint8_t is_signed, truncate, lut_idx, lut_base, zero_guard, packed_bf16, bytes, matrix, bias0,
      bias1;
} tdma_cmd;

typedef struct {
  uint8_t op, engine; /* engine 0 TIU, 2 TDMA */
  uint32_t index;     /* position among the commands of the stream */
  uint64_t work;      /* bound of its operations */
  union {
    tiu_cmd t;
    tdma_cmd d;
  } u;
} command;

struct tpu_program {
  const chip_info *chip;
  /* Every command is decoded twice: when it is checked here, and when it runs. So a program takes
   * no more memory than its stream. */
  uint8_t *packets; /* in order of execution, see program_next */
  uint32_t count;
  size_t scratch;    /* bytes that its commands share */
  uint64_t work;     /* bound of its operations */
  uint8_t snapshots; /* some command needs a copy of local memory */
  struct {
    uint64_t read_end, write_end; /* exclusive ends of accesses, 0: none */
    uint32_t read_index, write_index;
  } region[8];
};

struct tpu_sim {
  const chip_info *chip;
  uint8_t *lmem;                    /* lanes * 32768 bytes, then PAD_BYTES */
  uint8_t *scratch_block, *scratch; /* as allocated; 64-byte aligned */
  uint8_t *shadow;                  /* like lmem, allocated when needed */
  size_t scratch_size;              /* of each thread */
  team *team;                       /* NULL: one thread */
};

/* ---- decoding (errors: TPU_SIM_*) ---- */

/* What the commands need: bytes of scratch at least and at most, bound of the operations. */
typedef struct {
  size_t scratch_least, scratch_most;
  uint64_t work;
} demand;

int decode_tiu(const chip_info *chip, const cv_tiu *f, command *out, demand *need,
               const err_ctx *e);
int decode_tdma(const chip_info *chip, const cv_tdma *f, command *out, demand *need,
                const err_ctx *e);
/* Whether elements of `size` bytes in dimensions {stride, count} may share a byte: sorted by stride
 * (dim is changed), each stride must reach past everything inside it. */
int dims_overlap(uint64_t (*dim)[2], int dims, uint64_t size);
/* The command of a packet (the first one: p->packets); returns the next packet. */
const uint8_t *program_next(const tpu_program *p, const uint8_t *packet, command *out,
                            const err_ctx *e);
/* One past the highest byte a side touches in its memory (global) . */
uint64_t side_end(const side *s);

/* ---- execution ---- */

typedef struct {
  uint8_t *lmem;
  const uint8_t *rmem; /* operands are read here: lmem, or a copy when the result overlaps them */
  uint32_t lanes, lane_shift; /* lanes = 1 << lane_shift */
  uint8_t gen_b;
  uint8_t *scratch;
  size_t scratch_size;
  uint32_t part, parts; /* this call does only that part of the command */
  const tpu_region *regions;
  const err_ctx *err;
} exec_ctx;

/* This part's share of `count` things, whole multiples of `step` but for the last. */
typedef struct {
  uint32_t first, end;
} span;

static inline span share_of(const exec_ctx *x, uint32_t count, uint32_t step) {
  const uint64_t steps = (count + step - 1) / step;
  const uint64_t end = steps * (x->part + 1) / x->parts * step;
  return (span){(uint32_t)(steps * x->part / x->parts * step), end < count ? (uint32_t)end : count};
}

int exec_arith(const exec_ctx *x, const tiu_cmd *t);
void exec_lookup(const exec_ctx *x, const tiu_cmd *t);
void exec_mdsum(const exec_ctx *x, const tiu_cmd *t);
void exec_pool(const exec_ctx *x, const tiu_cmd *t);
void exec_depthwise(const exec_ctx *x, const tiu_cmd *t);
void exec_conv(const exec_ctx *x, const tiu_cmd *t);
/* Loops without any buffer, for expansions that are too large (t->direct). */
void exec_conv_direct(const exec_ctx *x, const tiu_cmd *t);
void exec_depthwise_direct(const exec_ctx *x, const tiu_cmd *t);
void exec_pool_direct(const exec_ctx *x, const tiu_cmd *t);
void exec_matrix(const exec_ctx *x, const tiu_cmd *t);
int exec_tdma(const exec_ctx *x, int op, const tdma_cmd *d);
int exec_decompress(const exec_ctx *x, const tdma_cmd *d);
/* Whether a decompression can be done in parts: blocks of bytes, distinct destinations. */
int decompress_divides(const chip_info *chip, const tdma_cmd *d);
int exec_compress(const exec_ctx *x, const tdma_cmd *d);

/* Scratch bytes a command takes when there are `area`: as few, or its least. */
size_t conv_scratch(const tiu_cmd *t, size_t area);
size_t window_scratch(const tiu_cmd *t, int sums, size_t area);
size_t matrix_scratch(const tiu_cmd *t, size_t area);

/* Bias, parameters (hw/cv18xx-tiu.md sections 5.8 to 5.10) of one result channel. */
typedef struct {
  int32_t add, mult; /* add: integer bias, or the bits of an fp32 bias */
  int8_t shift;
} channel_param;

channel_param channel_params(const exec_ctx *x, const tiu_cmd *t, uint32_t c);

static inline uint32_t align16(uint32_t x) { return (x + 15u) & ~15u; }

static inline uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

/* Address of channel c of sample n. */
static inline uint8_t *plane_at(const exec_ctx *x, const operand *o, uint32_t n, uint32_t c) {
  const uint32_t k = o->lane + c;
  return x->lmem + (size_t)(k & (x->lanes - 1)) * LANE_BYTES + o->off + n * o->ns +
         (k >> x->lane_shift) * o->cs;
}

/* The same for reading an operand. */
static inline const uint8_t *operand_at(const exec_ctx *x, const operand *o, uint32_t n,
                                        uint32_t c) {
  return x->rmem + (plane_at(x, o, n, c) - x->lmem);
}

static inline uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t load32(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void store16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}

#endif
