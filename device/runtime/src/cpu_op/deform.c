/* deform_im2col, deform_conv2d (api/cvi_nn.md section 10.5).
 *
 * Column (c, i, j) at output (y, x): point (y*sh - pt + i*dh + off_h, x*sw - pl + j*dw + off_w),
 * the offsets are channels 2(i*kw + j) and + 1 of group c / (C / g); bilinear with zero outside, 0
 * unless -1 < point < size; times the mask. deform_conv2d: weight * columns + bias.
 */
#include <math.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

typedef struct {
  int32_t kh, kw, sh, sw, pad_t, pad_l, dh, dw, groups;
  size_t oh, ow;
  const cpu_tensor *offsets, *mask;
  float *columns; /* of one image, for deform_conv2d */
  size_t rows;    /* C * kh * kw */
} state;

static CVI_RC read_args(cpu_call *call, state *s, bool kernel) {
  CVI_RC rc = CVI_RC_SUCCESS;
  if (kernel) {
    rc = cpu_arg_int(call, "kernel_h", &s->kh);
    rc = rc ? rc : cpu_arg_int(call, "kernel_w", &s->kw);
  }
  rc = rc ? rc : cpu_arg_int(call, "stride_h", &s->sh);
  rc = rc ? rc : cpu_arg_int(call, "stride_w", &s->sw);
  rc = rc ? rc : cpu_arg_int(call, "padding_t", &s->pad_t);
  rc = rc ? rc : cpu_arg_int(call, "padding_l", &s->pad_l);
  rc = rc ? rc : cpu_arg_int(call, "dilation_h", &s->dh);
  rc = rc ? rc : cpu_arg_int(call, "dilation_w", &s->dw);
  return rc ? rc : cpu_arg_int(call, "deform_group", &s->groups);
}

/* Output size in one direction, 0 if there is none. */
static size_t out_size(int32_t in, int32_t k, int32_t stride, int32_t pad, int32_t dilation) {
  int64_t room = (int64_t)in + 2 * (int64_t)pad - ((int64_t)dilation * (k - 1) + 1);
  return room < 0 ? 0 : (size_t)(room / stride + 1);
}

static CVI_RC check(cpu_call *call, state *s, uint32_t offsets, uint32_t mask) {
  const int32_t *in = call->in[0].dim;
  const int32_t most = 1 << 15; /* of kernel, stride, padding, dilation */
  int32_t values[] = {s->kh, s->kw,     s->sh,        s->sw,       s->dh,
                      s->dw, s->groups, s->pad_t + 1, s->pad_l + 1};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    if (values[i] < 1 || values[i] > most) {
      return cpu_fail(call, "kernel, stride, padding, dilation or group %d", values[i]);
    }
  }
  if (in[1] % s->groups) {
    return cpu_fail(call, "%d channels in %d groups", in[1], s->groups);
  }
  s->oh = out_size(in[2], s->kh, s->sh, s->pad_t, s->dh);
  s->ow = out_size(in[3], s->kw, s->sw, s->pad_l, s->dw);
  s->offsets = &call->in[offsets];
  s->mask = &call->in[mask];
  uint64_t taps = (uint64_t)s->kh * (uint64_t)s->kw; /* <= 2^30 */
  uint64_t area = (uint64_t)s->oh * s->ow;
  if (area == 0) { /* nothing to compute, and no tensor that bounds the taps */
    return cpu_fail(call, "kernel %d x %d does not fit %d x %d", s->kh, s->kw, in[2], in[3]);
  }
  if (taps * (uint64_t)s->groups > INT32_MAX || area > INT32_MAX ||
      taps * (uint64_t)in[1] > INT32_MAX) {
    return cpu_fail(call, "output of %zu x %zu with %llu taps", s->oh, s->ow,
                    (unsigned long long)taps);
  }
  s->rows = (size_t)(taps * (uint64_t)in[1]);
  uint64_t points = taps * (uint64_t)s->groups; /* < 2^31, as area: products below 2^62 */
  uint64_t n = (uint64_t)in[0];
  if (n && points * area > UINT64_MAX / 4 / n) {
    return cpu_fail(call, "batch %d is too large", in[0]);
  }
  CVI_RC rc = cpu_need_count(call, s->offsets, 2 * n * points * area, "offsets");
  rc = rc ? rc : cpu_need_count(call, s->mask, n * points * area, "mask");
  for (uint32_t i = 0; i < call->in_count && !rc; i++) {
    rc = cpu_need_fmt(call, &call->in[i], CVI_FMT_FP32, "input");
  }
  return rc ? rc : cpu_need_fmt(call, &call->out[0], CVI_FMT_FP32, "output");
}

CVI_RC deform_im2col_setup(cpu_call *call) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? cpu_need(call, 3, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : read_args(call, s, true);
  rc = rc ? rc : check(call, s, 1, 2);
  call->state = s;
  /* rows < 2^31 and area < 2^31; the batch is bounded by the offsets */
  uint64_t image = rc ? 0 : (uint64_t)s->rows * s->oh * s->ow;
  if (!rc && image > call->out[0].count) {
    rc = cpu_need_count(call, &call->out[0], image, "output");
  }
  return rc ? rc
            : cpu_need_count(call, &call->out[0], image * (uint64_t)call->in[0].dim[0], "output");
}

