/* softmax, cpu_reduce_mean, cpu_reduce_max, reduce_l2, cumsum (api/cvi_nn.md section 10.2). */
#include <math.h>
#include <string.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

/* ---- softmax over an axis: e = exp(x - max), e / sum(e), sums in ascending order.
 * The vendor starts every maximum from outer index 0; this one takes the real maximum. ---- */

typedef struct {
  cpu_split split;
} axis_state;

static CVI_RC axis_setup(cpu_call *call, CVI_FMT fmt) {
  axis_state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t axis = 0;
  unsigned index = 0;
  CVI_RC rc = s ? cpu_need(call, 1, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "axis", &axis);
  rc = rc ? rc : cpu_axis(call, axis >= 0 ? axis % 4 : axis, &index);
  rc = rc ? rc : cpu_need_fmt(call, &call->in[0], fmt, "input");
  rc = rc ? rc : cpu_need_fmt(call, &call->out[0], fmt, "output");
  rc = rc ? rc : cpu_need_count(call, &call->out[0], call->in[0].count, "output");
  if (!rc) {
    s->split = cpu_split_at(&call->in[0], index);
    call->state = s;
  }
  return rc;
}

CVI_RC softmax_setup(cpu_call *call) { return axis_setup(call, CVI_FMT_FP32); }

static void softmax_row(const float *in, float *out, size_t length, size_t stride) {
  float top = -INFINITY, sum = 0.0f;
  for (size_t i = 0; i < length; i++) {
    top = in[i * stride] > top ? in[i * stride] : top;
  }
  for (size_t i = 0; i < length; i++) {
    out[i * stride] = expf(in[i * stride] - top);
    sum += out[i * stride];
  }
  for (size_t i = 0; i < length; i++) {
    out[i * stride] /= sum;
  }
}

CVI_RC softmax_run(cpu_call *call) {
  const cpu_split *s = &((axis_state *)call->state)->split;
  for (size_t outer = 0; outer < s->outer; outer++) {
    for (size_t inner = 0; inner < s->inner; inner++) {
      size_t at = outer * s->length * s->inner + inner;
      softmax_row((const float *)call->in[0].data + at, (float *)call->out[0].data + at, s->length,
                  s->inner);
    }
  }
  return CVI_RC_SUCCESS;
}

/* ---- cumsum: o[k] = o[k - 1] + i[k] along the axis ---- */

CVI_RC cumsum_setup(cpu_call *call) { return axis_setup(call, CVI_FMT_FP32); }

CVI_RC cumsum_run(cpu_call *call) {
  const cpu_split *s = &((axis_state *)call->state)->split;
  const float *in = call->in[0].data;
  float *out = call->out[0].data;
  for (size_t outer = 0; outer < s->outer; outer++) {
    for (size_t k = 0; k < s->length; k++) {
      size_t at = (outer * s->length + k) * s->inner;
      for (size_t inner = 0; inner < s->inner; inner++) {
        float before = k ? out[at + inner - s->inner] : 0.0f;
        out[at + inner] = k ? before + in[at + inner] : in[at + inner];
      }
    }
  }
  return CVI_RC_SUCCESS;
}

/* ---- reductions over a list of axes, one axis after the other ----
 * mean: ordered sum / length; integers are summed in 64 bits and the quotient is truncated (the
 *       vendor sums 8-bit tensors in uint8, which wraps)
 * l2:   sqrt(sum), where every step sum = fp32(sum + x * x) rounds once
 * max:  signed for int8 (the vendor compares int8 as uint8). If the output has the size of a
 *       reduction over the first axis only, only that one is done, as the vendor always does. */

typedef enum { MEAN, L2, MAX } reduction;

typedef struct {
  reduction kind;
  unsigned axes[4];
  uint32_t axis_count;
  double *work; /* holds fp32 and 8-bit values exactly */
} reduce_state;

static uint64_t reduced_count(const cpu_tensor *t, const unsigned *axes, uint32_t count) {
  uint64_t result = 1;
  for (unsigned i = 0; i < 4; i++) {
    bool gone = false;
    for (uint32_t a = 0; a < count; a++) {
      gone |= axes[a] == i;
    }
    result *= gone ? 1 : (uint64_t)t->dim[i];
  }
  return result;
}

static CVI_RC read_axes(cpu_call *call, reduce_state *s) {
  const int32_t *axes = NULL;
  uint32_t count = 0;
  CVI_RC rc = cpu_arg_ints(call, "axes", &axes, &count);
  if (!rc && (count == 0 || count > 4)) {
    rc = cpu_fail(call, "%u axes of 4 dimensions", count);
  }
  for (uint32_t i = 0; i < count && !rc; i++) {
    rc = cpu_axis(call, axes[i], &s->axes[i]);
    if (!rc && call->in[0].dim[s->axes[i]] == 0) {
      rc = cpu_fail(call, "axis %d has length 0", axes[i]);
    }
  }
  s->axis_count = count;
  return rc;
}

