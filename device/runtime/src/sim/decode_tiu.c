/* TIU words -> checked commands (hw/cv18xx-tiu.md): operands, signs, entry. Everything the
 * executing code relies on is established in decode_*.c: shapes, strides, ranges in local memory,
 * bounded work and scratch. */

#include "decode.h"

#include <string.h>

/* ---- entry ---- */

/* Elements, or multiply-accumulates, of a command. */
static uint64_t work_of(int op, const tiu_cmd *t, uint64_t limit) {
  const operand *r = op == OP_MDSUM ? &t->a : &t->res;
  const uint64_t out[4] = {r->n, r->c, r->h, r->w};
  uint64_t w = t->bf16 || t->direct ? 16 : 1;
  for (int i = 0; i < 4; i++) {
    w *= out[i]; /* at most 2^52 */
  }
  w = w < limit ? w : limit;
  if (op == OP_CONV || op == OP_DEPTHWISE || op == OP_POOL) {
    w *= (uint64_t)t->win.kh * t->win.kw;
  } else if (op == OP_MATRIX) {
    w *= t->b.n;
  } else {
    w *= 16;
  }
  w = w < limit ? w : limit;
  return op == OP_CONV ? w * t->a.c : w;
}

static int decode_any(const chip_info *chip, const cv_tiu *f, command *out, const err_ctx *e) {
  tiu_cmd *t = &out->u.t;
  NEED(cmd_en, f->cmd_en == 1);
  NEED(short_nchwstr_same, f->short_nchwstr_same == 0);
  NEED(opt_opd0_const, f->opt_opd0_const == 0);
  NEED(opt_opd2_const, f->opt_opd2_const == 0);
  NEED(opt_relu_typ, f->opt_relu_typ <= 1);
  NEED(cmd_pre_exe, f->cmd_pre_exe == 0);
  t->bf16 = (uint8_t)f->opd_typ;
  if (f->tsk_typ < 3) {
    NEED(tens_mdsum, f->tens_mdsum == 0);
    NEED(tens_lookup, f->tens_lookup == 0);
    NEED(short_opd1_str, f->short_opd1_str != 3);
    NEED(short_opd2_str, f->short_opd2_str != 3);
  }
  switch (f->tsk_typ) {
  case 0:
    out->op = OP_CONV;
    return decode_conv(chip, f, t, e);
  case 1:
    if (f->tsk_eu_typ == 2) {
      out->op = OP_DEPTHWISE;
      return decode_depthwise(chip, f, t, e);
    }
    if (f->tsk_eu_typ == 1) {
      out->op = OP_DEPTHWISE;
      return decode_pool(chip, f, t, 1, e);
    }
    if (f->tsk_eu_typ == 0 || (f->tsk_eu_typ == 3 && chip->gen_b)) {
      out->op = OP_POOL;
      return decode_pool(chip, f, t, 0, e);
    }
    break;
  case 2:
    out->op = OP_MATRIX;
    return decode_matrix(chip, f, t, e);
  case 3:
    if (f->tens_mdsum) {
      out->op = OP_MDSUM;
      return decode_mdsum(chip, f, t, e);
    }
    if (f->tens_lookup || (chip->gen_b && f->tsk_eu_typ == EU_LUT)) {
      out->op = OP_LOOKUP;
      return decode_lookup(chip, f, t, e);
    }
    out->op = OP_ARITH;
    return decode_arith(chip, f, t, e);
  default:
    break;
  }
  return sim_fail(e, TPU_SIM_UNSUPPORTED, "fields tsk_typ = %u, tsk_eu_typ = %u: no such operation",
                  f->tsk_typ, f->tsk_eu_typ);
}

static size_t scratch_of(int op, const tiu_cmd *t, size_t area) {
  switch (op) {
  case OP_CONV:
    return conv_scratch(t, area);
  case OP_DEPTHWISE:
  case OP_POOL:
    return window_scratch(t, op == OP_DEPTHWISE, area);
  case OP_MATRIX:
    return matrix_scratch(t, area);
  default:
    return 0;
  }
}

int decode_tiu(const chip_info *chip, const cv_tiu *f, command *out, demand *need,
               const err_ctx *e) {
  tiu_cmd *t = &out->u.t;
  memset(t, 0, sizeof *t);
  TRY(decode_any(chip, f, out, e));
  const size_t least = scratch_of(out->op, t, 0);
  if (least > MAX_SCRATCH) {
    t->direct = 1;
  } else if (!t->direct) {
    const size_t most = scratch_of(out->op, t, SCRATCH_MOST);
    need->scratch_least = least > need->scratch_least ? least : need->scratch_least;
    need->scratch_most = most > need->scratch_most ? most : need->scratch_most;
  }
  const uint64_t w = work_of(out->op, t, MAX_COMMAND_WORK);
  if (w >= MAX_COMMAND_WORK) {
    return sim_fail(e, TPU_SIM_UNSUPPORTED, "the command is too large: %llu operations or more",
                    (unsigned long long)MAX_COMMAND_WORK);
  }
  need->work += w;
  return TPU_SIM_OK;
}
