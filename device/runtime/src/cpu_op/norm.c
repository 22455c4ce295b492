/* instance_norm, roi_pooling (api/cvi_nn.md section 10.5). */
#include <math.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

/* ---- instance_norm: (x - m) / sqrt(v + eps) * scale[c] + bias[c], mean and variance per image and
 * channel. The vendor's formula differs unless scale = 1 and n = 1. ---- */

typedef struct {
  float epsilon;
} norm_state;

CVI_RC instance_norm_setup(cpu_call *call) {
  norm_state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? cpu_need(call, 3, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_float(call, "variance_epsilon", &s->epsilon);
  for (uint32_t i = 0; i < 3 && !rc; i++) {
    rc = cpu_need_fmt(call, &call->in[i], CVI_FMT_FP32, "input");
  }
  rc = rc ? rc : cpu_need_fmt(call, &call->out[0], CVI_FMT_FP32, "output");
  uint64_t channels = rc ? 0 : (uint64_t)call->in[0].dim[1];
  rc = rc ? rc : cpu_need_count(call, &call->in[1], channels, "scale");
  rc = rc ? rc : cpu_need_count(call, &call->in[2], channels, "bias");
  call->state = s;
  return rc ? rc : cpu_need_count(call, &call->out[0], call->in[0].count, "output");
}

CVI_RC instance_norm_run(cpu_call *call) {
  const norm_state *s = call->state;
  const cpu_tensor *in = &call->in[0];
  size_t channels = (size_t)in->dim[1], plane = (size_t)in->dim[2] * (size_t)in->dim[3];
  for (size_t p = 0; p < (size_t)in->dim[0] * channels; p++) {
    const float *x = (const float *)in->data + p * plane;
    float *out = (float *)call->out[0].data + p * plane;
    double mean = 0, variance = 0;
    for (size_t i = 0; i < plane; i++) {
      mean += x[i];
    }
    mean /= (double)plane;
    for (size_t i = 0; i < plane; i++) {
      variance += (x[i] - mean) * (x[i] - mean);
    }
    variance /= (double)plane;
    double factor = ((const float *)call->in[1].data)[p % channels] / sqrt(variance + s->epsilon);
    float bias = ((const float *)call->in[2].data)[p % channels];
    for (size_t i = 0; i < plane; i++) {
      out[i] = (float)((x[i] - mean) * factor + bias);
    }
  }
  return CVI_RC_SUCCESS;
}

/* ---- roi_pooling: data [n,c,h,w] and rois [n,1,R,5] (batch, x1, y1, x2, y2), in either order.
 * Corners round_half_away(v * spatial_scale); bin i covers [floor(i * size / p), ceil((i + 1) *
 * size / p)) + start, clipped; maximum starting from 0 (negative data give 0). ---- */

typedef struct {
  int32_t ph, pw;
  float scale;
  uint32_t data, rois; /* which input is which */
} roi_state;

CVI_RC roi_pooling_setup(cpu_call *call) {
  roi_state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? cpu_need(call, 2, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "pooled_h", &s->ph);
  rc = rc ? rc : cpu_arg_int(call, "pooled_w", &s->pw);
  rc = rc ? rc : cpu_arg_float(call, "spatial_scale", &s->scale);
  for (uint32_t i = 0; i < 2 && !rc; i++) {
    rc = cpu_need_fmt(call, &call->in[i], CVI_FMT_FP32, "input");
  }
  rc = rc ? rc : cpu_need_fmt(call, &call->out[0], CVI_FMT_FP32, "output");
  if (rc) {
    return rc;
  }
  s->rois = call->in[1].dim[1] == 1 && call->in[1].dim[3] == 5 ? 1 : 0;
  s->data = 1 - s->rois;
  const int32_t *rois = call->in[s->rois].dim, *data = call->in[s->data].dim;
  if (rois[1] != 1 || rois[3] != 5 || s->ph < 1 || s->pw < 1 || s->ph > 4096 || s->pw > 4096 ||
      data[2] < 1 || data[3] < 1) {
    return cpu_fail(call, "rois [%d, %d, %d, %d], pooled %d x %d", rois[0], rois[1], rois[2],
                    rois[3], s->ph, s->pw);
  }
  call->state = s;
  uint64_t regions = (uint64_t)rois[0] * (uint64_t)rois[2];
  return cpu_need_count(call, &call->out[0],
                        regions * (uint64_t)data[1] * (uint64_t)(s->ph * s->pw), "output");
}

/* Pixels [start, end) of bin i of p over `size` pixels from `first`, inside [0, limit). */
static void bin(int64_t i, int64_t p, float size, int64_t first, int64_t limit, int64_t *start,
                int64_t *end) {
  float step = size / (float)p;
  *start = (int64_t)floorf((float)i * step) + first;
  *end = (int64_t)ceilf((float)(i + 1) * step) + first;
  *start = *start < 0 ? 0 : *start > limit ? limit : *start;
  *end = *end < 0 ? 0 : *end > limit ? limit : *end;
}

/* A corner as an integer of bounded size. */
static int64_t corner(float v, float scale) {
  float r = roundf(v * scale);
  return r >= -1e6f && r <= 1e6f ? (int64_t)r : r > 0 ? 1000000 : -1000000; /* NaN: -1000000 */
}

static void pool_roi(const roi_state *s, const float *plane, const int32_t *dim, const float *roi,
                     float *out) {
  int64_t x1 = corner(roi[1], s->scale), y1 = corner(roi[2], s->scale);
  int64_t w = corner(roi[3], s->scale) - x1 + 1, h = corner(roi[4], s->scale) - y1 + 1;
  w = w > 1 ? w : 1;
  h = h > 1 ? h : 1;
  for (int64_t py = 0; py < s->ph; py++) {
    int64_t ys, ye;
    bin(py, s->ph, (float)h, y1, dim[2], &ys, &ye);
    for (int64_t px = 0; px < s->pw; px++) {
      int64_t xs, xe;
      bin(px, s->pw, (float)w, x1, dim[3], &xs, &xe);
      float top = 0.0f;
      for (int64_t y = ys; y < ye; y++) {
        for (int64_t x = xs; x < xe; x++) {
          float v = plane[y * dim[3] + x];
          top = v > top ? v : top;
        }
      }
      *out++ = top;
    }
  }
}

CVI_RC roi_pooling_run(cpu_call *call) {
  const roi_state *s = call->state;
  const cpu_tensor *data = &call->in[s->data], *rois = &call->in[s->rois];
  size_t channels = (size_t)data->dim[1], plane = (size_t)data->dim[2] * (size_t)data->dim[3];
  size_t count = (size_t)rois->dim[0] * (size_t)rois->dim[2];
  float *out = call->out[0].data;
  for (size_t r = 0; r < count; r++) {
    const float *roi = (const float *)rois->data + 5 * r;
    if (!(roi[0] >= 0 && roi[0] < (float)data->dim[0])) {
      return cpu_fail(call, "region %zu is in image %g of %d", r, (double)roi[0], data->dim[0]);
    }
    for (size_t c = 0; c < channels; c++, out += (size_t)s->ph * (size_t)s->pw) {
      pool_roi(s, (const float *)data->data + ((size_t)roi[0] * channels + c) * plane, data->dim,
               roi, out);
    }
  }
  return CVI_RC_SUCCESS;
}
