/* Operands of the TIU word, checked: shapes, strides, ranges in local memory, signs
 * (hw/cv18xx-tiu.md). */

#include "decode.h"

uint64_t plane_extent(const chip_info *chip, const operand *o, uint32_t size) {
  const uint64_t groups = ((uint32_t)o->lane + o->c - 1) / chip->lanes;
  return (uint64_t)(o->n - 1u) * o->ns + groups * o->cs + (uint64_t)(o->h - 1u) * o->hs +
         (uint64_t)(o->w - 1u) * o->ws + size;
}

int check_local(const chip_info *chip, const char *name, const operand *o, uint32_t size,
                uint32_t planes, const err_ctx *e) {
  const uint64_t last = o->off + plane_extent(chip, o, size) + (uint64_t)(planes - 1u) * o->bs - 1u;
  if (last >= LANE_BYTES) {
    return sim_fail(e, TPU_SIM_RANGE,
                    "%s (%u, %u, %u, %u) ends at byte %llu of its lane, which has %u", name, o->n,
                    o->c, o->h, o->w, (unsigned long long)last + 1, LANE_BYTES);
  }
  return TPU_SIM_OK;
}

int make_operand(const chip_info *chip, const raw_operand *r, uint32_t size, uint32_t planes,
                 operand *o, const err_ctx *e) {
  if (r->n == 0 || r->c == 0 || r->h == 0 || r->w == 0) {
    BAD("%s has shape (%u, %u, %u, %u), every dimension must be at least 1", r->name, r->n, r->c,
        r->h, r->w);
  }
  if (r->addr / LANE_BYTES >= chip->lanes) {
    return sim_fail(e, TPU_SIM_RANGE, "field %s_addr = 0x%x is outside local memory (%u lanes)",
                    r->name, r->addr, chip->lanes);
  }
  *o = (operand){.off = r->addr % LANE_BYTES,
                 .lane = (uint8_t)(r->addr / LANE_BYTES),
                 .n = (uint16_t)r->n,
                 .c = (uint16_t)r->c,
                 .h = (uint16_t)r->h,
                 .w = (uint16_t)r->w,
                 .is_signed = (uint8_t)r->is_signed,
                 .wide = r->seg == 0,
                 .ns = r->ns,
                 .cs = r->cs,
                 .hs = r->hs,
                 .ws = r->ws,
                 .bs = r->bs};
  const uint64_t plane = (uint64_t)r->h * r->w * size;
  if (r->code != 3) {
    if (plane > LANE_BYTES) {
      return sim_fail(e, TPU_SIM_RANGE, "%s: one channel of %u x %u does not fit a lane", r->name,
                      r->h, r->w);
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

int check_planes(const operand *o, const char *name, const err_ctx *e) {
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

int set_post(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, int quant, const err_ctx *e) {
  int32_t s = f->opt_res_shift;
  t->post.quant = (uint8_t)quant;
  t->post.round = (uint8_t)f->opt_rshift_typ;
  t->post.arith = (uint8_t)f->opt_shift_typ;
  t->post.mult = (int32_t)f->quan_m;
  if (s < 0 && !(quant && chip->gen_b)) {
    BAD("field opt_res_shift = %d: left shifts exist only in quantised multiplication", s);
  }
  t->post.shift = (int8_t)s;
  set_limits(t);
  return TPU_SIM_OK;
}

int32_t constant_of(const cv_tiu *f, int wide, int is_signed) {
  const uint32_t v = f->opd1_addr;
  if (wide) {
    return is_signed ? (int16_t)v : (int32_t)v;
  }
  return is_signed ? (int8_t)v : (int32_t)(v & 255);
}

int check_signs(const cv_tiu *f, int relu_possible, int shift_typ, const err_ctx *e) {
  NEED(tsk_opd_num, f->tsk_opd_num >= 1);
  const uint32_t any_signed = f->opt_opd0_sign | (f->tsk_opd_num >= 2 && f->opt_opd1_sign) |
                              (f->tsk_opd_num >= 3 && f->opt_opd2_sign);
  if (relu_possible && f->opt_relu_typ) {
    NEED(opt_relu_typ, any_signed == 1 && f->opt_res0_seg != 0);
  } else {
    NEED(opt_res0_sign, f->opt_res0_sign == any_signed);
  }
  if (shift_typ) {
    NEED(opt_shift_typ, f->opt_shift_typ == any_signed);
  }
  return TPU_SIM_OK;
}

int dims_overlap(uint64_t (*dim)[2], int dims, uint64_t extent) {
  for (int i = 0; i < dims; i++) {
    int least = i;
    for (int k = i + 1; k < dims; k++) {
      least = dim[k][0] < dim[least][0] ? k : least;
    }
    const uint64_t stride = dim[least][0], count = dim[least][1];
    dim[least][0] = dim[i][0];
    dim[least][1] = dim[i][1];
    if (count > 1) {
      if (stride < extent) {
        return 1;
      }
      extent += stride * (count - 1);
    }
  }
  return 0;
}

static int result_overlaps(const chip_info *chip, const tiu_cmd *t, uint32_t size,
                           uint32_t planes) {
  const operand *r = &t->res;
  const uint32_t groups = (r->lane + r->c - 1u) / chip->lanes + 1;
  uint64_t dim[5][2] = {
      {r->ws, r->w}, {r->hs, r->h}, {r->cs, groups}, {r->ns, r->n}, {r->bs, planes}};
  return dims_overlap(dim, 5, size);
}

void note_write(const chip_info *chip, tiu_cmd *t, uint32_t size, uint32_t planes) {
  if (result_overlaps(chip, t, size, planes)) {
    t->snapshot = t->direct = 1; /* exact order of reads and writes */
  }
  t->write_bytes = (uint32_t)plane_extent(chip, &t->res, size);
  t->write_planes = (uint8_t)planes;
}

void note_read(tiu_cmd *t, uint64_t first, uint64_t end) {
  for (uint32_t i = 0; i < t->write_planes; i++) {
    const uint64_t start = (uint64_t)t->res.off + (uint64_t)i * t->res.bs;
    t->snapshot |= first < start + t->write_bytes && start < end;
  }
}