CVI_RC deform_conv2d_setup(cpu_call *call) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? cpu_need(call, 5, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : read_args(call, s, false);
  if (rc) {
    return rc;
  }
  const cpu_tensor *weight = &call->in[1];
  s->kh = weight->dim[2];
  s->kw = weight->dim[3];
  rc = check(call, s, 3, 4);
  uint64_t oc = (uint64_t)weight->dim[0];
  rc = rc ? rc : cpu_need_count(call, weight, oc * s->rows, "weight");
  rc = rc ? rc : cpu_need_count(call, &call->in[2], oc, "bias");
  uint64_t area = rc ? 0 : (uint64_t)s->oh * s->ow;
  if (!rc && oc * area > call->out[0].count) {
    rc = cpu_need_count(call, &call->out[0], oc * area, "output");
  }
  rc = rc ? rc
          : cpu_need_count(call, &call->out[0], oc * area * (uint64_t)call->in[0].dim[0], "output");
  s->columns = rc || (s->rows && area > INT32_MAX / s->rows)
                   ? NULL
                   : cpu_alloc(call, s->rows * (size_t)area, sizeof(float));
  call->state = s;
  return rc ? rc : s->columns ? CVI_RC_SUCCESS : rt_fail(CVI_RC_NOMEM, "deform_conv2d: columns");
}

static float bilinear(const float *plane, int32_t h, int32_t w, float y, float x) {
  if (!(y > -1 && x > -1 && y < (float)h && x < (float)w)) {
    return 0.0f;
  }
  int32_t y0 = (int32_t)floorf(y), x0 = (int32_t)floorf(x), y1 = y0 + 1, x1 = x0 + 1;
  float b = y - (float)y0, d = x - (float)x0, a = 1 - b, c = 1 - d;
  float v1 = y0 >= 0 && x0 >= 0 ? plane[(int64_t)y0 * w + x0] : 0;
  float v2 = y0 >= 0 && x1 < w ? plane[(int64_t)y0 * w + x1] : 0;
  float v3 = y1 < h && x0 >= 0 ? plane[(int64_t)y1 * w + x0] : 0;
  float v4 = y1 < h && x1 < w ? plane[(int64_t)y1 * w + x1] : 0;
  return a * c * v1 + a * d * v2 + b * c * v3 + b * d * v4;
}

/* Row (c, i, j) of the columns of image n. */
static void column_row(const cpu_call *call, const state *s, size_t n, size_t row, float *out) {
  const cpu_tensor *in = &call->in[0];
  size_t taps = (size_t)s->kh * (size_t)s->kw, area = s->oh * s->ow;
  size_t c = row / taps, tap = row % taps;
  size_t group = c / (size_t)(in->dim[1] / s->groups);
  size_t point = (n * (size_t)s->groups + group) * taps + tap;
  const float *off_h = (const float *)s->offsets->data + 2 * point * area, *off_w = off_h + area;
  const float *mask = (const float *)s->mask->data + point * area;
  const float *plane = (const float *)in->data +
                       (n * (size_t)in->dim[1] + c) * (size_t)in->dim[2] * (size_t)in->dim[3];
  int64_t i = (int64_t)(tap / (size_t)s->kw), j = (int64_t)(tap % (size_t)s->kw);
  for (size_t p = 0; p < area; p++) {
    int64_t y = (int64_t)(p / s->ow) * s->sh - s->pad_t + i * s->dh;
    int64_t x = (int64_t)(p % s->ow) * s->sw - s->pad_l + j * s->dw;
    out[p] =
        bilinear(plane, in->dim[2], in->dim[3], (float)y + off_h[p], (float)x + off_w[p]) * mask[p];
  }
}

CVI_RC deform_im2col_run(cpu_call *call) {
  const state *s = call->state;
  float *out = call->out[0].data;
  for (size_t n = 0; n < (size_t)call->in[0].dim[0]; n++) {
    for (size_t row = 0; row < s->rows; row++, out += s->oh * s->ow) {
      column_row(call, s, n, row, out);
    }
  }
  return CVI_RC_SUCCESS;
}

CVI_RC deform_conv2d_run(cpu_call *call) {
  const state *s = call->state;
  size_t area = s->oh * s->ow, oc = (size_t)call->in[1].dim[0];
  const float *weight = call->in[1].data, *bias = call->in[2].data;
  float *out = call->out[0].data;
  for (size_t n = 0; n < (size_t)call->in[0].dim[0]; n++) {
    for (size_t row = 0; row < s->rows; row++) {
      column_row(call, s, n, row, s->columns + row * area);
    }
    for (size_t o = 0; o < oc; o++, out += area) {
      for (size_t p = 0; p < area; p++) {
        out[p] = 0.0f;
      }
      for (size_t row = 0; row < s->rows; row++) {
        float w = weight[o * s->rows + row];
        for (size_t p = 0; p < area; p++) {
          out[p] += w * s->columns[row * area + p];
        }
      }
      for (size_t p = 0; p < area; p++) {
        out[p] += bias[o];
      }
    }
  }
  return CVI_RC_SUCCESS;
}
