/* detectionoutput: SSD (api/cvi_nn.md section 10.6).
 *
 * Inputs by name (mbox_loc, mbox_conf, mbox_priorbox), else in order: loc [n, 4 P (1 or C)], conf
 * [n, P C], prior [1, 2, 4 P] (boxes, then variances). Per class but the background: conf >
 * threshold, the best top_k; box = prior centre + var d size, exp(var d) size. A candidate stays
 * unless inter (t + 1) > (area + area) t for a kept one. Of an image the best keep_top_k, grouped
 * by class. Rows image, class, score, xmin, ymin, xmax, ymax; unused rows -1.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu_op/detect.h"
#include "cpu_op/ops.h"

enum { ROW = 7 };

typedef struct {
  uint32_t classes, priors, keep, top_k;
  int32_t background;
  bool shared;
  float nms, confidence;
  const cpu_tensor *loc, *conf, *prior;
  detection *candidates; /* of one class */
  detection_list kept;   /* of one image */
} state;

static CVI_RC read_args(cpu_call *call, state *s) {
  int32_t classes = 0, top_k = 0, keep = 0;
  const char *code = NULL;
  CVI_RC rc = cpu_arg_int(call, "num_classes", &classes);
  rc = rc ? rc : cpu_arg_bool(call, "share_location", &s->shared);
  rc = rc ? rc : cpu_arg_int(call, "background_label_id", &s->background);
  rc = rc ? rc : cpu_arg_string(call, "code_type", &code);
  rc = rc ? rc : cpu_arg_int(call, "top_k", &top_k);
  rc = rc ? rc : cpu_arg_float(call, "nms_threshold", &s->nms);
  rc = rc ? rc : cpu_arg_float(call, "confidence_threshold", &s->confidence);
  rc = rc ? rc : cpu_arg_int(call, "keep_top_k", &keep);
  if (rc) {
    return rc;
  }
  if (strcmp(code, "CENTER_SIZE") != 0) {
    return cpu_fail(call, "code_type '%.20s' is not CENTER_SIZE", code);
  }
  if (classes < 1 || classes > 1 << 20 || keep < 1) {
    return cpu_fail(call, "num_classes %d, keep_top_k %d", classes, keep);
  }
  s->classes = (uint32_t)classes;
  s->keep = (uint32_t)keep;
  s->top_k = top_k < 1 || top_k > MOST_CANDIDATES ? MOST_CANDIDATES : (uint32_t)top_k;
  return CVI_RC_SUCCESS;
}

static void find_inputs(const cpu_call *call, state *s) {
  s->loc = &call->in[0];
  s->conf = &call->in[1];
  s->prior = &call->in[2];
  for (int i = 0; i < 3; i++) {
    const cpu_tensor *t = &call->in[i];
    s->loc = strstr(t->name, "mbox_loc") ? t : s->loc;
    s->conf = strstr(t->name, "mbox_conf") ? t : s->conf;
    s->prior = strstr(t->name, "mbox_priorbox") ? t : s->prior;
  }
}

CVI_RC detectionoutput_setup(cpu_call *call) {
  state *s = cpu_alloc(call, 1, sizeof(*s));
  CVI_RC rc = s ? detect_need_floats(call, 3) : CVI_RC_NOMEM;
  rc = rc ? rc : read_args(call, s);
  if (rc) {
    return rc;
  }
  find_inputs(call, s);
  s->priors = (uint32_t)(s->prior->count / 8);
  uint64_t images = (uint64_t)s->loc->dim[0], scores = images * s->priors;
  if (s->conf->dim[0] != s->loc->dim[0] || scores > INT32_MAX) {
    return cpu_fail(call, "batches %d and %d", s->loc->dim[0], s->conf->dim[0]);
  }
  rc = cpu_need_count(call, s->conf, scores * s->classes, "conf");
  rc = rc ? rc : cpu_need_count(call, s->loc, 4 * scores * (s->shared ? 1 : s->classes), "loc");
  rc = rc ? rc : cpu_need_count(call, &call->out[0], images * s->keep * ROW, "output");
  call->state = s;
  rc = rc ? rc : detect_list(call, &s->kept, (uint64_t)s->priors * s->classes);
  s->candidates = rc ? NULL : cpu_alloc(call, s->priors, sizeof(detection));
  return rc ? rc : s->candidates ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
}

