/* frcn_detection, proposal: the two stages of Faster R-CNN (api/cvi_nn.md section 10.6). */
#include <string.h>

#include "cpu_op/detect.h"
#include "cpu_op/ops.h"

/* ---- frcn_detection: deltas [R, 4 C], scores [R, C], rois [n,1,R,5] by shape[1], descending. Per
 * roi, class >= 1 with score > obj: w = x2 - x1 + 1, ctr = x1 + w / 2; box = centre d w + ctr, size
 * exp(d) w. IoU with + 1 areas, without + 1 in the intersection. ---- */

typedef struct {
  float nms, objectness;
  uint32_t keep, classes, regions, images;
  const cpu_tensor *in[3]; /* deltas, scores, rois */
  detection_list list;
} frcn_state;

static int64_t second_dim(const cpu_tensor *t) { return t->dim[1]; }

CVI_RC frcn_detection_setup(cpu_call *call) {
  frcn_state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t keep = 0, classes = 0;
  CVI_RC rc = s ? detect_need_floats(call, 3) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_float(call, "nms_threshold", &s->nms);
  rc = rc ? rc : cpu_arg_float(call, "obj_threshold", &s->objectness);
  rc = rc ? rc : cpu_arg_int(call, "keep_topk", &keep);
  rc = rc ? rc : cpu_arg_int(call, "class_num", &classes);
  if (rc) {
    return rc;
  }
  detect_sort_inputs(call, 3, second_dim, s->in);
  const int32_t *rois = s->in[2]->dim;
  if (keep < 1 || classes < 1 || classes > 1 << 20 || rois[1] != 1 || rois[3] != 5) {
    return cpu_fail(call, "keep_topk %d, class_num %d, rois [%d, %d, %d, %d]", keep, classes,
                    rois[0], rois[1], rois[2], rois[3]);
  }
  s->keep = (uint32_t)keep;
  s->classes = (uint32_t)classes;
  s->images = (uint32_t)rois[0];
  s->regions = (uint32_t)rois[2];
  uint64_t scores = (uint64_t)s->images * s->regions * s->classes;
  rc = cpu_need_count(call, s->in[0], 4 * scores, "deltas");
  rc = rc ? rc : cpu_need_count(call, s->in[1], scores, "scores");
  rc = rc ? rc : cpu_need_count(call, &call->out[0], (uint64_t)s->images * s->keep * 6, "output");
  call->state = s;
  return rc ? rc : detect_list(call, &s->list, scores);
}

static void centre_to_corners(const float roi[4], const float delta[4], float box[4]) {
  float w = roi[2] - roi[0] + 1, h = roi[3] - roi[1] + 1;
  float x = delta[0] * w + (roi[0] + 0.5f * w), y = delta[1] * h + (roi[1] + 0.5f * h);
  float bw = expf(delta[2]) * w, bh = expf(delta[3]) * h;
  box[0] = x - 0.5f * bw;
  box[1] = y - 0.5f * bh;
  box[2] = x + 0.5f * bw;
  box[3] = y + 0.5f * bh;
}

static float intersection(const float a[4], const float b[4]) {
  float w = fminf(a[2], b[2]) - fmaxf(a[0], b[0]);
  float h = fminf(a[3], b[3]) - fmaxf(a[1], b[1]);
  return w < 0 || h < 0 ? 0 : w * h;
}

static float area(const float a[4]) { return (a[2] - a[0] + 1) * (a[3] - a[1] + 1); }

static float frcn_iou(const float a[4], const float b[4]) {
  float inter = intersection(a, b);
  return inter / (area(a) + area(b) - inter);
}

static uint32_t write_rows(const frcn_state *s, float *out) {
  uint32_t row = 0;
  for (uint32_t i = 0; i < s->list.count && row < s->keep; i++) {
    const detection *d = &s->list.items[i];
    if (d->score != 0.0f) {
      float *to = out + 6 * row++;
      memcpy(to, d->box, sizeof(d->box));
      to[4] = (float)d->class;
      to[5] = d->score;
    }
  }
  return row;
}

