/* grid_sampler (api/cvi_nn.md section 10.5): i0 [n,c,ih,iw] sampled at i1 [n,oh,ow,2] (x first).
 *
 *   position   align_corners: ((g + 1) / 2) * (size - 1), else ((g + 1) * size - 1) / 2
 *   padding    0 zeros; 1 border: clip to [0, size - 1]; 2 reflection between (0, 2 (size - 1)) / 2
 *              (aligned) or (-1, 2 size - 1) / 2, then clip
 *   mode       0 bilinear (0 outside), 1 nearest (round half away)
 */
#include <math.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

typedef struct {
  int32_t mode, padding;
  bool align;
} state;

CVI_RC grid_sampler_setup(cpu_call *call) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? cpu_need(call, 2, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "mode", &s->mode);
  rc = rc ? rc : cpu_arg_int(call, "padding_mode", &s->padding);
  rc = rc ? rc : cpu_arg_bool(call, "align_corners", &s->align);
  for (int i = 0; i < 2 && !rc; i++) {
    rc = cpu_need_fmt(call, &call->in[i], CVI_FMT_FP32, i ? "grid" : "input");
  }
  rc = rc ? rc : cpu_need_fmt(call, &call->out[0], CVI_FMT_FP32, "output");
  if (rc) {
    return rc;
  }
  const int32_t *i = call->in[0].dim, *g = call->in[1].dim;
  if (s->mode < 0 || s->mode > 1 || s->padding < 0 || s->padding > 2 || g[3] != 2 || g[0] != i[0] ||
      i[2] < 1 || i[3] < 1) {
    return cpu_fail(call, "mode %d, padding_mode %d, grid [%d, %d, %d, %d]", s->mode, s->padding,
                    g[0], g[1], g[2], g[3]);
  }
  call->state = s;
  uint64_t points = call->in[1].count / 2;
  return cpu_need_count(call, &call->out[0], points * (uint64_t)i[1], "output");
}

static float reflect(float x, float low, float high) { /* low, high: twice the limits */
  if (low == high) {
    return 0.0f;
  }
  float least = low / 2, span = (high - low) / 2;
  x = fabsf(x - least);
  float extra = fmodf(x, span);
  bool even = fmodf(floorf(x / span), 2.0f) == 0.0f;
  return even ? extra + least : span - extra + least;
}

static float position(const state *s, float g, size_t size) {
  float n = (float)size;
  float x = s->align ? ((g + 1) / 2) * (n - 1) : ((g + 1) * n - 1) / 2;
  if (s->padding == 2) {
    x = s->align ? reflect(x, 0, 2 * (n - 1)) : reflect(x, -1, 2 * n - 1);
  }
  if (s->padding != 0) {
    x = x < 0 ? 0 : x > n - 1 ? n - 1 : x; /* NaN stays and is outside */
  }
  return x;
}

typedef struct {
  const float *plane;
  size_t h, w;
} image;

/* Positions are floats of any size: compared before they become integers. */
static float pixel(const image *m, float y, float x) {
  if (!(y >= 0 && x >= 0 && y < (float)m->h && x < (float)m->w)) {
    return 0.0f;
  }
  return m->plane[(size_t)y * m->w + (size_t)x];
}

static float sample(const state *s, const image *m, float y, float x) {
  if (s->mode == 1) {
    return pixel(m, roundf(y), roundf(x));
  }
  float y0 = floorf(y), x0 = floorf(x), y1 = y0 + 1, x1 = x0 + 1;
  float sum = pixel(m, y0, x0) * ((x1 - x) * (y1 - y));
  sum += pixel(m, y0, x1) * ((x - x0) * (y1 - y));
  sum += pixel(m, y1, x0) * ((x1 - x) * (y - y0));
  sum += pixel(m, y1, x1) * ((x - x0) * (y - y0));
  return sum;
}

CVI_RC grid_sampler_run(cpu_call *call) {
  const state *s = call->state;
  const cpu_tensor *in = &call->in[0];
  size_t c = (size_t)in->dim[1], h = (size_t)in->dim[2], w = (size_t)in->dim[3];
  size_t points = (size_t)call->in[1].dim[1] * (size_t)call->in[1].dim[2];
  float *out = call->out[0].data;
  for (size_t p = 0; p < (size_t)in->dim[0] * c; p++) {
    image m = {(const float *)in->data + p * h * w, h, w};
    const float *grid = (const float *)call->in[1].data + p / c * points * 2;
    for (size_t i = 0; i < points; i++) {
      float x = position(s, grid[2 * i], w), y = position(s, grid[2 * i + 1], h);
      *out++ = isfinite(x) && isfinite(y) ? sample(s, &m, y, x) : 0.0f;
    }
  }
  return CVI_RC_SUCCESS;
}
