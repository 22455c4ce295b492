/* yolo_detection (api/cvi_nn.md section 10.6).
 *
 * Inputs [n, 3 (5 + C), gh, gw], sorted by width, descending. Per cell (row-major) and anchor:
 * conf = sigmoid(t4) >= obj; p = softmax(t5...); score = conf * max p >= obj;
 * x = (sigmoid(t0) + col) / gw, y = (sigmoid(t1) + row) / gh, w = exp(t2) a_w / net_w,
 * h = exp(t3) a_h / net_h. Suppression by IoU of centre boxes; rows x, y, w, h, class, score.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu_op/detect.h"
#include "cpu_op/ops.h"

enum { ANCHORS = 3, LEVELS = 3, MOST_BOXES = 200 };

typedef struct {
  float net_w, net_h, nms, objectness;
  uint32_t keep, levels, classes;
  float anchors[LEVELS * ANCHORS * 2];
  const cpu_tensor *in[LEVELS];
  detection_list list;
} state;

static const char *default_anchors(bool tiny, bool v4) {
  return tiny ? "10,14,23,27,37,58,81,82,135,169,344,319"
         : v4 ? "142,110,192,243,459,401,36,75,76,55,72,146,12,16,19,36,40,28"
              : "10,13,16,30,33,23,30,61,62,45,59,119,116,90,156,198,373,326";
}

static CVI_RC parse_anchors(cpu_call *call, const char *text, float *out, uint32_t count) {
  const char *at = text;
  for (uint32_t i = 0; i < count; i++) {
    char *end;
    out[i] = strtof(at, &end);
    if (end == at || !isfinite(out[i])) {
      return cpu_fail(call, "anchors '%.60s': %u numbers are needed", text, count);
    }
    at = end + strspn(end, ", ");
  }
  return CVI_RC_SUCCESS;
}

static CVI_RC optional_bool(cpu_call *call, const char *key, bool *out) {
  *out = false;
  return cpu_arg_exists(call, key) ? cpu_arg_bool(call, key, out) : CVI_RC_SUCCESS;
}

static CVI_RC read_args(cpu_call *call, state *s) {
  int32_t net_h = 0, net_w = 0, keep = 0, classes = 80;
  bool tiny = false, v4 = false;
  const char *anchors = NULL;
  CVI_RC rc = cpu_arg_int(call, "net_input_h", &net_h);
  rc = rc ? rc : cpu_arg_int(call, "net_input_w", &net_w);
  rc = rc ? rc : cpu_arg_float(call, "nms_threshold", &s->nms);
  rc = rc ? rc : cpu_arg_float(call, "obj_threshold", &s->objectness);
  rc = rc ? rc : cpu_arg_int(call, "keep_topk", &keep);
  rc = rc ? rc : optional_bool(call, "tiny", &tiny);
  rc = rc ? rc : optional_bool(call, "yolo_v4", &v4);
  if (!rc && cpu_arg_exists(call, "class_num")) {
    rc = cpu_arg_int(call, "class_num", &classes);
  }
  if (!rc && cpu_arg_exists(call, "anchors")) {
    rc = cpu_arg_string(call, "anchors", &anchors);
  }
  if (!rc && (net_h < 1 || net_w < 1 || keep < 1 || classes < 1 || classes > 1 << 20)) {
    rc = cpu_fail(call, "net_input %d x %d, keep_topk %d, class_num %d", net_h, net_w, keep,
                  classes);
  }
  s->net_h = (float)net_h;
  s->net_w = (float)net_w;
  s->keep = (uint32_t)keep;
  s->classes = (uint32_t)classes;
  s->levels = tiny ? 2 : LEVELS;
  const char *text = anchors && *anchors ? anchors : default_anchors(tiny, v4);
  return rc ? rc : parse_anchors(call, text, s->anchors, s->levels * ANCHORS * 2);
}

static int64_t width(const cpu_tensor *t) { return t->dim[3]; }

CVI_RC yolo_detection_setup(cpu_call *call) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? read_args(call, s) : CVI_RC_NOMEM;
  rc = rc ? rc : detect_need_floats(call, s->levels);
  if (rc) {
    return rc;
  }
  detect_sort_inputs(call, s->levels, width, s->in);
  uint64_t cells = 0;
  for (uint32_t i = 0; i < s->levels; i++) {
    const int32_t *d = s->in[i]->dim;
    if (d[0] != call->in[0].dim[0] || (int64_t)d[1] < (int64_t)ANCHORS * (5 + s->classes)) {
      return cpu_fail(call, "input [%d, %d, %d, %d] for %u classes", d[0], d[1], d[2], d[3],
                      s->classes);
    }
    cells += (uint64_t)d[2] * (uint64_t)d[3] * ANCHORS;
  }
  call->state = s;
  rc = cpu_need_count(call, &call->out[0], (uint64_t)call->in[0].dim[0] * s->keep * 6, "output");
  return rc ? rc : detect_list(call, &s->list, cells);
}

/* Class with the largest probability. */
static float best_class(const float *logits, size_t stride, uint32_t classes, int32_t *class) {
  float top = logits[0], least = logits[0], sum = 0.0f, best = 0.0f;
  for (uint32_t c = 1; c < classes; c++) {
    float v = logits[c * stride];
    top = v > top ? v : top;
    least = v < least ? v : least;
  }
  *class = 0;
  for (uint32_t c = 0; c < classes; c++) {
    float v = logits[c * stride] - top;
    v = least < -100.0f ? v / least * -100.0f : v;
    float e = expf(v);
    sum += e;
    if (e > best) {
      best = e;
      *class = (int32_t)c;
    }
  }
  return best / sum;
}

