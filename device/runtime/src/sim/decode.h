/* Shared by the decoders (decode_*.c): conditions on fields; operands of the TIU word. */
#ifndef TPUFORGE_SIM_DECODE_H
#define TPUFORGE_SIM_DECODE_H

#include "internal.h"

#define MAX_DIM 4063u
#define BAD(...) return sim_fail(e, TPU_SIM_BAD_STREAM, __VA_ARGS__)
#define NEED(field, cond)                                                                          \
  do {                                                                                             \
    if (!(cond)) {                                                                                 \
      BAD("field " #field " = %lld, needed: %s", (long long)f->field, #cond);                      \
    }                                                                                              \
  } while (0)
#define TRY(call)                                                                                  \
  do {                                                                                             \
    const int rc_ = (call);                                                                        \
    if (rc_ != TPU_SIM_OK) {                                                                       \
      return rc_;                                                                                  \
    }                                                                                              \
  } while (0)

/* The fields of one operand. */
typedef struct {
  const char *name;
  uint32_t addr, code, n, c, h, w, ns, cs, hs, ws, bs, is_signed, seg;
} raw_operand;

#define RAW(x, N, C, H, W)                                                                         \
  {.name = #x,                                                                                     \
   .addr = f->x##_addr,                                                                            \
   .code = f->short_##x##_str,                                                                     \
   .n = (N),                                                                                       \
   .c = (C),                                                                                       \
   .h = (H),                                                                                       \
   .w = (W),                                                                                       \
   .ns = f->x##_n_str,                                                                             \
   .cs = f->x##_c_str,                                                                             \
   .hs = f->x##_h_str,                                                                             \
   .ws = f->x##_w_str,                                                                             \
   .bs = f->x##_b_str,                                                                             \
   .is_signed = f->opt_##x##_sign,                                                                 \
   .seg = f->opt_##x##_seg}

/* Resolve lane, offset and stride code; planes > 0: check the range of that many planes. */
int make_operand(const chip_info *chip, const raw_operand *r, uint32_t size, uint32_t planes,
                 operand *o, const err_ctx *e);
/* The last byte of `planes` planes of `size`-byte elements must lie in the lane. */
int check_local(const chip_info *chip, const char *name, const operand *o, uint32_t size,
                uint32_t planes, const err_ctx *e);
/* Distance of 16-bit planes. */
int check_planes(const operand *o, const char *name, const err_ctx *e);
/* Section 2.4: the result's sign follows the operands', relu wants a signed 8-bit result. */
int check_signs(const cv_tiu *f, int relu_possible, int shift_typ, const err_ctx *e);
/* Shift or quantised multiplication and its clamp; t->res and t->relu are set. */
int set_post(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, int quant, const err_ctx *e);
int32_t constant_of(const cv_tiu *f, int wide, int is_signed);
/* Fix the bytes of the lanes that the command writes, from t->res.off on. */
void note_write(const chip_info *chip, tiu_cmd *t, uint32_t size, uint32_t planes);
/* Note a byte range of the lanes that the command reads; the result may not change it too soon. */
void note_read(tiu_cmd *t, uint64_t first, uint64_t end);
/* Bytes from the first to one behind the last of one plane, in a lane. */
uint64_t plane_extent(const chip_info *chip, const operand *o, uint32_t size);

int decode_arith(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e);
int decode_lookup(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e);
int decode_mdsum(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e);
int decode_conv(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e);
int decode_depthwise(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e);
int decode_pool(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, int average, const err_ctx *e);
int decode_matrix(const chip_info *chip, const cv_tiu *f, tiu_cmd *t, const err_ctx *e);

#endif
