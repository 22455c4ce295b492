/* interp: resizing (api/cvi_nn.md section 10.5).
 *
 * Modes of coordinate_transformation_mode; `in`, `out` are the sizes of one direction, k the output
 * position:
 *   half_pixel            src = (k + 0.5) / s - 0.5, s = out / in, clipped to [0, in - 1]; bilinear
 *   pytorch_half_pixel    the same, but 0 when out <= 1
 *   nearest_half_pixel    src = ceil((k + 0.5) * in / out - 1)
 *   nearest...            src = trunc(k * (in / out))
 *   asymmetric            src = min(k * in / out, in - 1); bilinear
 *   align_corners         src = k * (e - 1) / (out - 1) + crop, e = size after the crop; bilinear
 * Bilinear modes take fp32, nearest ones every type.
 */
#include <math.h>
#include <string.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

typedef enum {
  HALF_PIXEL,
  PYTORCH_HALF_PIXEL,
  NEAREST_HALF_PIXEL,
  NEAREST,
  ASYMMETRIC,
  ALIGN
} mode;

/* Where an output row or column comes from: low + fraction * (high - low). */
typedef struct {
  size_t low, high;
  float fraction;
} source;

typedef struct {
  size_t oh, ow;
  source *y, *x;
  bool bilinear;
} state;

static CVI_RC parse_mode(cpu_call *call, mode *out) {
  const char *text = NULL;
  CVI_RC rc = cpu_arg_string(call, "coordinate_transformation_mode", &text);
  if (rc) {
    return rc;
  }
  static const struct {
    const char *text;
    mode value;
  } modes[] = {{"half_pixel", HALF_PIXEL},
               {"pytorch_half_pixel", PYTORCH_HALF_PIXEL},
               {"nearest_half_pixel", NEAREST_HALF_PIXEL},
               {"asymmetric", ASYMMETRIC},
               {"align_corners", ALIGN}};
  for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
    if (strcmp(text, modes[i].text) == 0) {
      *out = modes[i].value;
      return CVI_RC_SUCCESS;
    }
  }
  *out = NEAREST;
  return strncmp(text, "nearest", 7) == 0
             ? CVI_RC_SUCCESS
             : cpu_fail(call, "coordinate_transformation_mode '%.40s'", text);
}

static source bilinear_at(float position, size_t size) {
  float whole = floorf(position);
  size_t low = (size_t)whole;
  return (source){low, low + 1 < size ? low + 1 : low, position - whole};
}

static float clip(float value, float top) { return value < 0 ? 0 : value > top ? top : value; }

static source place(mode m, size_t k, size_t in, size_t out) {
  float position = (float)k, top = (float)(in - 1);
  switch (m) {
  case HALF_PIXEL:
  case PYTORCH_HALF_PIXEL: {
    float s = (float)out / (float)in;
    if (m == PYTORCH_HALF_PIXEL && out <= 1) {
      position = 0;
    } else if (s != 1.0f) {
      position = clip(((float)k + 0.5f) / s - 0.5f, top);
    }
    return bilinear_at(position, in);
  }
  case ASYMMETRIC:
    return bilinear_at(clip((float)k * ((float)in / (float)out), top), in);
  case NEAREST_HALF_PIXEL:
    position = ceilf(((float)k + 0.5f) * ((float)in / (float)out) - 1.0f);
    break;
  default:
    position = truncf((float)k * ((float)in / (float)out));
    break;
  }
  size_t index = (size_t)clip(position, top);
  return (source){index, index, 0};
}

static void fill(source *list, mode m, size_t in, size_t out) {
  for (size_t k = 0; k < out; k++) {
    list[k] = place(m, k, in, out);
  }
}

/* align_corners: crop `begin` at the start; e = size of what is left. */
static void fill_align(source *list, size_t begin, size_t e, size_t out) {
  for (size_t k = 0; k < out; k++) {
    float scale = out > 1 ? (float)(e - 1) / (float)(out - 1) : 0.0f;
    source s = bilinear_at(clip(scale * (float)k, (float)(e - 1)), e);
    list[k] = (source){s.low + begin, s.high + begin, s.fraction};
  }
}

typedef struct {
  int32_t shrink, zoom, pad_beg, pad_end, height, width;
} sizes;

/* Output size of align_corners in one direction; 0: the arguments are wrong. */
static int64_t align_out(const sizes *z, int64_t e, int64_t given) {
  bool shrink = z->shrink > 1, zoom = z->zoom > 1;
  if (shrink) {
    e = (e - 1) / z->shrink + 1;
  }
  if (zoom) {
    e = e + (e - 1) * (z->zoom - 1);
  }
  return shrink || zoom ? e : given > 0 ? given : e;
}