static void scan_level(state *s, uint32_t level, size_t image) {
  const cpu_tensor *t = s->in[level];
  size_t gh = (size_t)t->dim[2], gw = (size_t)t->dim[3], plane = gh * gw;
  const float *data = (const float *)t->data + image * (size_t)t->dim[1] * plane;
  for (size_t cell = 0; cell < plane; cell++) {
    for (size_t a = 0; a < ANCHORS; a++) {
      const float *v = data + a * (5 + s->classes) * plane + cell;
      float confidence = detect_sigmoid(v[4 * plane]);
      if (!(confidence >= s->objectness)) {
        continue;
      }
      detection d = {0};
      d.score = confidence * best_class(v + 5 * plane, plane, s->classes, &d.class);
      if (!(d.score >= s->objectness)) {
        continue;
      }
      const float *anchor = &s->anchors[(level * ANCHORS + a) * 2];
      d.box[0] = (detect_sigmoid(v[0]) + (float)(cell % gw)) / (float)gw;
      d.box[1] = (detect_sigmoid(v[plane]) + (float)(cell / gw)) / (float)gh;
      d.box[2] = expf(v[2 * plane]) * anchor[0] / s->net_w;
      d.box[3] = expf(v[3 * plane]) * anchor[1] / s->net_h;
      detect_add(&s->list, &d);
    }
  }
}

static float side(float c1, float l1, float c2, float l2) {
  float low = fmaxf(c1 - l1 / 2, c2 - l2 / 2), high = fminf(c1 + l1 / 2, c2 + l2 / 2);
  return high - low;
}

static float centre_iou(const float a[4], const float b[4]) {
  float w = side(a[0], a[2], b[0], b[2]), h = side(a[1], a[3], b[1], b[3]);
  float inter = w < 0 || h < 0 ? 0 : w * h;
  return inter / (a[2] * a[3] + b[2] * b[3] - inter);
}

CVI_RC yolo_detection_run(cpu_call *call) {
  state *s = call->state;
  float *out = call->out[0].data;
  memset(out, 0, (size_t)call->out[0].count * sizeof(float));
  for (size_t image = 0; image < (size_t)call->in[0].dim[0]; image++, out += s->keep * 6) {
    s->list.count = s->list.made = 0;
    for (uint32_t level = 0; level < s->levels; level++) {
      scan_level(s, level, image);
    }
    detect_keep_best(&s->list, MOST_BOXES);
    detect_erase(&s->list, s->nms, centre_iou);
    uint32_t row = 0;
    for (uint32_t i = 0; i < s->list.count && row < s->keep; i++) {
      const detection *d = &s->list.items[i];
      if (d->score > 0.0f) {
        float *to = out + 6 * row++;
        memcpy(to, d->box, sizeof(d->box));
        to[4] = (float)d->class;
        to[5] = d->score;
      }
    }
  }
  return CVI_RC_SUCCESS;
}
