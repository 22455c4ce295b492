/* Decoding of convolution, depthwise convolution, pooling (hw/cv18xx-tiu.md sections 5.6 to 5.10,
 * 6). */

#include "decode.h"

static int decode_window(const cv_tiu *f, tiu_cmd *t, int dilation, int insertion,
                         const err_ctx *e) {
  window *w = &t->win;
  NEED(opd1_h, f->opd1_h >= 1);
  NEED(opd1_w, f->opd1_w >= 1);
  NEED(conv_op_x_str, f->conv_op_x_str >= 1);
  NEED(conv_op_y_str, f->conv_op_y_str >= 1);
  NEED(conv_opd0_x_ins0, f->conv_opd0_x_ins0 <= 14);
  NEED(conv_opd0_y_ins0, f->conv_opd0_y_ins0 <= 14);
  NEED(conv_opd0_x_ins0_last, f->conv_opd0_x_ins0_last <= 14);
  NEED(conv_opd0_y_ins0_last, f->conv_opd0_y_ins0_last <= 14);
  NEED(conv_opd1_x_ins0, f->conv_opd1_x_ins0 <= 14);
  NEED(conv_opd1_y_ins0, f->conv_opd1_y_ins0 <= 14);
  *w = (window){.kh = (uint16_t)f->opd1_h,
                .kw = (uint16_t)f->opd1_w,
                .up = (uint8_t)f->conv_opd0_up_pad,
                .dn = (uint8_t)f->conv_opd0_dn_pad,
                .lf = (uint8_t)f->conv_opd0_lf_pad,
                .rt = (uint8_t)f->conv_opd0_rt_pad,
                .ystr = (uint8_t)f->conv_op_y_str,
                .xstr = (uint8_t)f->conv_op_x_str,
                .ydil = 1,
                .xdil = 1};
  if (insertion) {
    w->yins = (uint8_t)f->conv_opd0_y_ins0;
    w->xins = (uint8_t)f->conv_opd0_x_ins0;
    w->yins_last = (uint8_t)f->conv_opd0_y_ins0_last;
    w->xins_last = (uint8_t)f->conv_opd0_x_ins0_last;
  }
  if (dilation) {
    w->ydil = (uint8_t)(f->conv_opd1_y_ins0 + 1);
    w->xdil = (uint8_t)(f->conv_opd1_x_ins0 + 1);
  }
  const uint32_t height = (t->a.h - 1u) * (w->yins + 1u) + 1 + w->yins_last + w->up + w->dn;
  const uint32_t width = (t->a.w - 1u) * (w->xins + 1u) + 1 + w->xins_last + w->lf + w->rt;
  const uint32_t kh = (w->kh - 1u) * w->ydil + 1, kw = (w->kw - 1u) * w->xdil + 1;
  if (kh > height || kw > width || (height - kh) / w->ystr + 1 != t->res.h ||
      (width - kw) / w->xstr + 1 != t->res.w) {
    BAD("fields res0_h, res0_w = %u, %u do not follow from input %u x %u, kernel %u x %u, "
        "stride %u x %u",
        t->res.h, t->res.w, height, width, kh, kw, w->ystr, w->xstr);
  }
  return TPU_SIM_OK;
}

static void set_fill(const chip_info *chip, const cv_tiu *f, tiu_cmd *t) {
  if (t->bf16) {
    t->fill = (int32_t)(chip->gen_b ? f->opd0_ins_val & 0xFFFF : f->opd0_ins_fp);
  } else {
    t->fill = t->a.is_signed ? (int8_t)f->opd0_ins_val : (int32_t)(f->opd0_ins_val & 255);
  }
}

/* Bias or parameter block in opd2 for c channels. */
static int decode_params(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, uint32_t c,
                         const err_ctx *e) {
  const uint32_t groups = ceil_div(c, chip->lanes);
  uint64_t end;
  NEED(tsk_opd_num, f->tsk_opd_num >= 2);
  t->has_bias = f->tsk_opd_num == 3;
  t->chan_quant = (uint8_t)f->opt_chl_quan;
  t->bias_signed = (uint8_t)f->opt_opd2_sign;
  t->p_off = f->opd2_addr;
  t->p_bs = groups * (t->bf16 ? 2 : 1); /* opd2_b_str is ignored with code 2 */
  if (!t->has_bias && !t->chan_quant) {
    return TPU_SIM_OK;
  }
  NEED(short_opd2_str, f->short_opd2_str == 2);
  if (t->has_bias) {
    NEED(opd2_n, f->opd2_n == 1);
    NEED(opd2_c, f->opd2_c == c);
    NEED(opd2_h, f->opd2_h == 1);
    NEED(opd2_w, f->opd2_w == 1);
    NEED(opd2_b_str, t->chan_quant || f->opd2_b_str != 0);
  }
  NEED(opt_opd2_seg, f->opt_opd2_seg == f->opt_chl_quan);
  if (t->chan_quant) {
    end = (uint64_t)t->p_off + groups * (t->has_bias ? 9u : 5u);
  } else {
    end = (uint64_t)t->p_off + t->p_bs + groups * (t->bf16 ? 2u : 1u);
  }
  if (end > LANE_BYTES) {
    return sim_fail(e, TPU_SIM_RANGE,
                    "field opd2_addr = 0x%x: parameters of %u channels "
                    "leave the lane",
                    f->opd2_addr, c);
  }
  note_read(t, t->p_off, end);
  return TPU_SIM_OK;
}

