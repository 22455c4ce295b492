/* retinaface_detection (api/cvi_nn.md section 10.6).
 *
 * Nine inputs sorted by (width, channels): strides 32, 16, 8 x (scores [4], boxes [8], landmarks
 * [20]); two anchors per cell, scales (32, 16), (8, 4), (2, 1) of base 16:
 * x1 = 8 - (17 m - 1) / 2, x2 = 8 + (17 m + 1) / 2, moved by cell * stride.
 * Suppression as the vendor's, on which models were tuned: the best box stays, but the overlap of
 * the others is taken with the box behind it in the list, and the best box's area. Rows x1, y1, x2,
 * y2, score, 5 x (x, y).
 */
#include <string.h>

#include "cpu_op/detect.h"
#include "cpu_op/ops.h"

enum { LEVELS = 3, PER_CELL = 2, MARKS = 5, ROW = 15 };

typedef struct {
  float nms, confidence;
  uint32_t keep;
  const cpu_tensor *in[3 * LEVELS];
  detection_list list; /* class: global number of the anchor */
} state;

/* Ascending width, then channels. */
static int64_t order_key(const cpu_tensor *t) { return -(((int64_t)t->dim[3] << 31) + t->dim[1]); }

CVI_RC retinaface_detection_setup(cpu_call *call) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t keep = 0;
  CVI_RC rc = s ? detect_need_floats(call, 3 * LEVELS) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_float(call, "nms_threshold", &s->nms);
  rc = rc ? rc : cpu_arg_float(call, "confidence_threshold", &s->confidence);
  rc = rc ? rc : cpu_arg_int(call, "keep_topk", &keep);
  if (!rc && keep < 1) {
    rc = cpu_fail(call, "keep_topk %d", keep);
  }
  if (rc) {
    return rc;
  }
  s->keep = (uint32_t)keep;
  detect_sort_inputs(call, 3 * LEVELS, order_key, s->in);
  static const int32_t channels[] = {4, 8, 20};
  uint64_t anchors = 0;
  for (int i = 0; i < 3 * LEVELS; i++) {
    const int32_t *d = s->in[i]->dim, *first = s->in[i / 3 * 3]->dim;
    if (d[1] != channels[i % 3] || d[0] != call->in[0].dim[0] || d[2] != first[2] ||
        d[3] != first[3]) {
      return cpu_fail(call, "inputs are not 3 levels of 4, 8 and 20 channels");
    }
    anchors += i % 3 ? 0 : (uint64_t)d[2] * (uint64_t)d[3] * PER_CELL;
  }
  call->state = s;
  rc = cpu_need_count(call, &call->out[0], (uint64_t)call->in[0].dim[0] * s->keep * ROW, "output");
  return rc ? rc : detect_list(call, &s->list, anchors);
}

typedef struct {
  float centre[2], size[2];
} anchor_box;

static anchor_box anchor_at(int level, size_t k, size_t row, size_t column) {
  static const float scales[LEVELS][PER_CELL] = {{32, 16}, {8, 4}, {2, 1}};
  static const float strides[LEVELS] = {32, 16, 8};
  float m = scales[level][k];
  float low = 8 - 0.5f * (17 * m - 1), high = 8 + 0.5f * (17 * m + 1);
  anchor_box a;
  for (int i = 0; i < 2; i++) {
    float shift = (float)(i ? row : column) * strides[level];
    a.size[i] = high - low + 1;
    a.centre[i] = low + shift + 0.5f * (a.size[i] - 1);
  }
  return a;
}

static void scan(state *s, int level, size_t image, uint32_t first_anchor) {
  const int32_t *d = s->in[3 * level]->dim;
  size_t w = (size_t)d[3], plane = (size_t)d[2] * w;
  const float *scores = (const float *)s->in[3 * level]->data + image * 4 * plane;
  const float *boxes = (const float *)s->in[3 * level + 1]->data + image * 8 * plane;
  for (size_t cell = 0; cell < plane; cell++) {
    for (size_t k = 0; k < PER_CELL; k++) {
      detection found = {.score = scores[(PER_CELL + k) * plane + cell]};
      if (!(found.score > s->confidence)) {
        continue;
      }
      anchor_box a = anchor_at(level, k, cell / w, cell % w);
      for (size_t i = 0; i < 2; i++) {
        float centre = boxes[(4 * k + i) * plane + cell] * a.size[i] + a.centre[i];
        float size = expf(boxes[(4 * k + 2 + i) * plane + cell]) * a.size[i];
        found.box[i] = centre - 0.5f * (size - 1);
        found.box[2 + i] = centre + 0.5f * (size - 1);
      }
      found.class = (int32_t)(first_anchor + cell * PER_CELL + k);
      detect_add(&s->list, &found);
    }
  }
}

static void landmarks(const state *s, size_t image, int32_t anchor, float *out) {
  int level = 0;
  size_t index = (size_t)anchor;
  for (; level < LEVELS; level++) {
    const int32_t *d = s->in[3 * level]->dim;
    size_t count = (size_t)d[2] * (size_t)d[3] * PER_CELL;
    if (index < count) {
      break;
    }
    index -= count;
  }
  const cpu_tensor *t = s->in[3 * level + 2];
  size_t w = (size_t)t->dim[3], plane = (size_t)t->dim[2] * w;
  size_t cell = index / PER_CELL, k = index % PER_CELL;
  const float *marks = (const float *)t->data + image * 20 * plane + cell;
  anchor_box a = anchor_at(level, k, cell / w, cell % w);
  for (size_t i = 0; i < 2 * MARKS; i++) {
    out[i] = marks[(2 * MARKS * k + i) * plane] * a.size[i % 2] + a.centre[i % 2];
  }
}

static float box_area(const float b[4]) { return (b[2] - b[0] + 1) * (b[3] - b[1] + 1); }

static bool overlaps(const float chosen[4], const float next[4], const float other[4],
                     float threshold) {
  float w = fminf(next[2], other[2]) - fmaxf(next[0], other[0]) + 1;
  float h = fminf(next[3], other[3]) - fmaxf(next[1], other[1]) + 1;
  if (w <= 0 || h <= 0) {
    return false;
  }
  float inter = w * h;
  return inter / (box_area(chosen) + box_area(other) - inter) > threshold;
}

CVI_RC retinaface_detection_run(cpu_call *call) {
  state *s = call->state;
  float *out = call->out[0].data;
  memset(out, 0, (size_t)call->out[0].count * sizeof(float));
  for (size_t image = 0; image < (size_t)call->in[0].dim[0]; image++, out += s->keep * ROW) {
    s->list.count = s->list.made = 0;
    uint32_t first = 0;
    for (int level = 0; level < LEVELS; level++) {
      const int32_t *d = s->in[3 * level]->dim;
      scan(s, level, image, first);
      first += (uint32_t)d[2] * (uint32_t)d[3] * PER_CELL;
    }
    detect_sort_best(&s->list, MOST_CANDIDATES);
    detection *items = s->list.items;
    uint32_t row = 0;
    for (uint32_t i = 0; i < s->list.count && row < s->keep; i++) {
      if (items[i].class < 0) {
        continue;
      }
      float *to = out + ROW * row++;
      memcpy(to, items[i].box, sizeof(items[i].box));
      to[4] = items[i].score;
      landmarks(s, image, items[i].class, to + 5);
      for (uint32_t j = i + 1; j < s->list.count; j++) {
        if (items[j].class >= 0 && overlaps(items[i].box, items[i + 1].box, items[j].box, s->nms)) {
          items[j].class = -1;
        }
      }
    }
  }
  return CVI_RC_SUCCESS;
}
