/* argmax, argmax_with_conf, argmax_v3 (api/cvi_nn.md section 10.3).
 *
 * i0 = data (int8, or bf16 bits), i1 = maximum of every 256-wide tile of the axis, made by the TPU:
 * [outer, ceil(L / 256)]. Per outer row: the first tile with the largest entry, then the first
 * position in it that equals the entry (index 0 if there is none). Negative maxima are found as
 * well (the vendor ignores negative entries and compares bf16 as 16-bit integers; equal otherwise).
 *
 *   argmax            o0 = index
 *   argmax_with_conf  o0 = pairs (value * scale, index)
 *   argmax_v3         o0 = index, o1 (optional) = value, int8 times scale (default 1)
 */
#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

enum { TILE = 256 };

typedef enum { INDEX_ONLY, PAIRS, INDEX_AND_VALUE } form;

typedef struct {
  form form;
  size_t outer, length, tiles;
  float scale;
} state;

static CVI_RC setup(cpu_call *call, form form) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t axis = 0;
  unsigned index = 0;
  CVI_RC rc = s ? cpu_need(call, 2, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "axis", &axis);
  rc = rc ? rc : cpu_axis(call, axis, &index);
  if (rc) {
    return rc;
  }
  s->form = form;
  s->scale = 1.0f;
  if (form == PAIRS || (form == INDEX_AND_VALUE && cpu_arg_exists(call, "scale"))) {
    rc = cpu_arg_float(call, "scale", &s->scale);
  }
  const cpu_tensor *in = &call->in[0];
  cpu_split split = cpu_split_at(in, index);
  s->outer = split.outer;
  s->length = split.length;
  s->tiles = (split.length + TILE - 1) / TILE;
  if (!rc && (split.inner != 1 || split.length == 0)) {
    rc = cpu_fail(call, "axis %d: the dims behind it must be 1, its length not 0", axis);
  }
  if (!rc && cpu_elem_size(in->fmt) != 2 && in->fmt != CVI_FMT_INT8) {
    rc = cpu_fail(call, "data type %d is neither int8 nor bf16", in->fmt);
  }
  rc = rc ? rc : form == PAIRS ? cpu_need_fmt(call, in, CVI_FMT_INT8, "data") : rc;
  if (!rc && cpu_elem_size(call->in[1].fmt) != cpu_elem_size(in->fmt)) {
    rc = cpu_fail(call, "map of maxima has data type %d, the data %d", call->in[1].fmt, in->fmt);
  }
  rc = rc ? rc : cpu_need_count(call, &call->in[1], (uint64_t)s->outer * s->tiles, "map");
  for (uint32_t i = 0; i < call->out_count && i < 2 && !rc; i++) {
    rc = cpu_need_fmt(call, &call->out[i], CVI_FMT_FP32, "output");
    rc =
        rc ? rc : cpu_need_count(call, &call->out[i], s->outer * (form == PAIRS ? 2 : 1), "output");
  }
  call->state = s;
  return rc;
}

static float value_at(const cpu_tensor *t, size_t i) {
  return t->fmt == CVI_FMT_INT8 ? (float)((const int8_t *)t->data)[i]
                                : cpu_bf16_to_float(((const uint16_t *)t->data)[i]);
}

static CVI_RC run(cpu_call *call) {
  const state *s = call->state;
  const cpu_tensor *in = &call->in[0];
  cpu_tensor map = call->in[1];
  map.fmt = in->fmt; /* the same bits, whatever the file calls them */
  float scale = in->fmt == CVI_FMT_INT8 ? s->scale : 1.0f;
  float *out = call->out[0].data;
  for (size_t row = 0; row < s->outer; row++) {
    size_t tile = 0, index = 0;
    float top = value_at(&map, row * s->tiles);
    for (size_t t = 1; t < s->tiles; t++) {
      float v = value_at(&map, row * s->tiles + t);
      if (v > top) {
        top = v;
        tile = t;
      }
    }
    size_t end = (tile + 1) * TILE < s->length ? (tile + 1) * TILE : s->length;
    for (size_t i = tile * TILE; i < end; i++) {
      if (value_at(in, row * s->length + i) == top) {
        index = i;
        break;
      }
    }
    if (s->form == PAIRS) {
      out[2 * row] = top * scale;
      out[2 * row + 1] = (float)index;
    } else {
      out[row] = (float)index;
    }
    if (s->form == INDEX_AND_VALUE && call->out_count > 1) {
      ((float *)call->out[1].data)[row] = top * scale;
    }
  }
  return CVI_RC_SUCCESS;
}

CVI_RC argmax_setup(cpu_call *call) { return setup(call, INDEX_ONLY); }
CVI_RC argmax_run(cpu_call *call) { return run(call); }
CVI_RC argmax_with_conf_setup(cpu_call *call) { return setup(call, PAIRS); }
CVI_RC argmax_with_conf_run(cpu_call *call) { return run(call); }
CVI_RC argmax_v3_setup(cpu_call *call) { return setup(call, INDEX_AND_VALUE); }
CVI_RC argmax_v3_run(cpu_call *call) { return run(call); }
