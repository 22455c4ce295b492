/* Decoding of matrix products (hw/cv18xx-tiu.md section 5.11). */

#include "decode.h"

int decode_matrix(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
  const uint32_t size = t->bf16 ? 2 : 1, rows = f->opd0_n;
  NEED(opt_left_tran, f->opt_left_tran == 0);
  NEED(opt_opd2_seg, f->opt_opd2_seg == 0);
  NEED(tsk_opd_num, f->tsk_opd_num >= 2);
  NEED(opt_opd0_seg, f->opt_opd0_seg == 1);
  NEED(opt_opd1_seg, f->opt_opd1_seg == 1);
  NEED(short_res0_str, f->short_res0_str == 0);
  NEED(short_opd0_str, f->short_opd0_str == 0);
  NEED(short_opd1_str, f->short_opd1_str == 0);
  NEED(res0_n, f->res0_n == rows);
  NEED(res0_c, f->res0_c == f->opd1_c);
  NEED(opd0_h, f->opd0_h == 1);
  NEED(opd1_h, f->opd1_h == 1);
  NEED(res0_h, f->res0_h == 1);
  NEED(opt_opd1_const, f->opt_opd1_const == 0);
  NEED(opd1_w, f->opd1_w >= 1 && f->opd1_w <= f->opd0_w);
  const raw_operand res = RAW(res0, rows, f->res0_c, 1, f->res0_w);
  const raw_operand a = RAW(opd0, rows, f->opd0_c, 1, f->opd0_w);
  const raw_operand b = RAW(opd1, f->opd1_n, f->opd1_c, 1, f->res0_w);
  TRY(make_operand(chip, &res, size, 0, &t->res, e));
  TRY(make_operand(chip, &a, size, 1, &t->a, e));
  TRY(make_operand(chip, &b, size, 1, &t->b, e));
  NEED(res0_addr, t->res.lane == 0);
  NEED(opd1_addr, t->b.lane == 0);
  NEED(opd1_n, (uint64_t)f->opd0_w * (f->opd0_c - 1) + f->opd1_w == f->opd1_n);
  t->ps32 = (uint8_t)f->ps32_md;
  t->res_add = (uint8_t)f->opt_res_add;
  t->left_shift = (uint8_t)f->opt_left_shift;
  t->has_bias = f->tsk_opd_num == 3;
  t->bias_signed = (uint8_t)f->opt_opd2_sign;
  t->relu = (uint8_t)f->opt_relu_typ;
  t->chan_quant = (uint8_t)f->opt_chl_quan;
  t->p_off = f->opd2_addr;
  t->p_bs = t->res.ns;
  t->res.bs = t->res.ns * rows;
  if (t->bf16) {
    NEED(opt_res_add, !t->res_add);
    NEED(opt_chl_quan, !t->chan_quant);
    t->res.wide = 0;
  }
  if (t->chan_quant) {
    NEED(ps32_md, t->ps32 < 2);
    NEED(opt_res0_seg, !t->res.wide);
    NEED(opt_res_add, !t->res_add);
  }
  if (t->ps32 >= 2) {
    NEED(opt_relu_typ, f->opt_relu_typ == 0);
    NEED(opt_res_shift, f->opt_res_shift == 0);
  }
  NEED(opt_relu_typ, !t->relu || !(t->res_add || t->res.wide));
  NEED(res0_b_str, !t->res.wide || (f->res0_b_str != 0 && f->res0_b_str % 16 == 0));
  const uint32_t planes = t->ps32 ? (t->bf16 ? 2 : 4) : (t->res.wide || t->res_add) ? 2 : 1;
  TRY(check_local(chip, "res0", &t->res, size, planes, e));
  note_write(chip, t, size, planes);
  note_read(t, t->a.off, t->a.off + plane_extent(chip, &t->a, size));
  note_read(t, t->b.off, t->b.off + plane_extent(chip, &t->b, size));
  if (t->has_bias) {
    NEED(short_opd2_str, f->short_opd2_str == 0);
    NEED(opd2_b_str, f->opd2_b_str != 0 && f->opd2_b_str % 16 == 0);
    NEED(opd2_n, f->opd2_n == 1);
    NEED(opd2_h, f->opd2_h == 1);
    NEED(opd2_c, f->opd2_c == f->res0_c);
    NEED(opd2_w, f->opd2_w == f->res0_w);
    operand p = t->res;
    p.off = f->opd2_addr;
    p.n = 1;
    p.bs = t->p_bs;
    const uint32_t rows_of_bias = t->chan_quant ? 4 : 2;
    TRY(check_local(chip, "opd2", &p, size, rows_of_bias, e));
    note_read(t, p.off, p.off + plane_extent(chip, &p, size) + (rows_of_bias - 1) * p.bs);
  }
  if (t->bf16) {
    return TPU_SIM_OK;
  }
  TRY(check_signs(f, 1, 1, e));
  return set_post(chip, f, t, t->chan_quant, e);
}
