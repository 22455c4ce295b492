/* TDMA words -> checked transfers (hw/cv18xx-tdma.md). Local ranges are checked here; global ends
 * are collected for tpu_program_check. */

#include <string.h>

#include "decode.h"

#define REFUSE(...) return sim_fail(e, TPU_SIM_UNSUPPORTED, __VA_ARGS__)

static uint32_t elem(const side *s) { return s->fmt == 2 ? 2 : 1; }

uint64_t side_end(const side *s) {
  return s->addr + (uint64_t)(s->n - 1) * s->ns + (uint64_t)(s->c - 1) * s->cs +
         (uint64_t)(s->h - 1) * s->hs + (uint64_t)s->w * elem(s);
}

static uint64_t elements(const side *s) {
  const uint64_t nc = (uint64_t)s->n * s->c, hw = (uint64_t)s->h * s->w;
  return hw != 0 && nc > UINT64_MAX / hw ? UINT64_MAX : nc * hw;
}

static int resolve_address(const chip_info *chip, const char *name, side *s, uint32_t low,
                           uint32_t high, const err_ctx *e) {
  if (s->local) {
    s->addr = low; /* the high part has no effect */
    if (low / LANE_BYTES >= chip->lanes) {
      return sim_fail(e, TPU_SIM_RANGE, "field %s_base_addr_low = 0x%x is outside local memory",
                      name, low);
    }
    return TPU_SIM_OK;
  }
  s->addr = (uint64_t)high << 32 | low;
  if (!chip->gen_b) {
    if (s->addr < DDR_START_A) {
      return sim_fail(e, TPU_SIM_RANGE, "field %s_base_addr_high = %u: DDR starts at 0x%llx", name,
                      high, (unsigned long long)DDR_START_A);
    }
    s->addr -= DDR_START_A;
  }
  return TPU_SIM_OK;
}

/* A tensor in local memory must stay inside its lanes. */
static int check_side(const chip_info *chip, const char *name, const side *s, const err_ctx *e) {
  if (!s->local) {
    return TPU_SIM_OK;
  }
  const uint64_t lane = s->addr / LANE_BYTES, groups = (lane + s->c - 1) / chip->lanes;
  const uint64_t end = s->addr % LANE_BYTES + (uint64_t)(s->n - 1) * s->ns + groups * s->cs +
                       (uint64_t)(s->h - 1) * s->hs + (uint64_t)s->w * elem(s);
  if (end > LANE_BYTES) {
    return sim_fail(e, TPU_SIM_RANGE,
                    "%s (%u, %u, %u, %u) ends at byte %llu of its lane, which has %u", name, s->n,
                    s->c, s->h, s->w, (unsigned long long)end, LANE_BYTES);
  }
  return TPU_SIM_OK;
}

static int check_shape(const char *name, const side *s, const err_ctx *e) {
  if (s->n == 0 || s->c == 0 || s->h == 0 || s->w == 0) {
    BAD("%s has shape (%u, %u, %u, %u), every dimension must be at least 1", name, s->n, s->c, s->h,
        s->w);
  }
  return TPU_SIM_OK;
}

static int check_formats(const tdma_cmd *d, int op, uint32_t dir, const err_ctx *e) {
  const int from = d->src.fmt, to = d->dst.fmt;
  int ok = from == to;
  if (op == OP_COPY) {
    ok |= dir == 0 && from == 1;
    ok |= dir == 1 && to == 1;
    ok |= dir == 3;
  } else if (op == OP_TRANS_NC) {
    ok |= dir == 0 && from == 1;
  } else if (op == OP_TRANS_CW || op == OP_TRANS_HWC || op == OP_TRANS_MATRIX) {
    ok &= from == 1;
  }
  if (from < 1 || from > 2 || to < 1 || to > 2 || !ok) {
    BAD("fields src_fmt = %d, dst_fmt = %d are not possible in this transfer", from, to);
  }
  return TPU_SIM_OK;
}

