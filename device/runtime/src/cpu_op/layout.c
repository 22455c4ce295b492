/* preprocess, transpose, pixelshuffle (api/cvi_nn.md section 10.1). */
#include <string.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

static size_t plane_of(const cpu_tensor *t) { return (size_t)t->dim[2] * (size_t)t->dim[3]; }

/* ---- preprocess: o[:, order[j]] = i[:, j], then v * raw_scale (if != 0), - mean[c] (if there are
 * means), * scale, each in fp32 ---- */

typedef struct {
  float scale, raw_scale;
  const float *mean;
  const int32_t *order;
  uint32_t mean_count, order_count;
} preprocess_state;

CVI_RC preprocess_setup(cpu_call *call) {
  preprocess_state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? cpu_need(call, 1, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_float(call, "scale", &s->scale);
  rc = rc ? rc : cpu_arg_float(call, "raw_scale", &s->raw_scale);
  rc = rc ? rc : cpu_arg_floats(call, "mean", &s->mean, &s->mean_count);
  rc = rc ? rc : cpu_arg_ints(call, "color_order", &s->order, &s->order_count);
  rc = rc ? rc : cpu_need_fmt(call, &call->in[0], CVI_FMT_FP32, "input");
  rc = rc ? rc : cpu_need_fmt(call, &call->out[0], CVI_FMT_FP32, "output");
  rc = rc ? rc : cpu_need_count(call, &call->out[0], call->in[0].count, "output");
  if (rc) {
    return rc;
  }
  uint32_t channels = (uint32_t)call->in[0].dim[1];
  if ((s->mean_count && s->mean_count < channels) ||
      (s->order_count && s->order_count != channels)) {
    return cpu_fail(call, "%u means, color_order of %u for %u channels", s->mean_count,
                    s->order_count, channels);
  }
  for (uint32_t j = 0; j < s->order_count; j++) {
    if (s->order[j] < 0 || (uint32_t)s->order[j] >= channels) {
      return cpu_fail(call, "color_order[%u] is %d of %u channels", j, s->order[j], channels);
    }
  }
  call->state = s;
  return CVI_RC_SUCCESS;
}

CVI_RC preprocess_run(cpu_call *call) {
  const preprocess_state *s = call->state;
  const cpu_tensor *in = &call->in[0];
  size_t channels = (size_t)in->dim[1], plane = plane_of(in);
  for (size_t n = 0; n < (size_t)in->dim[0]; n++) {
    for (size_t j = 0; j < channels; j++) {
      size_t c = s->order_count ? (size_t)s->order[j] : j;
      const float *from = (const float *)in->data + (n * channels + j) * plane;
      float *to = (float *)call->out[0].data + (n * channels + c) * plane;
      float raw = s->raw_scale != 0.0f ? s->raw_scale : 1.0f;
      float mean = s->mean_count ? s->mean[c] : 0.0f;
      for (size_t i = 0; i < plane; i++) {
        to[i] = (from[i] * raw - mean) * s->scale;
      }
    }
  }
  return CVI_RC_SUCCESS;
}

/* ---- transpose: o0 [n,c,h,w] from i0 stored as [n,h,w,c] ---- */

CVI_RC transpose_setup(cpu_call *call) {
  CVI_RC rc = cpu_need(call, 1, 1);
  rc = rc ? rc : cpu_need_fmt(call, &call->in[0], call->out[0].fmt, "input");
  return rc ? rc : cpu_need_count(call, &call->in[0], call->out[0].count, "input");
}

CVI_RC transpose_run(cpu_call *call) {
  const cpu_tensor *out = &call->out[0];
  size_t channels = (size_t)out->dim[1], plane = plane_of(out), elem = cpu_elem_size(out->fmt);
  uint8_t *to = out->data;
  for (size_t n = 0; n < (size_t)out->dim[0]; n++) {
    const uint8_t *image = (const uint8_t *)call->in[0].data + n * channels * plane * elem;
    for (size_t c = 0; c < channels; c++) {
      for (size_t i = 0; i < plane; i++, to += elem) {
        memcpy(to, image + (i * channels + c) * elem, elem);
      }
    }
  }
  return CVI_RC_SUCCESS;
}

/* ---- pixelshuffle, r = upscale_factor:
 * DCR: o[n, q mod oc, y*r + (q/oc)/r, x*r + (q/oc) mod r] = i[n,q,y,x]
 * CRD: o[n, q/(r*r), y*r + (q mod r*r)/r, x*r + q mod r]   = i[n,q,y,x]  (the vendor has DCR only)
 */

typedef struct {
  size_t r;
  bool dcr;
} shuffle_state;

CVI_RC pixelshuffle_setup(cpu_call *call) {
  shuffle_state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t factor = 0;
  const char *mode = NULL;
  CVI_RC rc = s ? cpu_need(call, 1, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "upscale_factor", &factor);
  rc = rc ? rc : cpu_arg_string(call, "mode", &mode);
  rc = rc ? rc : cpu_need_fmt(call, &call->in[0], call->out[0].fmt, "input");
  if (rc) {
    return rc;
  }
  const int32_t *i = call->in[0].dim, *o = call->out[0].dim;
  int64_t r = factor;
  if (r < 1 || r > 4096 || i[0] != o[0] || i[1] != o[1] * r * r || o[2] != i[2] * r ||
      o[3] != i[3] * r) {
    return cpu_fail(call, "upscale_factor %d does not fit the shapes", factor);
  }
  if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0) {
    return cpu_fail(call, "mode '%.20s' is neither DCR nor CRD", mode);
  }
  s->r = (size_t)r;
  s->dcr = mode[0] == 'D';
  call->state = s;
  return CVI_RC_SUCCESS;
}

CVI_RC pixelshuffle_run(cpu_call *call) {
  const shuffle_state *s = call->state;
  const cpu_tensor *in = &call->in[0], *out = &call->out[0];
  size_t r = s->r, oc = (size_t)out->dim[1], elem = cpu_elem_size(in->fmt);
  size_t oh = (size_t)out->dim[2], ow = (size_t)out->dim[3];
  const uint8_t *from = in->data;
  for (size_t n = 0; n < (size_t)in->dim[0]; n++) {
    for (size_t q = 0; q < (size_t)in->dim[1]; q++) {
      size_t c = s->dcr ? q % oc : q / (r * r);
      size_t block = s->dcr ? q / oc : q % (r * r);
      for (size_t y = 0; y < (size_t)in->dim[2]; y++) {
        size_t row = ((n * oc + c) * oh + y * r + block / r) * ow + block % r;
        for (size_t x = 0; x < (size_t)in->dim[3]; x++, from += elem) {
          memcpy((uint8_t *)out->data + (row + x * r) * elem, from, elem);
        }
      }
    }
  }
  return CVI_RC_SUCCESS;
}