static CVI_RC setup_align(cpu_call *call, state *s, const sizes *z) {
  const int32_t *dim = call->in[0].dim;
  int64_t eh = (int64_t)dim[2] + z->pad_beg + z->pad_end;
  int64_t ew = (int64_t)dim[3] + z->pad_beg + z->pad_end;
  if (z->pad_beg > 0 || z->pad_end > 0 || eh < 1 || ew < 1) {
    return cpu_fail(call, "pad_beg %d, pad_end %d: only crops inside the image", z->pad_beg,
                    z->pad_end);
  }
  int64_t oh = align_out(z, eh, z->height), ow = align_out(z, ew, z->width);
  uint64_t planes = (uint64_t)dim[0] * (uint64_t)dim[1];
  if (oh < 1 || ow < 1 || oh > INT32_MAX || ow > INT32_MAX ||
      planes * (uint64_t)oh > call->out[0].count) {
    return cpu_fail(call, "output of %lld x %lld", (long long)oh, (long long)ow);
  }
  s->oh = (size_t)oh;
  s->ow = (size_t)ow;
  CVI_RC rc = cpu_need_count(call, &call->out[0], planes * s->oh * s->ow, "output");
  s->y = rc ? NULL : cpu_alloc(call, s->oh, sizeof(source));
  s->x = s->y ? cpu_alloc(call, s->ow, sizeof(source)) : NULL;
  if (!s->x) {
    return rc ? rc : CVI_RC_NOMEM;
  }
  fill_align(s->y, (size_t)-(int64_t)z->pad_beg, (size_t)eh, s->oh);
  fill_align(s->x, (size_t)-(int64_t)z->pad_beg, (size_t)ew, s->ow);
  return CVI_RC_SUCCESS;
}

static CVI_RC setup_resize(cpu_call *call, state *s, const sizes *z, mode m) {
  const int32_t *dim = call->in[0].dim;
  bool named = z->height > 0 && z->width > 0;
  s->oh = (size_t)(named ? z->height : call->out[0].dim[2]);
  s->ow = (size_t)(named ? z->width : call->out[0].dim[3]);
  uint64_t planes = (uint64_t)dim[0] * (uint64_t)dim[1];
  if (dim[2] < 1 || dim[3] < 1 || s->oh > call->out[0].count || s->ow > call->out[0].count) {
    return cpu_fail(call, "resize %d x %d to %zu x %zu", dim[2], dim[3], s->oh, s->ow);
  }
  uint64_t area = (uint64_t)s->oh * s->ow; /* below 2^62 */
  CVI_RC rc = area > INT32_MAX ? cpu_fail(call, "output of %zu x %zu", s->oh, s->ow)
                               : cpu_need_count(call, &call->out[0], planes * area, "output");
  s->y = rc ? NULL : cpu_alloc(call, s->oh, sizeof(source));
  s->x = s->y ? cpu_alloc(call, s->ow, sizeof(source)) : NULL;
  if (!s->x) {
    return rc ? rc : CVI_RC_NOMEM;
  }
  fill(s->y, m, (size_t)dim[2], s->oh);
  fill(s->x, m, (size_t)dim[3], s->ow);
  return CVI_RC_SUCCESS;
}

CVI_RC interp_setup(cpu_call *call) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  sizes z;
  mode m = HALF_PIXEL;
  CVI_RC rc = s ? cpu_need(call, 1, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "shrink_factor", &z.shrink);
  rc = rc ? rc : cpu_arg_int(call, "zoom_factor", &z.zoom);
  rc = rc ? rc : cpu_arg_int(call, "pad_beg", &z.pad_beg);
  rc = rc ? rc : cpu_arg_int(call, "pad_end", &z.pad_end);
  rc = rc ? rc : cpu_arg_int(call, "height", &z.height);
  rc = rc ? rc : cpu_arg_int(call, "width", &z.width);
  rc = rc ? rc : parse_mode(call, &m);
  rc = rc ? rc : cpu_need_fmt(call, &call->in[0], call->out[0].fmt, "input");
  if (rc) {
    return rc;
  }
  s->bilinear = m != NEAREST && m != NEAREST_HALF_PIXEL;
  rc = s->bilinear ? cpu_need_fmt(call, &call->in[0], CVI_FMT_FP32, "input") : rc;
  if (!rc) {
    rc = m == ALIGN ? setup_align(call, s, &z) : setup_resize(call, s, &z, m);
  }
  call->state = s;
  return rc;
}

static void bilinear_plane(const state *s, const float *in, size_t iw, float *out) {
  for (size_t y = 0; y < s->oh; y++) {
    const source *v = &s->y[y];
    const float *top = in + v->low * iw, *bottom = in + v->high * iw;
    float b = v->fraction, a = 1.0f - b;
    for (size_t x = 0; x < s->ow; x++) {
      const source *u = &s->x[x];
      float d = u->fraction, c = 1.0f - d;
      *out++ =
          a * (c * top[u->low] + d * top[u->high]) + b * (c * bottom[u->low] + d * bottom[u->high]);
    }
  }
}

CVI_RC interp_run(cpu_call *call) {
  const state *s = call->state;
  const cpu_tensor *in = &call->in[0];
  size_t elem = cpu_elem_size(in->fmt), iw = (size_t)in->dim[3];
  size_t from = (size_t)in->dim[2] * iw * elem, to = s->oh * s->ow * elem;
  for (size_t p = 0; p < (size_t)in->dim[0] * (size_t)in->dim[1]; p++) {
    const uint8_t *plane = (const uint8_t *)in->data + p * from;
    uint8_t *out = (uint8_t *)call->out[0].data + p * to;
    if (s->bilinear) {
      bilinear_plane(s, (const float *)plane, iw, (float *)out);
      continue;
    }
    for (size_t y = 0; y < s->oh; y++) {
      for (size_t x = 0; x < s->ow; x++, out += elem) {
        memcpy(out, plane + (s->y[y].low * iw + s->x[x].low) * elem, elem);
      }
    }
  }
  return CVI_RC_SUCCESS;
}