static int decode_kind(const cv_tdma *f, uint8_t *op, const err_ctx *e) {
  const uint32_t d = f->trans_dir;
  if (f->trans_fmt == 1) {
    *op = OP_COPY;
    if (d == 3) {
      REFUSE("field trans_dir = 3: no byte copies inside local memory");
    }
  } else if (f->compress_en) {
    *op = d == 0 ? OP_DECOMPRESS : OP_COMPRESS;
    if (d > 1 || f->spec_func != 0) {
      REFUSE("field compress_en = 1 with trans_dir = %u, spec_func = %u", d, f->spec_func);
    }
  } else if (f->spec_func == 0) {
    *op = OP_COPY;
    if (f->sys_dtype && d > 1) {
      REFUSE("field sys_dtype = 1 with trans_dir = %u", d);
    }
  } else if (f->spec_func == 4) {
    *op = OP_FILL;
    NEED(sys_dtype, f->sys_dtype == 0);
    if (d > 1) {
      REFUSE("field spec_func = 4 (fill) with trans_dir = %u", d);
    }
  } else if (f->spec_func == 1) {
    if (f->sys_dtype) {
      *op = OP_TRANS_MATRIX;
      if (d != 0 || f->transpose_md != 0) {
        REFUSE("transposed matrix with trans_dir = %u, transpose_md = %u", d, f->transpose_md);
      }
      return TPU_SIM_OK;
    }
    *op = f->transpose_md == 0 ? OP_TRANS_NC : f->transpose_md == 3 ? OP_TRANS_CW : OP_TRANS_HWC;
    if ((*op == OP_TRANS_NC && d > 1) || (*op == OP_TRANS_CW && d != 1) ||
        (*op == OP_TRANS_HWC && d != 0)) {
      REFUSE("field transpose_md = %u with trans_dir = %u", f->transpose_md, d);
    }
  } else {
    REFUSE("field spec_func = %u: unknown function", f->spec_func);
  }
  return TPU_SIM_OK;
}

static void read_sides(const cv_tdma *f, tdma_cmd *d) {
  const uint32_t dir = f->trans_dir;
  d->src = (side){.n = f->src_n,
                  .c = f->src_c,
                  .h = f->src_h,
                  .w = f->src_w,
                  .ns = f->src_n_stride,
                  .hs = f->src_h_stride,
                  .cs = f->src_c_stride_high << 16 | f->src_c_stride_low,
                  .fmt = (uint8_t)f->src_fmt,
                  .region = (uint8_t)f->src_base_reg_sel,
                  .local = dir == 1 || dir == 3};
  d->dst = (side){.n = f->src_n,
                  .c = f->dst_c,
                  .h = f->dst_h,
                  .w = f->dst_w,
                  .ns = f->dst_n_stride,
                  .hs = f->dst_h_stride,
                  .cs = f->dst_c_stride_high << 16 | f->dst_c_stride_low,
                  .fmt = (uint8_t)f->dst_fmt,
                  .region = (uint8_t)f->dst_base_reg_sel,
                  .local = dir == 0 || dir == 3};
  d->value = (uint16_t)f->const_val;
  d->is_signed = (uint8_t)f->int8_sign;
  d->truncate = (uint8_t)f->int8_rnd_mode;
  d->lut_idx = (uint8_t)f->mv_lut_idx;
  d->lut_base = (uint8_t)f->mv_lut_base;
}

static int decode_bytes(const chip_info *chip, const cv_tdma *f, tdma_cmd *d, const err_ctx *e) {
  const uint64_t total = (uint64_t)chip->lanes * LANE_BYTES;
  side *sides[2] = {&d->src, &d->dst};
  NEED(src_n_stride, f->src_n_stride >= 1);
  NEED(spec_func, f->spec_func == 0);
  NEED(sys_dtype, f->sys_dtype == 0);
  NEED(src_fmt, f->src_fmt == f->dst_fmt && f->src_fmt >= 1 && f->src_fmt <= 2);
  d->bytes = 1;
  for (int i = 0; i < 2; i++) {
    side *s = sides[i];
    s->n = s->c = s->h = 1;
    s->w = f->src_n_stride;
    s->fmt = 1;
    if (s->local && s->addr + s->w > total) {
      return sim_fail(e, TPU_SIM_RANGE, "%u bytes at local 0x%llx end outside local memory", s->w,
                      (unsigned long long)s->addr);
    }
  }
  return TPU_SIM_OK;
}