CVI_RC frcn_detection_run(cpu_call *call) {
  frcn_state *s = call->state;
  float *out = call->out[0].data;
  memset(out, 0, (size_t)call->out[0].count * sizeof(float));
  const float *deltas = s->in[0]->data, *scores = s->in[1]->data, *rois = s->in[2]->data;
  for (size_t image = 0; image < s->images; image++) {
    s->list.count = s->list.made = 0;
    for (size_t r = image * s->regions; r < (image + 1) * s->regions; r++) {
      for (size_t c = 1; c < s->classes; c++) {
        detection d = {.score = scores[r * s->classes + c], .class = (int32_t)c};
        if (d.score > s->objectness) {
          centre_to_corners(rois + 5 * r + 1, deltas + 4 * (r * s->classes + c), d.box);
          detect_add(&s->list, &d);
        }
      }
    }
    detect_keep_best(&s->list, MOST_CANDIDATES);
    detect_erase(&s->list, s->nms, frcn_iou);
    write_rows(s, out + image * s->keep * 6);
  }
  return CVI_RC_SUCCESS;
}

/* ---- proposal: scores [n,18,h,w], deltas [n,36,h,w] by shape[1], ascending. Nine anchors: ratios
 * 0.5, 1, 2 (ws = rha(sqrt(base^2 / ratio)), hs = rha(ws ratio)) x scales 8, 16, 32; for anchor k,
 * cell: score channel 9 + k >= threshold; centre = cell stride + (base - 1) / 2 + size d, size
 * exp(d), clipped to the input; IoU as above. Rows batch, x1, y1, x2, y2. ---- */

enum { RPN_ANCHORS = 9 };

typedef struct {
  float stride, net_h, net_w, objectness, nms;
  uint32_t keep;
  const cpu_tensor *scores, *deltas;
  float anchors[RPN_ANCHORS][2]; /* width, height */
  float centre;                  /* of the anchors in their cell */
  detection_list list;
} rpn_state;

static void make_anchors(rpn_state *s, float base) {
  static const float ratios[] = {0.5f, 1.0f, 2.0f}, scales[] = {8.0f, 16.0f, 32.0f};
  s->centre = (base - 1) * 0.5f;
  for (int k = 0; k < RPN_ANCHORS; k++) {
    float ws = roundf(sqrtf(base * base / ratios[k / 3]));
    float hs = roundf(ws * ratios[k / 3]);
    s->anchors[k][0] = ws * scales[k % 3];
    s->anchors[k][1] = hs * scales[k % 3];
  }
}

CVI_RC proposal_setup(cpu_call *call) {
  rpn_state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t stride = 0, base = 0, net_h = 0, net_w = 0, keep = 0;
  CVI_RC rc = s ? detect_need_floats(call, 2) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "feat_stride", &stride);
  rc = rc ? rc : cpu_arg_int(call, "anchor_base_size", &base);
  rc = rc ? rc : cpu_arg_int(call, "net_input_h", &net_h);
  rc = rc ? rc : cpu_arg_int(call, "net_input_w", &net_w);
  rc = rc ? rc : cpu_arg_float(call, "rpn_obj_threshold", &s->objectness);
  rc = rc ? rc : cpu_arg_float(call, "rpn_nms_threshold", &s->nms);
  rc = rc ? rc : cpu_arg_int(call, "rpn_nms_post_top_n", &keep);
  if (rc) {
    return rc;
  }
  bool swapped = call->in[0].dim[1] > call->in[1].dim[1];
  s->scores = &call->in[swapped];
  s->deltas = &call->in[!swapped];
  const int32_t *a = s->scores->dim, *b = s->deltas->dim;
  if (a[1] != 2 * RPN_ANCHORS || b[1] != 4 * RPN_ANCHORS || a[0] != b[0] || a[2] != b[2] ||
      a[3] != b[3] || stride < 1 || base < 1 || net_h < 1 || net_w < 1 || keep < 1) {
    return cpu_fail(call, "inputs with %d and %d channels, feat_stride %d, base %d, top_n %d", a[1],
                    b[1], stride, base, keep);
  }
  s->stride = (float)stride;
  s->net_h = (float)net_h;
  s->net_w = (float)net_w;
  s->keep = (uint32_t)keep;
  make_anchors(s, (float)base);
  call->state = s;
  rc = cpu_need_count(call, &call->out[0], (uint64_t)a[0] * s->keep * 5, "output");
  return rc ? rc : detect_list(call, &s->list, (uint64_t)a[2] * (uint64_t)a[3] * RPN_ANCHORS);
}

