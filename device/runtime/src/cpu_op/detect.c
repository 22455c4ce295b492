/* What the detection functions share. */
#include "cpu_op/detect.h"

#include <stdlib.h>

CVI_RC detect_list(cpu_call *call, detection_list *list, uint64_t expected) {
  list->capacity = expected < MOST_CANDIDATES ? (uint32_t)expected : MOST_CANDIDATES;
  list->capacity = list->capacity ? list->capacity : 1;
  list->items = cpu_alloc(call, 2 * (size_t)list->capacity, sizeof(detection));
  return list->items ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
}

static int by_score(const void *a, const void *b) {
  const detection *x = a, *y = b;
  if (x->score != y->score) {
    return x->score > y->score ? -1 : 1;
  }
  return x->order < y->order ? -1 : 1;
}

static int by_order(const void *a, const void *b) {
  const detection *x = a, *y = b;
  return x->order < y->order ? -1 : 1;
}

void detect_keep_best(detection_list *list, uint32_t most) {
  if (list->count > most) {
    qsort(list->items, list->count, sizeof(detection), by_score);
    list->count = most;
    qsort(list->items, list->count, sizeof(detection), by_order);
  }
}

void detect_sort_best(detection_list *list, uint32_t most) {
  qsort(list->items, list->count, sizeof(detection), by_score);
  list->count = list->count < most ? list->count : most;
}

void detect_add(detection_list *list, const detection *d) {
  if (list->count == 2 * list->capacity) { /* halve: amortised cost */
    detect_keep_best(list, list->capacity);
  }
  detection *item = &list->items[list->count++];
  *item = *d;
  item->score = isnan(d->score) ? 0.0f : d->score; /* keeps the order total */
  item->order = list->made++;
}

void detect_erase(detection_list *list, float threshold,
                  float (*overlap)(const float a[4], const float b[4])) {
  for (uint32_t i = 0; i < list->count; i++) {
    detection *a = &list->items[i];
    float score = a->score;
    if (score == 0.0f) {
      continue;
    }
    for (uint32_t j = i + 1; j < list->count; j++) {
      detection *b = &list->items[j];
      if (b->score == 0.0f || a->class != b->class || !(overlap(a->box, b->box) > threshold)) {
        continue;
      }
      if (score < b->score) {
        a->score = 0.0f;
      } else {
        b->score = 0.0f;
      }
    }
  }
}

CVI_RC detect_need_floats(const cpu_call *call, uint32_t inputs) {
  CVI_RC rc = cpu_need(call, inputs, 1);
  for (uint32_t i = 0; i < inputs && !rc; i++) {
    rc = cpu_need_fmt(call, &call->in[i], CVI_FMT_FP32, "input");
  }
  return rc ? rc : cpu_need_fmt(call, &call->out[0], CVI_FMT_FP32, "output");
}

void detect_sort_inputs(const cpu_call *call, uint32_t count, int64_t (*key)(const cpu_tensor *t),
                        const cpu_tensor **out) {
  for (uint32_t i = 0; i < count; i++) {
    uint32_t at = i;
    while (at > 0 && key(out[at - 1]) < key(&call->in[i])) {
      out[at] = out[at - 1];
      at--;
    }
    out[at] = &call->in[i];
  }
}