/* Rows of cols elements on the global side, (rows, c, 1, w) on the local side. */
static int decode_rows(const chip_info *chip, const cv_tdma *f, int op, tdma_cmd *d,
                       const err_ctx *e) {
  side *global = d->src.local ? &d->dst : &d->src, *local = d->src.local ? &d->src : &d->dst;
  global->n = f->src_n;
  NEED(src_n, global->c == f->src_n);
  NEED(src_h, d->src.local ? f->src_h == 1 : f->dst_h == 1);
  global->c = global->h = 1;
  global->ns = global->cs;
  global->cs = 0;
  d->matrix = 1;
  d->cols = global->w;
  local->h = 1;
  TRY(check_shape("src", &d->src, e));
  TRY(check_shape("dst", &d->dst, e));
  const uint64_t spread = (uint64_t)local->c * local->w;
  if (op == OP_TRANS_MATRIX) {
    local->n = global->w;
    if (spread < global->n || spread - global->n >= local->w) {
      BAD("fields dst_c, dst_w = %u, %u can not hold %u columns", local->c, local->w, global->n);
    }
    NEED(dst_base_addr_low, f->dst_base_addr_low % 16 == 0);
    NEED(dst_n_stride, f->dst_n_stride % 16 == 0);
    NEED(dst_c_stride_low, f->dst_c_stride_low % 16 == 0);
    NEED(dst_h_stride, f->dst_h_stride == f->dst_w);
  } else if (spread < global->w || spread - global->w >= local->w) {
    BAD("a spread of %u x %u can not hold %u columns", local->c, local->w, global->w);
  }
  return check_side(chip, "matrix", local, e);
}

static int decode_transpose(const cv_tdma *f, int op, tdma_cmd *d, const err_ctx *e) {
  const side *s = &d->src;
  side *t = &d->dst;
  if (op == OP_TRANS_NC) {
    t->n = s->c;
    if (t->c != s->n || t->h != s->h || t->w != s->w) {
      BAD("fields dst_c, dst_h, dst_w = %u, %u, %u, needed %u, %u, %u", t->c, t->h, t->w, s->n,
          s->h, s->w);
    }
  } else if (op == OP_TRANS_CW) {
    if (t->c != s->w || t->h != s->h || t->w != s->c) {
      BAD("fields dst_c, dst_h, dst_w = %u, %u, %u, needed %u, %u, %u", t->c, t->h, t->w, s->w,
          s->h, s->c);
    }
  } else {
    NEED(src_c, f->src_c == (f->transpose_md == 1 ? 3u : 4u));
    NEED(src_c_stride_low, d->src.cs == 1);
    NEED(dst_base_addr_low, f->dst_base_addr_low % 16 == 0);
    NEED(dst_n_stride, f->dst_n_stride % 16 == 0);
    NEED(dst_c_stride_low, f->dst_c_stride_low % 16 == 0);
    NEED(dst_h_stride, f->dst_h_stride == f->dst_w);
    if (t->c != s->c || t->h != s->h || t->w != s->w) {
      BAD("fields dst_c, dst_h, dst_w = %u, %u, %u, needed %u, %u, %u", t->c, t->h, t->w, s->c,
          s->h, s->w);
    }
  }
  return TPU_SIM_OK;
}

