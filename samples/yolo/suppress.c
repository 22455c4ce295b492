#include <stdlib.h>

#include "yolo.h"

typedef struct {
  Box box;
  size_t order;
} Ranked;

static int by_score(const void *a, const void *b) {
  const Ranked *x = a, *y = b;
  if (x->box.score != y->box.score) return x->box.score < y->box.score ? 1 : -1;
  return (x->order > y->order) - (x->order < y->order);
}

static float area(const Box *b) { return (b->x2 - b->x1 + 1) * (b->y2 - b->y1 + 1); }

static float overlap(const Box *a, const Box *b) {
  float left = a->x1 > b->x1 ? a->x1 : b->x1, right = a->x2 < b->x2 ? a->x2 : b->x2;
  float top = a->y1 > b->y1 ? a->y1 : b->y1, bottom = a->y2 < b->y2 ? a->y2 : b->y2;
  float w = right - left + 1, h = bottom - top + 1;
  if (w <= 0 || h <= 0) return 0;
  return w * h / (area(a) + area(b) - w * h);
}

bool boxes_suppress(Boxes *boxes, float threshold) {
  if (!boxes->count) return true;
  Ranked *ranked = malloc(boxes->count * sizeof *ranked);
  if (!ranked) return false;
  for (size_t i = 0; i < boxes->count; i++) ranked[i] = (Ranked){boxes->boxes[i], i};
  qsort(ranked, boxes->count, sizeof *ranked, by_score);
  size_t kept = 0;
  for (size_t i = 0; i < boxes->count; i++) {
    bool keep = true;
    for (size_t k = 0; keep && k < kept; k++)
      keep = !(overlap(&boxes->boxes[k], &ranked[i].box) > threshold);
    if (keep) boxes->boxes[kept++] = ranked[i].box;
  }
  boxes->count = kept;
  free(ranked);
  return true;
}

static float clipped(float value, int size) {
  float high = (float)(size - 1);
  return value < 0 ? 0 : value > high ? high : value;
}

void boxes_unletterbox(Boxes *boxes, Letterbox g, int width, int height) {
  float ratio = (float)g.ratio;
  for (size_t i = 0; i < boxes->count; i++) {
    Box *b = &boxes->boxes[i];
    b->x1 = clipped((b->x1 - (float)g.left) / ratio, width);
    b->x2 = clipped((b->x2 - (float)g.left) / ratio, width);
    b->y1 = clipped((b->y1 - (float)g.top) / ratio, height);
    b->y2 = clipped((b->y2 - (float)g.top) / ratio, height);
  }
}