static int check_ps32(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, uint32_t size,
                      const err_ctx *e) {
  t->ps32 = (uint8_t)f->ps32_md;
  if (f->short_res0_str != 3) {
    t->res.bs = t->res.n * t->res.ns; /* res0_b_str is ignored */
  }
  if (t->ps32 >= 2) {
    NEED(opt_relu_typ, f->opt_relu_typ == 0);
    NEED(opt_res_shift, f->opt_res_shift == 0);
    NEED(tsk_opd_num, f->tsk_opd_num == 2);
  }
  const uint32_t planes = t->ps32 == 0 ? 1 : size == 2 ? 2 : 4;
  note_write(chip, t, size, planes);
  return check_local(chip, "res0", &t->res, size, planes, e);
}

/* Result and input of a convolution or depthwise convolution, and its window. */
static int summed_operands(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, uint32_t size,
                           const err_ctx *e) {
  const raw_operand res = RAW(res0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
  const raw_operand a = RAW(opd0, f->opd0_n, f->opd0_c, f->opd0_h, f->opd0_w);
  TRY(make_operand(chip, &res, size, 0, &t->res, e));
  TRY(make_operand(chip, &a, size, 1, &t->a, e));
  NEED(res0_addr, t->res.lane == 0);
  NEED(res0_n_str, f->short_res0_str != 3 || f->res0_n_str % 16 == 0);
  t->a.wide = 0;
  TRY(decode_window(f, t, 1, 1, e));
  set_fill(chip, f, t);
  return TPU_SIM_OK;
}

int decode_conv(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
  const uint32_t size = t->bf16 ? 2 : 1;
  NEED(short_res0_str, f->short_res0_str == 0 || f->short_res0_str == 3);
  NEED(short_opd0_str, f->short_opd0_str == 0);
  NEED(opd0_n, f->opd0_n == f->res0_n);
  NEED(opd1_n, f->opd1_n == f->opd0_c);
  NEED(opd1_c, f->opd1_c == f->res0_c);
  NEED(opd0_c, f->opd0_c <= MAX_DIM);
  NEED(opd0_h, f->opd0_h <= MAX_DIM);
  NEED(opd0_w, f->opd0_w <= MAX_DIM);
  NEED(res0_c, f->res0_c <= MAX_DIM);
  NEED(res0_h, f->res0_h <= MAX_DIM);
  NEED(res0_w, f->res0_w <= MAX_DIM);
  NEED(opt_rshift_typ, f->opt_rshift_typ == 1);
  NEED(opt_res0_seg, f->opt_res0_seg != 0);
  NEED(opt_opd0_seg, f->opt_opd0_seg != 0);
  NEED(opt_opd1_seg, f->opt_opd1_seg != 0);
  NEED(opt_res_add, f->opt_res_add == 0);
  NEED(opt_chl_quan, f->opt_chl_quan == 0 || !t->bf16);
  TRY(summed_operands(chip, f, t, size, e));
  t->b.is_signed = (uint8_t)f->opt_opd1_sign;
  t->b.off = f->opd1_addr;
  t->is_const = (uint8_t)f->opt_opd1_const;
  t->constant = t->bf16 ? (int32_t)f->opd1_addr : constant_of(f, 0, t->b.is_signed);
  if (!t->is_const) {
    NEED(short_opd1_str, f->short_opd1_str == 1);
    const uint64_t per = (uint64_t)t->win.kh * t->win.kw * t->a.c * size;
    if (t->b.off + per * ceil_div(t->res.c, chip->lanes) > LANE_BYTES) {
      return sim_fail(e, TPU_SIM_RANGE, "field opd1_addr = 0x%x: weights leave the lane",
                      f->opd1_addr);
    }
    t->b.cs = (uint32_t)per;
  }
  if (f->double_conv) {
    NEED(double_conv, !t->bf16 && t->a.c >= 4 && t->a.c % 2 == 0);
    NEED(opd0_addr, t->a.off % 2 == 0);
    NEED(opd1_addr, f->opd1_addr % 2 == 0);
  }
  t->relu = (uint8_t)f->opt_relu_typ;
  TRY(check_ps32(chip, f, t, size, e));
  note_read(t, t->a.off, t->a.off + plane_extent(chip, &t->a, size));
  if (!t->is_const) {
    note_read(t, t->b.off, t->b.off + (uint64_t)t->b.cs * ceil_div(t->res.c, chip->lanes));
  }
  TRY(decode_params(chip, f, t, t->res.c, e));
  if (t->bf16) {
    return TPU_SIM_OK;
  }
  TRY(check_signs(f, 1, !t->chan_quant, e));
  return set_post(chip, f, t, t->chan_quant, e);
}

int decode_pool(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, int average, const err_ctx *e) {
  const uint32_t size = t->bf16 ? 2 : 1;
  NEED(short_res0_str, f->short_res0_str == 0 || f->short_res0_str == 3);
  NEED(short_opd0_str, f->short_opd0_str == f->short_res0_str);
  NEED(opd0_n, f->opd0_n == f->res0_n);
  NEED(opd0_c, f->opd0_c == f->res0_c);
  NEED(opt_res0_seg, f->opt_res0_seg != 0);
  const raw_operand res = RAW(res0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
  const raw_operand a = RAW(opd0, f->opd0_n, f->opd0_c, f->opd0_h, f->opd0_w);
  TRY(make_operand(chip, &res, size, 1, &t->res, e));
  TRY(make_operand(chip, &a, size, 1, &t->a, e));
  TRY(decode_window(f, t, 0, average, e));
  set_fill(chip, f, t);
  t->eu = (uint8_t)f->tsk_eu_typ;
  note_write(chip, t, size, 1);
  note_read(t, t->a.off, t->a.off + plane_extent(chip, &t->a, size));
  NEED(tsk_opd_num, f->tsk_opd_num == (average ? 2u : 1u));
  NEED(opt_res0_sign, f->opt_res0_sign == f->opt_opd0_sign);
  NEED(opt_opd2_sign, f->opt_opd2_sign == 1);
  NEED(opt_chl_quan, f->opt_chl_quan == 0);
  NEED(opt_res_shift, average || f->opt_res_shift == 0);
  NEED(opt_relu_typ, f->opt_relu_typ == 0 || t->bf16 || f->opt_res0_sign);
  if (average) {
    NEED(opt_opd1_const, f->opt_opd1_const == 1);
    NEED(opt_opd1_sign, f->opt_opd1_sign == 0);
    NEED(opt_rshift_typ, f->opt_rshift_typ == 1);
    t->is_const = 1;
    t->constant = t->bf16 ? (int32_t)f->opd1_addr : (int32_t)(f->opd1_addr & 255);
    if (!t->bf16) {
      NEED(opt_shift_typ, f->opt_shift_typ == f->opt_opd0_sign);
      TRY(set_post(chip, f, t, 0, e));
    }
  }
  return TPU_SIM_OK;
}

int decode_depthwise(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
  const uint32_t size = t->bf16 ? 2 : 1;
  NEED(short_res0_str, f->short_res0_str == 0 || f->short_res0_str == 3);
  NEED(short_opd0_str, f->short_opd0_str == f->short_res0_str);
  NEED(opd0_n, f->opd0_n == f->res0_n);
  NEED(opd0_c, f->opd0_c == f->res0_c);
  NEED(opd1_n, f->opd1_n == 1);
  NEED(opd1_c, f->opd1_c == f->res0_c);
  NEED(opt_rshift_typ, f->opt_rshift_typ == 1);
  NEED(opt_opd1_sign, f->opt_opd1_sign == 1);
  NEED(opt_opd2_sign, f->opt_opd2_sign == 1);
  NEED(opt_res0_seg, f->opt_res0_seg != 0);
  NEED(opt_chl_quan, f->opt_chl_quan == 0 || !t->bf16);
  TRY(summed_operands(chip, f, t, size, e));
  t->b.off = f->opd1_addr;
  t->b.is_signed = 1;
  t->is_const = (uint8_t)f->opt_opd1_const;
  t->constant = t->bf16 ? (int32_t)f->opd1_addr : (int8_t)f->opd1_addr;
  if (!t->is_const) {
    NEED(short_opd1_str, f->short_opd1_str == 0);
    const uint64_t plane = (uint64_t)t->win.kh * t->win.kw * size;
    const uint64_t group = (plane + 15) & ~UINT64_C(15);
    if (t->b.off + group * (ceil_div(t->res.c, chip->lanes) - 1) + plane > LANE_BYTES) {
      return sim_fail(e, TPU_SIM_RANGE, "field opd1_addr = 0x%x: weights leave the lane",
                      f->opd1_addr);
    }
    t->b.cs = (uint32_t)group;
  }
  t->relu = (uint8_t)f->opt_relu_typ;
  if (t->bf16 && !chip->gen_b && f->ps32_md == 2) {
    TRY(check_ps32(chip, f, t, size, e));
  } else {
    TRY(check_local(chip, "res0", &t->res, size, 1, e));
    note_write(chip, t, size, 1);
  }
  note_read(t, t->a.off, t->a.off + plane_extent(chip, &t->a, size));
  if (!t->is_const) {
    note_read(t, t->b.off, t->b.off + (uint64_t)t->b.cs * ceil_div(t->res.c, chip->lanes));
  }
  TRY(decode_params(chip, f, t, t->res.c, e));
  if (!t->bf16) {
    TRY(check_signs(f, 1, !t->chan_quant, e));
    TRY(set_post(chip, f, t, t->chan_quant, e));
  }
  if (chip->gen_b && t->chan_quant) {
    t->win.ydil = t->win.xdil = 1; /* quirk: the sums ignore dilation, the size does not */
  }
  return TPU_SIM_OK;
}