/* Fields of the compressed forms; the global side shrinks to the 16 bytes of the header. */
static int decode_compression(const cv_tdma *f, int op, tdma_cmd *d, const err_ctx *e) {
  side *global = op == OP_COMPRESS ? &d->dst : &d->src;
  d->packed_bf16 = d->src.fmt == 2;
  d->is_signed = (uint8_t)f->cmprs_fmt;
  d->zero_guard = (uint8_t)f->compress_zero_guard;
  d->bias0 = (uint8_t)f->compress_bias0;
  d->bias1 = (uint8_t)f->compress_bias1;
  if (op == OP_COMPRESS) {
    NEED(compress_bias0, f->compress_bias0 == (d->packed_bf16 ? 127u : 0u));
    NEED(compress_bias1, f->compress_bias1 == 0);
    NEED(cmprs_fmt, !(d->packed_bf16 && f->cmprs_fmt));
    if (!f->sys_dtype) { /* dense destination, though the stream ignores it */
      const uint64_t row = (uint64_t)d->dst.w * elem(&d->dst);
      NEED(dst_h_stride, f->dst_h_stride == row);
      NEED(dst_c_stride_low, d->dst.cs == row * d->dst.h);
      NEED(dst_n_stride, f->dst_n_stride == row * d->dst.h * d->dst.c);
    }
  } else {
    NEED(src_base_addr_low, f->src_base_addr_low % 16 == 0);
  }
  global->n = global->c = global->h = 1;
  global->w = 16;
  global->fmt = 1;
  return TPU_SIM_OK;
}

static int decode_any(const chip_info *chip, const cv_tdma *f, command *out, demand *need,
                      const err_ctx *e) {
  tdma_cmd *d = &out->u.d;
  NEED(intra_cmd_paral, f->intra_cmd_paral == 0);
  TRY(decode_kind(f, &out->op, e));
  read_sides(f, d);
  if (out->op != OP_FILL) {
    TRY(resolve_address(chip, "src", &d->src, f->src_base_addr_low, f->src_base_addr_high, e));
  }
  TRY(resolve_address(chip, "dst", &d->dst, f->dst_base_addr_low, f->dst_base_addr_high, e));
  if (f->trans_fmt == 1) {
    need->work += f->src_n_stride;
    return decode_bytes(chip, f, d, e);
  }
  TRY(check_formats(d, out->op, f->trans_dir, e));
  if (f->sys_dtype && out->op != OP_FILL) {
    TRY(decode_rows(chip, f, out->op, d, e));
    d->count = (uint64_t)f->src_n * d->cols;
    need->work += d->count * 16;
    return out->op == OP_COMPRESS || out->op == OP_DECOMPRESS ? decode_compression(f, out->op, d, e)
                                                              : TPU_SIM_OK;
  }
  if (out->op != OP_FILL) {
    TRY(check_shape("src", &d->src, e));
  }
  TRY(check_shape("dst", &d->dst, e));
  uint64_t count = elements(&d->dst);
  if (out->op == OP_TRANS_NC || out->op == OP_TRANS_CW || out->op == OP_TRANS_HWC) {
    TRY(decode_transpose(f, out->op, d, e));
    count = elements(&d->src);
  } else if (out->op != OP_FILL && elements(&d->src) != count) {
    BAD("%llu source elements, %llu destination elements", (unsigned long long)elements(&d->src),
        (unsigned long long)count);
  }
  if (out->op != OP_FILL) {
    TRY(check_side(chip, "src", &d->src, e));
  }
  TRY(check_side(chip, "dst", &d->dst, e));
  if (count >= MAX_COMMAND_WORK / 16) {
    return sim_fail(e, TPU_SIM_UNSUPPORTED, "the transfer is too large: %llu elements",
                    (unsigned long long)count);
  }
  need->work += count * 16;
  d->count = count;
  if (out->op == OP_COMPRESS || out->op == OP_DECOMPRESS) {
    TRY(decode_compression(f, out->op, d, e));
  }
  return TPU_SIM_OK;
}

int decode_tdma(const chip_info *chip, const cv_tdma *f, command *out, demand *need,
                const err_ctx *e) {
  memset(&out->u.d, 0, sizeof out->u.d);
  return decode_any(chip, f, out, need, e);
}
