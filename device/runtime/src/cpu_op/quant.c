/* quant: conversions between fp32 and int8 or bf16 (api/cvi_nn.md section 10.1).
 *
 * to == "NONE":   int8 -> fp32: o = i * scale (threshold t: scale = t / 128)
 *                 bf16 -> fp32: bits << 16
 * otherwise:      fp32 -> int8: o = clamp(round_half_away(i * s), -128, 127), s = scale or 128 / t
 *                 fp32 -> bf16: upper 16 bits of fp32(i * 1.001957)
 * from == "NONE" and to == "INT8" also sets the qscale of the output to s (cvimodel.md 7.1).
 */
#include <string.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

typedef enum { INT8_TO_FLOAT, BF16_TO_FLOAT, FLOAT_TO_INT8, FLOAT_TO_BF16, BAD } conversion;

static conversion kind(const cpu_call *call, bool to_float) {
  CVI_FMT in = call->in[0].fmt, out = call->out[0].fmt;
  if (to_float && out == CVI_FMT_FP32) {
    return in == CVI_FMT_INT8 ? INT8_TO_FLOAT : in == CVI_FMT_BF16 ? BF16_TO_FLOAT : BAD;
  }
  if (!to_float && in == CVI_FMT_FP32) {
    return out == CVI_FMT_INT8 ? FLOAT_TO_INT8 : out == CVI_FMT_BF16 ? FLOAT_TO_BF16 : BAD;
  }
  return BAD;
}

typedef struct {
  conversion kind;
  float scale;
} state;

CVI_RC quant_setup(cpu_call *call) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  const char *from = NULL, *to = NULL;
  float value = 0;
  CVI_RC rc = s ? cpu_need(call, 1, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_string(call, "from", &from);
  rc = rc ? rc : cpu_arg_string(call, "to", &to);
  if (rc) {
    return rc;
  }
  bool to_float = strcmp(to, "NONE") == 0;
  s->kind = kind(call, to_float);
  if (s->kind == BAD) {
    return cpu_fail(call, "from data type %d to %d (to = '%.20s')", call->in[0].fmt,
                    call->out[0].fmt, to);
  }
  if (cpu_arg_exists(call, "scale")) {
    rc = cpu_arg_float(call, "scale", &s->scale);
  } else {
    rc = cpu_arg_float(call, "threshold", &value);
    s->scale = to_float ? value / 128.0f : 128.0f / value;
  }
  rc = rc ? rc : cpu_need_count(call, &call->out[0], call->in[0].count, "output");
  if (!rc && strcmp(from, "NONE") == 0 && strcmp(to, "INT8") == 0) {
    call->out[0].qscale = s->scale;
  }
  call->state = s;
  return rc;
}

static void float_to_bf16(const float *in, uint16_t *out, size_t count) {
  for (size_t i = 0; i < count; i++) {
    union {
      float f;
      uint32_t u;
    } v = {.f = in[i] * 1.001957f};
    out[i] = (uint16_t)(v.u >> 16);
  }
}

CVI_RC quant_run(cpu_call *call) {
  const state *s = call->state;
  const void *in = call->in[0].data;
  void *out = call->out[0].data;
  size_t count = (size_t)call->in[0].count;
  switch (s->kind) {
  case INT8_TO_FLOAT:
    for (size_t i = 0; i < count; i++) {
      ((float *)out)[i] = (float)((const int8_t *)in)[i] * s->scale;
    }
    break;
  case BF16_TO_FLOAT:
    for (size_t i = 0; i < count; i++) {
      ((float *)out)[i] = cpu_bf16_to_float(((const uint16_t *)in)[i]);
    }
    break;
  case FLOAT_TO_INT8:
    for (size_t i = 0; i < count; i++) {
      ((int8_t *)out)[i] = cpu_round_int8(((const float *)in)[i] * s->scale);
    }
    break;
  default:
    float_to_bf16(in, out, count);
    break;
  }
  return CVI_RC_SUCCESS;
}
