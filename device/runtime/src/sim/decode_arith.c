/* Decoding of tensor arithmetic, look-up, sums (hw/cv18xx-tiu.md sections 5.1 to 5.5). */

#include "decode.h"

/* Operands 0 .. count-1 must have the result's shape. */
static int same_shape(const cv_tiu *f, uint32_t count, const err_ctx *e) {
  NEED(opd0_n, f->opd0_n == f->res0_n);
  NEED(opd0_c, f->opd0_c == f->res0_c);
  NEED(opd0_h, f->opd0_h == f->res0_h);
  NEED(opd0_w, f->opd0_w == f->res0_w);
  if (count == 3) {
    NEED(opd1_n, f->opd1_n == f->res0_n);
    NEED(opd1_c, f->opd1_c == f->res0_c);
    NEED(opd1_h, f->opd1_h == f->res0_h);
    NEED(opd1_w, f->opd1_w == f->res0_w);
  }
  return TPU_SIM_OK;
}

int decode_lookup(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
  const uint32_t size = t->bf16 ? 2 : 1;
  NEED(short_res0_str, f->short_res0_str == 0);
  NEED(short_opd0_str, f->short_opd0_str == 0);
  const raw_operand res = RAW(res0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
  const raw_operand a = RAW(opd0, f->opd0_n, f->opd0_c, f->opd0_h, f->opd0_w);
  const uint32_t sign = t->bf16;
  TRY(same_shape(f, 2, e));
  NEED(tsk_opd_num, f->tsk_opd_num == 2);
  NEED(opt_opd1_const, f->opt_opd1_const == 0);
  NEED(opt_relu_typ, f->opt_relu_typ == 0 || t->bf16);
  NEED(opd1_n, f->opd1_n == 1);
  NEED(opd1_c, f->opd1_c == chip->lanes);
  NEED(opd1_h, f->opd1_h == (t->bf16 ? 32 : 16));
  NEED(opd1_w, f->opd1_w == (t->bf16 ? 8 : 16));
  NEED(short_opd1_str, f->short_opd1_str == 0);
  NEED(opt_res0_seg, f->opt_res0_seg == 1);
  NEED(opt_opd0_seg, f->opt_opd0_seg == 1);
  NEED(opt_opd1_seg, f->opt_opd1_seg == 1);
  NEED(opt_opd2_seg, f->opt_opd2_seg == 1 || !sign);
  NEED(opt_opd2_sign, f->opt_opd2_sign == 1 || !sign);
  NEED(opt_res0_sign, f->opt_res0_sign == sign);
  NEED(opt_opd0_sign, f->opt_opd0_sign == sign);
  NEED(opt_opd1_sign, f->opt_opd1_sign == sign);
  TRY(make_operand(chip, &res, size, 1, &t->res, e));
  TRY(make_operand(chip, &a, size, 1, &t->a, e));
  NEED(res0_addr, t->res.lane == 0);
  if (f->opd1_addr + 256u * size > LANE_BYTES) {
    return sim_fail(e, TPU_SIM_RANGE, "field opd1_addr = 0x%x: the table leaves the lane",
                    f->opd1_addr);
  }
  t->b.off = f->opd1_addr;
  note_write(chip, t, size, 1);
  note_read(t, t->a.off, t->a.off + plane_extent(chip, &t->a, size));
  note_read(t, t->b.off, t->b.off + 256u * size);
  return TPU_SIM_OK;
}

int decode_mdsum(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
  NEED(opd_typ, f->opd_typ == 0);
  NEED(short_res0_str, f->short_res0_str == 1);
  NEED(short_opd0_str, f->short_opd0_str == 0);
  const raw_operand a = RAW(opd0, f->opd0_n, f->opd0_c, f->opd0_h, f->opd0_w);
  const raw_operand res = RAW(res0, 1, f->opd0_c, 1, 1);
  NEED(res0_n, f->res0_n == 1);
  NEED(res0_c, f->res0_c == f->opd0_c);
  NEED(res0_h, f->res0_h == 1);
  NEED(res0_w, f->res0_w == 1);
  NEED(short_opd1_str, f->short_opd1_str == 0);
  NEED(tens_lookup, f->tens_lookup == 0);
  NEED(opt_opd0_seg, f->opt_opd0_seg != 0);
  TRY(make_operand(chip, &a, 1, 1, &t->a, e));
  TRY(make_operand(chip, &res, 1, 0, &t->res, e));
  t->res.bs = ceil_div(f->opd0_c, chip->lanes);
  TRY(check_local(chip, "res0", &t->res, 1, t->res.wide ? 2 : 1, e));
  NEED(res0_addr, t->res.lane == 0);
  TRY(check_signs(f, 0, 1, e));
  NEED(tsk_opd_num, f->tsk_opd_num == 1);
  NEED(opt_relu_typ, f->opt_relu_typ == 0);
  note_write(chip, t, 1, t->res.wide ? 2 : 1);
  note_read(t, t->a.off, t->a.off + plane_extent(chip, &t->a, 1));
  return set_post(chip, f, t, 0, e);
}

static int arith_widths(const cv_tiu *f, const tiu_cmd *t, const err_ctx *e) {
  const int aw = t->a.wide, bw = t->b.wide, rw = t->res.wide;
  int ok;
  switch (t->eu) {
  case EU_MUL:
    ok = !aw && !bw;
    break;
  case EU_MAC:
    ok = !aw && !bw;
    break;
  case EU_ADD:
  case EU_SUB:
    ok = aw && bw;
    break;
  case EU_SHIFT:
    ok = aw && !bw && rw;
    break;
  case EU_AND:
  case EU_OR:
  case EU_XOR:
    ok = aw == bw && aw == rw;
    break;
  case EU_COPY:
    ok = !aw && !rw;
    break;
  default:
    ok = !aw && !bw && !rw;
    break;
  }
  if (!ok) {
    BAD("operation %u can not combine operands of %d and %d bits into %d", f->tsk_eu_typ,
        aw ? 16 : 8, bw ? 16 : 8, rw ? 16 : 8);
  }
  return TPU_SIM_OK;
}

/* Section 2.4, by operation. */
static int arith_signs(const cv_tiu *f, const tiu_cmd *t, const err_ctx *e) {
  const int relu = t->eu == EU_MUL || t->eu == EU_MAC || t->eu == EU_ADD;
  TRY(check_signs(f, relu, t->eu <= EU_SUB && !f->opt_chl_quan, e));
  if (t->eu == EU_SUB) {
    NEED(opt_res0_sign, f->opt_res0_sign == 1);
  } else if (t->eu == EU_SHIFT) {
    NEED(opt_opd0_sign, f->opt_opd0_sign == 1);
    NEED(opt_opd1_sign, f->opt_opd1_sign == 1);
    NEED(opt_shift_typ, f->opt_shift_typ == 1);
    NEED(opt_rshift_typ, f->opt_rshift_typ == 0);
    NEED(opd1_addr, !t->is_const || (t->constant >= -16 && t->constant <= 16));
  } else if (t->eu == EU_MAX || t->eu == EU_MIN || t->eu == EU_GE) {
    NEED(opt_opd1_sign, f->opt_opd1_sign == f->opt_opd0_sign);
  } else if (t->eu == EU_AND || t->eu == EU_OR || t->eu == EU_XOR) {
    NEED(opt_opd0_seg, f->opt_opd0_seg == f->opt_res0_seg);
    NEED(opt_opd1_seg, f->opt_opd1_seg == f->opt_res0_seg);
  }
  if (!relu && f->opt_relu_typ) { /* has no effect on signed results of max, min, copy */
    NEED(opt_relu_typ, f->opt_res0_sign == 1 && f->opt_res0_seg != 0);
  }
  if (t->eu >= EU_MAX) {
    NEED(opt_res_shift, f->opt_res_shift == 0);
  }
  return TPU_SIM_OK;
}

/* Whether an operand is read exactly where the result is written, element by element. */
static int in_place(const chip_info *chip, const tiu_cmd *t, const operand *o, uint32_t size) {
  const operand *r = &t->res;
  const uint64_t extent = plane_extent(chip, o, size);
  const int distinct =
      (r->n == 1 || r->ns) && (r->c == 1 || r->cs) && (r->h == 1 || r->hs) && (r->w == 1 || r->ws);
  return o->off == r->off && o->lane == r->lane && o->ns == r->ns && o->cs == r->cs &&
         o->hs == r->hs && o->ws == r->ws && distinct && (!o->wide || o->bs >= extent) &&
         (!r->wide || (r->bs >= extent && (!o->wide || o->bs == r->bs)));
}

/* Operands that overlap the result otherwise are read from a copy. */
static void note_operands(const chip_info *chip, tiu_cmd *t, uint32_t size, int count,
                          int reads_res) {
  const operand *o[2] = {&t->a, &t->b};
  note_write(chip, t, size, t->res.wide || reads_res ? 2 : 1);
  for (int i = 0; i < count - (t->is_const ? 1 : 0); i++) {
    if (!in_place(chip, t, o[i], size)) {
      const uint64_t extent = plane_extent(chip, o[i], size), high = (uint64_t)o[i]->off + o[i]->bs;
      note_read(t, o[i]->off, o[i]->off + extent);
      if (o[i]->wide) {
        note_read(t, high, high + extent);
      }
    }
  }
}

int decode_arith(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
  const uint32_t size = t->bf16 ? 2 : 1;
  t->eu = (uint8_t)f->tsk_eu_typ;
  if (f->tsk_eu_typ > (chip->gen_b ? EU_GE : EU_COPY)) {
    return sim_fail(e, TPU_SIM_UNSUPPORTED, "field tsk_eu_typ = %u: unknown operation",
                    f->tsk_eu_typ);
  }
  if (t->bf16 && t->eu >= EU_SHIFT && t->eu != EU_COPY && t->eu != EU_GE) {
    return sim_fail(e, TPU_SIM_UNSUPPORTED, "field tsk_eu_typ = %u has no bf16 form",
                    f->tsk_eu_typ);
  }
  NEED(short_res0_str, f->short_res0_str == 3);
  NEED(short_opd0_str, f->short_opd0_str == 3);
  const int unary = t->eu == EU_COPY;
  TRY(same_shape(f, unary ? 2 : 3, e));
  t->is_const = !unary && f->opt_opd1_const;
  const raw_operand res = RAW(res0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
  const raw_operand a = RAW(opd0, f->opd0_n, f->opd0_c, f->opd0_h, f->opd0_w);
  raw_operand b = RAW(opd1, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
  const int reads_res = t->eu == EU_MAC && !t->bf16;
  TRY(make_operand(chip, &res, size, 0, &t->res, e));
  TRY(make_operand(chip, &a, size, 0, &t->a, e));
  t->b.wide = f->opt_opd1_seg == 0;
  if (!unary && !t->is_const) {
    NEED(short_opd1_str, f->short_opd1_str == 3);
    /* quirk: the 16-bit address lies in the result's pair of lanes */
    b.addr += t->res.lane / 2u * 2u * LANE_BYTES;
    TRY(make_operand(chip, &b, size, 0, &t->b, e));
  }
  if (t->bf16) {
    t->a.wide = t->b.wide = t->res.wide = 0;
    t->constant = (int32_t)f->opd1_addr;
  } else {
    if (unary) {
      t->b.wide = 0;
    }
    TRY(arith_widths(f, t, e));
    t->constant = constant_of(f, t->b.wide, (int)f->opt_opd1_sign);
  }
  if (t->a.wide) {
    TRY(check_planes(&t->a, "opd0", e));
  }
  if (t->b.wide && !t->is_const) {
    TRY(check_planes(&t->b, "opd1", e));
  }
  if (t->res.wide || reads_res) {
    TRY(check_planes(&t->res, "res0", e));
  }
  TRY(check_local(chip, "res0", &t->res, size, t->res.wide || reads_res ? 2 : 1, e));
  TRY(check_local(chip, "opd0", &t->a, size, t->a.wide ? 2 : 1, e));
  if (!unary && !t->is_const) {
    TRY(check_local(chip, "opd1", &t->b, size, t->b.wide ? 2 : 1, e));
  }
  note_operands(chip, t, size, unary ? 1 : 2, reads_res);
  NEED(res0_b_str, !(t->res.wide && t->direct)); /* planes must not overlap */
  t->relu = f->opt_relu_typ && (t->eu <= EU_ADD);
  t->left_shift = (uint8_t)f->opt_left_shift;
  NEED(tsk_opd_num, f->tsk_opd_num == (unary ? 1u : 2u));
  NEED(opt_res_add, f->opt_res_add == (t->eu == EU_MAC));
  NEED(opt_chl_quan, f->opt_chl_quan == 0 || (t->eu == EU_MUL && !t->bf16));
  if (t->bf16) {
    NEED(opt_res0_seg, f->opt_res0_seg != 0);
    NEED(opt_opd0_seg, f->opt_opd0_seg != 0);
    NEED(opt_opd1_seg, unary || f->opt_opd1_seg != 0);
    return TPU_SIM_OK;
  }
  TRY(arith_signs(f, t, e));
  return set_post(chip, f, t, (int)f->opt_chl_quan, e);
}
