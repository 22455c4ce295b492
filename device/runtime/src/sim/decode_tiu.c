/* TIU words -> checked commands (hw/cv18xx-tiu.md). Everything the executing code relies on is
 * established here: shapes, strides, ranges in local memory, bounded work and scratch. */

#include <string.h>

#include "internal.h"

#define MAX_DIM 4063u
#define BAD(...) return sim_fail(e, TPU_SIM_BAD_STREAM, __VA_ARGS__)
#define NEED(field, cond)                                                                 \
    do {                                                                                  \
        if (!(cond)) {                                                                    \
            BAD("field " #field " = %lld, needed: %s", (long long)f->field, #cond);       \
        }                                                                                 \
    } while (0)
#define TRY(call)                \
    do {                         \
        const int rc_ = (call);  \
        if (rc_ != TPU_SIM_OK) { \
            return rc_;          \
        }                        \
    } while (0)

typedef struct {
    const char *name;
    uint32_t addr, code, n, c, h, w, ns, cs, hs, ws, bs, is_signed, seg;
} raw_operand;

#define RAW(x, N, C, H, W)                                                              \
    {                                                                                   \
        .name = #x, .addr = f->x##_addr, .code = f->short_##x##_str, .n = (N), .c = (C), \
        .h = (H), .w = (W), .ns = f->x##_n_str, .cs = f->x##_c_str, .hs = f->x##_h_str, \
        .ws = f->x##_w_str, .bs = f->x##_b_str, .is_signed = f->opt_##x##_sign,         \
        .seg = f->opt_##x##_seg                                                         \
    }

/* Last byte of planes byte planes of e-byte elements must lie in the lane. */
static int check_local(const chip_info *chip, const char *name, const operand *o, uint32_t size,
                       uint32_t planes, const err_ctx *e) {
    const uint64_t groups = ((uint32_t)o->lane + o->c - 1) / chip->lanes;
    const uint64_t last = o->off + (uint64_t)(o->n - 1u) * o->ns + groups * o->cs +
                          (uint64_t)(o->h - 1u) * o->hs + (uint64_t)(o->w - 1u) * o->ws +
                          (uint64_t)(planes - 1u) * o->bs + size - 1u;
    if (last >= LANE_BYTES) {
        return sim_fail(e, TPU_SIM_RANGE,
                        "%s (%u, %u, %u, %u) ends at byte %llu of its lane, which has %u", name,
                        o->n, o->c, o->h, o->w, (unsigned long long)last + 1, LANE_BYTES);
    }
    return TPU_SIM_OK;
}

/* Resolve lane, offset and stride code; planes > 0: check the range. */
static int make_operand(const chip_info *chip, const raw_operand *r, uint32_t size,
                        uint32_t planes, operand *o, const err_ctx *e) {
    if (r->n == 0 || r->c == 0 || r->h == 0 || r->w == 0) {
        BAD("%s has shape (%u, %u, %u, %u), every dimension must be at least 1", r->name, r->n,
            r->c, r->h, r->w);
    }
    if (r->addr / LANE_BYTES >= chip->lanes) {
        return sim_fail(e, TPU_SIM_RANGE, "field %s_addr = 0x%x is outside local memory (%u lanes)",
                        r->name, r->addr, chip->lanes);
    }
    *o = (operand){.off = r->addr % LANE_BYTES, .lane = (uint8_t)(r->addr / LANE_BYTES),
                   .n = (uint16_t)r->n, .c = (uint16_t)r->c, .h = (uint16_t)r->h,
                   .w = (uint16_t)r->w, .is_signed = (uint8_t)r->is_signed,
                   .wide = r->seg == 0, .ns = r->ns, .cs = r->cs, .hs = r->hs, .ws = r->ws,
                   .bs = r->bs};
    const uint64_t plane = (uint64_t)r->h * r->w * size;
    if (r->code != 3) {
        if (plane > LANE_BYTES) {
            return sim_fail(e, TPU_SIM_RANGE, "%s: one channel of %u x %u does not fit a lane",
                            r->name, r->h, r->w);
        }
        o->ws = size;
        o->hs = r->w * size;
        o->cs = r->code == 0 ? align16((uint32_t)plane) : r->code == 1 ? (uint32_t)plane : size;
        o->ns = o->cs * ceil_div(o->lane + r->c, chip->lanes);
    } else if (size == 2 && ((r->ns | r->cs | r->hs | r->ws) & 1)) {
        BAD("%s: bf16 strides n %u, c %u, h %u, w %u must be even", r->name, r->ns, r->cs, r->hs,
            r->ws);
    }
    return planes ? check_local(chip, r->name, o, size, planes, e) : TPU_SIM_OK;
}

static int check_planes(const operand *o, const char *name, const err_ctx *e) {
    if (o->bs == 0 || o->bs % 16 != 0) {
        BAD("field %s_b_str = %u must be a multiple of 16 and not 0", name, o->bs);
    }
    return TPU_SIM_OK;
}

static void set_limits(tiu_cmd *t) {
    const int32_t hi = t->res.wide ? 65535 : 255, half = t->res.wide ? 32768 : 128;
    t->post.lo = t->res.is_signed ? -half : 0;
    t->post.hi = t->res.is_signed ? half - 1 : hi;
    if (t->relu && t->post.lo < 0) {
        t->post.lo = 0;
    }
}

static int set_post(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, int quant,
                    const err_ctx *e) {
    int32_t s = f->opt_res_shift;
    t->post.quant = (uint8_t)quant;
    t->post.round = (uint8_t)f->opt_rshift_typ;
    t->post.arith = (uint8_t)f->opt_shift_typ;
    t->post.mult = (int32_t)f->quan_m;
    if (s < 0 && !(quant && chip->gen_b)) {
        BAD("field opt_res_shift = %d: left shifts exist only in quantised multiplication", s);
    }
    t->post.shift = (int8_t)s;
    return TPU_SIM_OK;
}

static int32_t constant_of(const cv_tiu *f, int wide, int is_signed) {
    const uint32_t v = f->opd1_addr;
    if (wide) {
        return is_signed ? (int16_t)v : (int32_t)v;
    }
    return is_signed ? (int8_t)v : (int32_t)(v & 255);
}

/* ---- tensor arithmetic (type 3) ---- */

static int decode_lookup(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
    const uint32_t size = t->bf16 ? 2 : 1;
    NEED(short_res0_str, f->short_res0_str == 0);
    NEED(short_opd0_str, f->short_opd0_str == 0);
    const raw_operand res = RAW(res0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
    const raw_operand a = RAW(opd0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
    TRY(make_operand(chip, &res, size, 1, &t->res, e));
    TRY(make_operand(chip, &a, size, 1, &t->a, e));
    NEED(res0_addr, t->res.lane == 0);
    if (f->opd1_addr + 256u * size > LANE_BYTES) {
        return sim_fail(e, TPU_SIM_RANGE, "field opd1_addr = 0x%x: the table leaves the lane",
                        f->opd1_addr);
    }
    t->b.off = f->opd1_addr;
    return TPU_SIM_OK;
}

static int decode_mdsum(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
    NEED(opd_typ, f->opd_typ == 0);
    NEED(short_res0_str, f->short_res0_str == 1);
    NEED(short_opd0_str, f->short_opd0_str == 0);
    const raw_operand a = RAW(opd0, f->opd0_n, f->opd0_c, f->opd0_h, f->opd0_w);
    raw_operand res = RAW(res0, 1, f->opd0_c, 1, 1);
    NEED(opt_opd0_seg, f->opt_opd0_seg != 0);
    TRY(make_operand(chip, &a, 1, 1, &t->a, e));
    TRY(make_operand(chip, &res, 1, 0, &t->res, e));
    t->res.bs = ceil_div(f->opd0_c, chip->lanes);
    TRY(check_local(chip, "res0", &t->res, 1, t->res.wide ? 2 : 1, e));
    NEED(res0_addr, t->res.lane == 0);
    TRY(set_post(chip, f, t, 0, e));
    set_limits(t);
    return TPU_SIM_OK;
}

static int arith_widths(const cv_tiu *f, const tiu_cmd *t, const err_ctx *e) {
    const int aw = t->a.wide, bw = t->b.wide, rw = t->res.wide;
    int ok;
    switch (t->eu) {
    case EU_MUL: ok = !aw && !bw; break;
    case EU_MAC: ok = !aw && !bw; break;
    case EU_ADD:
    case EU_SUB: ok = aw && bw; break;
    case EU_SHIFT: ok = aw && !bw && rw; break;
    case EU_AND:
    case EU_OR:
    case EU_XOR: ok = aw == bw && aw == rw; break;
    case EU_COPY: ok = !aw && !rw; break;
    default: ok = !aw && !bw && !rw; break;
    }
    if (!ok) {
        BAD("operation %u can not combine operands of %d and %d bits into %d", f->tsk_eu_typ,
            aw ? 16 : 8, bw ? 16 : 8, rw ? 16 : 8);
    }
    return TPU_SIM_OK;
}

static int decode_arith(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
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
    t->is_const = !unary && f->opt_opd1_const;
    const raw_operand res = RAW(res0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
    const raw_operand a = RAW(opd0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
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
    t->relu = f->opt_relu_typ && (t->eu <= EU_ADD);
    t->left_shift = (uint8_t)f->opt_left_shift;
    if (t->bf16) {
        NEED(opt_chl_quan, f->opt_chl_quan == 0);
        NEED(opt_res_add, f->opt_res_add == (t->eu == EU_MAC));
        return TPU_SIM_OK;
    }
    NEED(opt_chl_quan, f->opt_chl_quan == 0 || t->eu == EU_MUL);
    NEED(opt_res_add, f->opt_res_add == (t->eu == EU_MAC));
    TRY(set_post(chip, f, t, (int)f->opt_chl_quan, e));
    if (t->eu == EU_MUL) {
        const uint32_t any_signed = f->opt_opd0_sign | f->opt_opd1_sign;
        NEED(opt_shift_typ, f->opt_shift_typ == any_signed);
        NEED(opt_res0_sign, f->opt_res0_sign == any_signed || f->opt_relu_typ);
    }
    set_limits(t);
    return TPU_SIM_OK;
}

/* ---- windows and convolution ---- */

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
    *w = (window){.kh = (uint16_t)f->opd1_h, .kw = (uint16_t)f->opd1_w,
                  .up = (uint8_t)f->conv_opd0_up_pad, .dn = (uint8_t)f->conv_opd0_dn_pad,
                  .lf = (uint8_t)f->conv_opd0_lf_pad, .rt = (uint8_t)f->conv_opd0_rt_pad,
                  .ystr = (uint8_t)f->conv_op_y_str, .xstr = (uint8_t)f->conv_op_x_str,
                  .ydil = 1, .xdil = 1};
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
    t->has_bias = f->tsk_opd_num == 3;
    t->chan_quant = (uint8_t)f->opt_chl_quan;
    t->bias_signed = (uint8_t)f->opt_opd2_sign;
    t->p_off = f->opd2_addr;
    t->p_bs = f->opd2_b_str;
    if (!t->has_bias && !t->chan_quant) {
        return TPU_SIM_OK;
    }
    NEED(short_opd2_str, f->short_opd2_str == 2);
    NEED(opt_opd2_seg, f->opt_opd2_seg == f->opt_chl_quan);
    if (t->chan_quant) {
        end = (uint64_t)t->p_off + groups * (t->has_bias ? 9u : 5u);
    } else {
        end = (uint64_t)t->p_off + t->p_bs + groups * (t->bf16 ? 2u : 1u);
    }
    if (end > LANE_BYTES) {
        return sim_fail(e, TPU_SIM_RANGE, "field opd2_addr = 0x%x: parameters of %u channels "
                        "leave the lane", f->opd2_addr, c);
    }
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
    }
    return check_local(chip, "res0", &t->res, size, t->ps32 == 0 ? 1 : size == 2 ? 2 : 4, e);
}

static int decode_conv(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
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
    NEED(opt_res_add, f->opt_res_add == 0);
    NEED(opt_chl_quan, f->opt_chl_quan == 0 || !t->bf16);
    const raw_operand res = RAW(res0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
    const raw_operand a = RAW(opd0, f->opd0_n, f->opd0_c, f->opd0_h, f->opd0_w);
    TRY(make_operand(chip, &res, size, 0, &t->res, e));
    TRY(make_operand(chip, &a, size, 1, &t->a, e));
    NEED(res0_addr, t->res.lane == 0);
    NEED(res0_n_str, f->short_res0_str != 3 || f->res0_n_str % 16 == 0);
    t->a.wide = 0;
    TRY(decode_window(f, t, 1, 1, e));
    set_fill(chip, f, t);
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
    TRY(decode_params(chip, f, t, t->res.c, e));
    t->relu = (uint8_t)f->opt_relu_typ;
    TRY(check_ps32(chip, f, t, size, e));
    if (!t->bf16) {
        TRY(set_post(chip, f, t, t->chan_quant, e));
        if (t->chan_quant) {
            const uint32_t s = f->opt_opd0_sign | f->opt_opd1_sign |
                               (t->has_bias ? f->opt_opd2_sign : 0);
            NEED(opt_res0_sign, f->opt_res0_sign == s || f->opt_relu_typ);
        }
        set_limits(t);
    }
    return TPU_SIM_OK;
}

static int decode_pool(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, int average,
                       const err_ctx *e) {
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
    if (!t->bf16) {
        NEED(opt_res0_sign, f->opt_res0_sign == f->opt_opd0_sign);
    }
    if (average) {
        NEED(opt_opd1_const, f->opt_opd1_const == 1);
        NEED(opt_opd1_sign, f->opt_opd1_sign == 0);
        NEED(opt_rshift_typ, f->opt_rshift_typ == 1);
        t->is_const = 1;
        t->constant = t->bf16 ? (int32_t)f->opd1_addr : (int32_t)(f->opd1_addr & 255);
        if (!t->bf16) {
            NEED(opt_shift_typ, f->opt_shift_typ == f->opt_opd0_sign);
            TRY(set_post(chip, f, t, 0, e));
            set_limits(t);
        }
    }
    return TPU_SIM_OK;
}

static int decode_depthwise(const chip_info *chip, const cv_tiu *f, tiu_cmd *t,
                            const err_ctx *e) {
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
    const raw_operand res = RAW(res0, f->res0_n, f->res0_c, f->res0_h, f->res0_w);
    const raw_operand a = RAW(opd0, f->opd0_n, f->opd0_c, f->opd0_h, f->opd0_w);
    TRY(make_operand(chip, &res, size, 0, &t->res, e));
    TRY(make_operand(chip, &a, size, 1, &t->a, e));
    NEED(res0_addr, t->res.lane == 0);
    NEED(res0_n_str, f->short_res0_str != 3 || f->res0_n_str % 16 == 0);
    TRY(decode_window(f, t, 1, 1, e));
    set_fill(chip, f, t);
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
    TRY(decode_params(chip, f, t, t->res.c, e));
    t->relu = (uint8_t)f->opt_relu_typ;
    if (t->bf16 && !chip->gen_b && f->ps32_md == 2) {
        TRY(check_ps32(chip, f, t, size, e));
    } else {
        TRY(check_local(chip, "res0", &t->res, size, 1, e));
    }
    if (!t->bf16) {
        TRY(set_post(chip, f, t, t->chan_quant, e));
        set_limits(t);
    }
    if (chip->gen_b && t->chan_quant) {
        t->win.ydil = t->win.xdil = 1; /* quirk: the sums ignore dilation, the size does not */
    }
    return TPU_SIM_OK;
}

/* ---- matrix product ---- */

static int decode_matrix(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e) {
    const uint32_t size = t->bf16 ? 2 : 1, rows = f->opd0_n;
    NEED(opt_left_tran, f->opt_left_tran == 0);
    NEED(opt_opd2_seg, f->opt_opd2_seg == 0);
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
    const uint32_t planes =
        t->ps32 ? (t->bf16 ? 2 : 4) : (t->res.wide || t->res_add) ? 2 : 1;
    TRY(check_local(chip, "res0", &t->res, size, planes, e));
    if (t->has_bias) {
        NEED(short_opd2_str, f->short_opd2_str == 0);
        operand p = t->res;
        p.off = f->opd2_addr;
        p.n = 1;
        p.bs = t->p_bs;
        TRY(check_local(chip, "opd2", &p, size, t->chan_quant ? 4 : 2, e));
    }
    if (!t->bf16) {
        TRY(set_post(chip, f, t, t->chan_quant, e));
        set_limits(t);
    }
    return TPU_SIM_OK;
}

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
    switch (f->tsk_typ) {
    case 0: out->op = OP_CONV; return decode_conv(chip, f, t, e);
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
    case 2: out->op = OP_MATRIX; return decode_matrix(chip, f, t, e);
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
    default: break;
    }
    return sim_fail(e, TPU_SIM_UNSUPPORTED, "fields tsk_typ = %u, tsk_eu_typ = %u: no such operation",
                    f->tsk_typ, f->tsk_eu_typ);
}

int decode_tiu(const chip_info *chip, const cv_tiu *f, command *out, size_t *scratch,
               uint64_t *work, const err_ctx *e) {
    tiu_cmd *t = &out->u.t;
    memset(t, 0, sizeof *t);
    TRY(decode_any(chip, f, out, e));
    size_t need = 0;
    if (out->op == OP_CONV) {
        need = conv_scratch(t, chip->lanes);
    } else if (out->op == OP_DEPTHWISE || out->op == OP_POOL) {
        need = window_scratch(t);
    } else if (out->op == OP_MATRIX) {
        need = matrix_scratch(t);
    }
    if (need > MAX_SCRATCH) {
        t->direct = 1;
        need = 0;
    }
    *scratch = need > *scratch ? need : *scratch;
    const uint64_t w = work_of(out->op, t, MAX_COMMAND_WORK);
    if (w >= MAX_COMMAND_WORK) {
        return sim_fail(e, TPU_SIM_UNSUPPORTED, "the command is too large: %llu operations or more",
                        (unsigned long long)MAX_COMMAND_WORK);
    }
    *work += w;
    return TPU_SIM_OK;
}
