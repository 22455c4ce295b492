/* topk (api/cvi_nn.md section 10.2): the K largest (smallest) values along an axis, in order; equal
 * values in order of position. A second output of type fp32 or int32 gets the positions (the vendor
 * leaves it unwritten, and demands that all dims behind the axis are 1). */
#include <math.h>
#include <stdlib.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

typedef struct {
  float key; /* larger is better, NaN last */
  float value;
  uint32_t index;
} entry;

typedef struct {
  cpu_split split;
  size_t k;
  bool largest;
  entry *row;
} topk_state;

CVI_RC topk_setup(cpu_call *call) {
  topk_state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t axis = 0, k = 0;
  unsigned index = 0;
  bool sorted;
  CVI_RC rc = s ? cpu_need(call, 1, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "axis", &axis);
  rc = rc ? rc : cpu_arg_int(call, "K", &k);
  rc = rc ? rc : cpu_arg_bool(call, "sorted", &sorted);
  rc = rc ? rc : cpu_arg_bool(call, "largest", &s->largest);
  rc = rc ? rc : cpu_axis(call, axis, &index);
  rc = rc ? rc : cpu_need_fmt(call, &call->in[0], CVI_FMT_FP32, "input");
  rc = rc ? rc : cpu_need_fmt(call, &call->out[0], CVI_FMT_FP32, "output");
  if (rc) {
    return rc;
  }
  s->split = cpu_split_at(&call->in[0], index);
  if (k < 1 || (size_t)k > s->split.length) {
    return cpu_fail(call, "K is %d of %zu values", k, s->split.length);
  }
  s->k = (size_t)k;
  uint64_t need = (uint64_t)s->split.outer * s->k * s->split.inner;
  rc = cpu_need_count(call, &call->out[0], need, "output");
  if (!rc && call->out_count > 1) {
    rc = call->out[1].fmt == CVI_FMT_INT32
             ? CVI_RC_SUCCESS
             : cpu_need_fmt(call, &call->out[1], CVI_FMT_FP32, "positions");
    rc = rc ? rc : cpu_need_count(call, &call->out[1], need, "positions");
  }
  s->row = rc ? NULL : cpu_alloc(call, s->split.length, sizeof(entry));
  call->state = s;
  return rc ? rc : s->row ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
}

static int better(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->key != y->key) {
    return x->key > y->key ? -1 : 1;
  }
  return x->index < y->index ? -1 : 1;
}

static void write_position(const cpu_tensor *out, size_t at, uint32_t index) {
  if (out->fmt == CVI_FMT_INT32) {
    ((int32_t *)out->data)[at] = (int32_t)index;
  } else {
    ((float *)out->data)[at] = (float)index;
  }
}

CVI_RC topk_run(cpu_call *call) {
  const topk_state *s = call->state;
  const cpu_split *p = &s->split;
  const float *in = call->in[0].data;
  for (size_t outer = 0; outer < p->outer; outer++) {
    for (size_t inner = 0; inner < p->inner; inner++) {
      for (size_t i = 0; i < p->length; i++) {
        float v = in[(outer * p->length + i) * p->inner + inner];
        float key = isnan(v) ? -INFINITY : s->largest ? v : -v;
        s->row[i] = (entry){key, v, (uint32_t)i};
      }
      qsort(s->row, p->length, sizeof(entry), better);
      for (size_t i = 0; i < s->k; i++) {
        size_t at = (outer * s->k + i) * p->inner + inner;
        ((float *)call->out[0].data)[at] = s->row[i].value;
        if (call->out_count > 1) {
          write_position(&call->out[1], at, s->row[i].index);
        }
      }
    }
  }
  return CVI_RC_SUCCESS;
}