static CVI_RC reduce_setup(cpu_call *call, reduction kind) {
  reduce_state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? cpu_need(call, 1, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : read_axes(call, s);
  if (rc) {
    return rc;
  }
  const cpu_tensor *in = &call->in[0], *out = &call->out[0];
  bool byte = in->fmt == CVI_FMT_INT8 || in->fmt == CVI_FMT_UINT8;
  if (in->fmt != out->fmt || (in->fmt != CVI_FMT_FP32 && (!byte || kind == L2))) {
    return cpu_fail(call, "data types %d and %d", in->fmt, out->fmt);
  }
  if (kind == MAX && out->count == reduced_count(in, s->axes, 1)) {
    s->axis_count = 1;
  }
  if (out->count != reduced_count(in, s->axes, s->axis_count)) {
    return cpu_fail(call, "output has %llu elements, not the reduced shape's %llu",
                    (unsigned long long)out->count,
                    (unsigned long long)reduced_count(in, s->axes, s->axis_count));
  }
  s->kind = kind;
  s->work = cpu_alloc(call, (size_t)in->count, sizeof(double));
  call->state = s;
  return s->work ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
}

CVI_RC cpu_reduce_mean_setup(cpu_call *call) { return reduce_setup(call, MEAN); }
CVI_RC cpu_reduce_max_setup(cpu_call *call) { return reduce_setup(call, MAX); }
CVI_RC reduce_l2_setup(cpu_call *call) { return reduce_setup(call, L2); }

/* One output value. fp32 is accumulated in fp32, in order. */
static double reduce_row(const double *in, size_t length, size_t stride, reduction kind,
                         bool real) {
  if (kind == MAX) {
    double top = in[0];
    for (size_t i = 1; i < length; i++) {
      top = in[i * stride] > top ? in[i * stride] : top;
    }
    return top;
  }
  if (!real) {
    int64_t sum = 0;
    for (size_t i = 0; i < length; i++) {
      sum += (int64_t)in[i * stride];
    }
    return (double)(sum / (int64_t)length);
  }
  float sum = 0.0f;
  for (size_t i = 0; i < length; i++) {
    float v = (float)in[i * stride];
    sum = kind == L2 ? (float)((double)sum + (double)v * (double)v) : sum + v;
  }
  return kind == L2 ? sqrtf(sum) : sum / (float)length;
}

/* In place: output positions never pass the inputs still needed. */
static void reduce_axis(double *work, const cpu_split *s, reduction kind, bool real) {
  for (size_t outer = 0; outer < s->outer; outer++) {
    for (size_t inner = 0; inner < s->inner; inner++) {
      work[outer * s->inner + inner] =
          reduce_row(work + outer * s->length * s->inner + inner, s->length, s->inner, kind, real);
    }
  }
}

static void load(const cpu_tensor *t, double *work) {
  for (size_t i = 0; i < (size_t)t->count; i++) {
    work[i] = t->fmt == CVI_FMT_FP32   ? (double)((const float *)t->data)[i]
              : t->fmt == CVI_FMT_INT8 ? (double)((const int8_t *)t->data)[i]
                                       : (double)((const uint8_t *)t->data)[i];
  }
}

static CVI_RC reduce_run(cpu_call *call) {
  const reduce_state *s = call->state;
  const cpu_tensor *out = &call->out[0];
  cpu_tensor now = call->in[0];
  load(&now, s->work);
  for (uint32_t i = 0; i < s->axis_count; i++) {
    cpu_split split = cpu_split_at(&now, s->axes[i]);
    reduce_axis(s->work, &split, s->kind, now.fmt == CVI_FMT_FP32);
    now.dim[s->axes[i]] = 1;
  }
  for (size_t i = 0; i < (size_t)out->count; i++) {
    if (out->fmt == CVI_FMT_FP32) {
      ((float *)out->data)[i] = (float)s->work[i];
    } else if (out->fmt == CVI_FMT_INT8) {
      ((int8_t *)out->data)[i] = (int8_t)s->work[i];
    } else {
      ((uint8_t *)out->data)[i] = (uint8_t)s->work[i];
    }
  }
  return CVI_RC_SUCCESS;
}

CVI_RC cpu_reduce_mean_run(cpu_call *call) { return reduce_run(call); }
CVI_RC cpu_reduce_max_run(cpu_call *call) { return reduce_run(call); }
CVI_RC reduce_l2_run(cpu_call *call) { return reduce_run(call); }