static float clip(float v, float top) { return fmaxf(fminf(v, top), 0.0f); }

static void rpn_candidates(rpn_state *s, size_t image) {
  size_t h = (size_t)s->scores->dim[2], w = (size_t)s->scores->dim[3], plane = h * w;
  const float *scores = (const float *)s->scores->data + image * 2 * RPN_ANCHORS * plane;
  const float *deltas = (const float *)s->deltas->data + image * 4 * RPN_ANCHORS * plane;
  for (size_t k = 0; k < RPN_ANCHORS; k++) {
    for (size_t cell = 0; cell < plane; cell++) {
      detection d = {.score = scores[(RPN_ANCHORS + k) * plane + cell]};
      if (!(d.score >= s->objectness)) {
        continue;
      }
      for (size_t i = 0; i < 2; i++) {
        const float *delta = deltas + (4 * k + i) * plane + cell;
        float size = s->anchors[k][i], top = (i ? s->net_h : s->net_w) - 1;
        float start = (float)(i ? cell / w : cell % w) * s->stride + s->centre;
        float centre = start + size * delta[0], half = 0.5f * expf(delta[2 * plane]) * size;
        d.box[i] = clip(centre - half, top);
        d.box[2 + i] = clip(centre + half, top);
      }
      detect_add(&s->list, &d);
    }
  }
}

/* Suppression that removes from the list: the one with the smaller score goes, i stays when equal;
 * when i goes, the next one takes its place. */
static void rpn_suppress(detection_list *list, float threshold) {
  bool gone = false;
  for (uint32_t i = 0; i < list->count; i++) {
    detection *a = &list->items[i];
    for (uint32_t j = i + 1; a->class == 0 && j < list->count; j++) {
      detection *b = &list->items[j];
      if (b->class == 0 && frcn_iou(a->box, b->box) > threshold) {
        detection *loser = a->score >= b->score ? b : a;
        loser->class = -1;
        gone = true;
      }
    }
  }
  uint32_t kept = 0;
  for (uint32_t i = 0; gone && i < list->count; i++) {
    if (list->items[i].class == 0) {
      list->items[kept++] = list->items[i];
    }
  }
  list->count = gone ? kept : list->count;
}

CVI_RC proposal_run(cpu_call *call) {
  rpn_state *s = call->state;
  float *out = call->out[0].data;
  memset(out, 0, (size_t)call->out[0].count * sizeof(float));
  for (size_t image = 0; image < (size_t)s->scores->dim[0]; image++, out += s->keep * 5) {
    s->list.count = s->list.made = 0;
    rpn_candidates(s, image);
    detect_keep_best(&s->list, MOST_CANDIDATES);
    rpn_suppress(&s->list, s->nms);
    for (uint32_t i = 0; i < s->list.count && i < s->keep; i++) {
      out[5 * i] = (float)image;
      memcpy(out + 5 * i + 1, s->list.items[i].box, sizeof(s->list.items[i].box));
    }
  }
  return CVI_RC_SUCCESS;
}