static void decode(const state *s, const float *d, size_t p, float box[4]) {
  const float *prior = (const float *)s->prior->data + 4 * p;
  const float *variance = prior + 4 * (size_t)s->priors;
  for (int i = 0; i < 2; i++) {
    float size = prior[2 + i] - prior[i], centre = (prior[i] + prior[2 + i]) * 0.5f;
    float c = variance[i] * d[i] * size + centre;
    float half = expf(variance[2 + i] * d[2 + i]) * size * 0.5f;
    box[i] = c - half;
    box[2 + i] = c + half;
  }
}

static int best_first(const void *a, const void *b) {
  const detection *x = a, *y = b;
  if (x->score != y->score) {
    return x->score > y->score ? -1 : 1;
  }
  return x->order < y->order ? -1 : 1;
}

static bool covered(const detection *a, const detection *b, float t) {
  float w = fminf(a->box[2], b->box[2]) - fmaxf(a->box[0], b->box[0]);
  float h = fminf(a->box[3], b->box[3]) - fmaxf(a->box[1], b->box[1]);
  if (w <= 0 || h <= 0) {
    return false;
  }
  float area_a = (a->box[2] - a->box[0]) * (a->box[3] - a->box[1]);
  float area_b = (b->box[2] - b->box[0]) * (b->box[3] - b->box[1]);
  return w * h * (t + 1) > (area_a + area_b) * t;
}

/* Adds what is kept of one class. */
static void one_class(state *s, size_t image, uint32_t class) {
  const float *conf = (const float *)s->conf->data + image * s->priors * s->classes + class;
  size_t copies = s->shared ? 1 : s->classes;
  const float *loc = (const float *)s->loc->data + 4 * image * s->priors * copies;
  uint32_t count = 0;
  for (uint32_t p = 0; p < s->priors; p++) {
    float score = conf[(size_t)p * s->classes];
    if (score > s->confidence) {
      s->candidates[count++] = (detection){.score = score, .class = (int32_t)class, .order = p};
    }
  }
  qsort(s->candidates, count, sizeof(detection), best_first);
  count = count < s->top_k ? count : s->top_k;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    detection d = s->candidates[i];
    decode(s, loc + 4 * (d.order * copies + (s->shared ? 0 : class)), d.order, d.box);
    bool good = true;
    for (uint32_t k = 0; k < kept && good; k++) {
      good = !covered(&d, &s->candidates[k], s->nms);
    }
    if (good) {
      s->candidates[kept++] = d;
    }
  }
  for (uint32_t k = 0; k < kept; k++) {
    detect_add(&s->kept, &s->candidates[k]);
  }
}

CVI_RC detectionoutput_run(cpu_call *call) {
  state *s = call->state;
  const cpu_tensor *t = &call->out[0];
  float *out = t->data;
  for (size_t i = 0; i < (size_t)t->count; i++) {
    out[i] = -1.0f;
  }
  size_t row = 0, images = (size_t)s->loc->dim[0];
  for (size_t image = 0; image < images; image++) {
    s->kept.count = s->kept.made = 0;
    for (uint32_t c = 0; c < s->classes; c++) {
      if ((int32_t)c != s->background) {
        one_class(s, image, c);
      }
    }
    detect_keep_best(&s->kept, s->keep);
    for (uint32_t i = 0; i < s->kept.count; i++, row++) {
      const detection *d = &s->kept.items[i];
      float *to = out + ROW * row;
      to[0] = (float)image;
      to[1] = (float)d->class;
      to[2] = d->score;
      memcpy(to + 3, d->box, sizeof(d->box));
    }
  }
  for (size_t image = 0; row == 0 && image < images && (image + 1) * ROW <= t->count; image++) {
    out[ROW * image] = (float)image; /* nothing found at all */
  }
  return CVI_RC_SUCCESS;
}
