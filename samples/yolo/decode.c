#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "yolo.h"

Head yolo_head(const float *values, HeadLayout layout, int ny, int nx, int classes) {
  size_t n = (size_t)classes + 5, y = (size_t)ny, x = (size_t)nx;
  Head head = {values, ny, nx, classes, 0, 0, 0, 0};
  switch (layout) {
  case HEAD_ANCHOR_FIRST:
    head.anchor_stride = y * x * n, head.y_stride = x * n, head.x_stride = n, head.value_stride = 1;
    break;
  case HEAD_CHANNEL_FIRST:
    head.anchor_stride = n * y * x, head.y_stride = x, head.x_stride = 1, head.value_stride = y * x;
    break;
  case HEAD_CHANNEL_LAST:
    head.anchor_stride = n, head.y_stride = 3 * n * x, head.x_stride = 3 * n, head.value_stride = 1;
    break;
  }
  return head;
}

const float *yolo_anchors(int stride) {
  static const float anchors[3][6] = {
      {10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326}};
  return stride == 8 ? anchors[0] : stride == 16 ? anchors[1] : stride == 32 ? anchors[2] : NULL;
}

static float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

static bool append(Boxes *boxes, Box box) {
  if (boxes->count == boxes->room) {
    size_t room = boxes->room ? 2 * boxes->room : 64;
    Box *more = realloc(boxes->boxes, room * sizeof *more);
    if (!more) return false;
    boxes->boxes = more;
    boxes->room = room;
  }
  boxes->boxes[boxes->count++] = box;
  return true;
}

void boxes_free(Boxes *boxes) {
  free(boxes->boxes);
  memset(boxes, 0, sizeof *boxes);
}

/* The box of one cell; its score is -1 when no class reaches the threshold. */
static Box decode_cell(const float *v, const Head *head, int row, int column, int stride,
                       const float *anchor, float threshold) {
  size_t step = head->value_stride;
  float object = sigmoid(v[4 * step]), best = -1;
  Box box = {.score = -1};
  if (!(object > threshold)) return box; /* a class factor is at most 1 */
  for (int c = 0; c < head->classes; c++) {
    float score = object * sigmoid(v[(5 + (size_t)c) * step]);
    if (score > best) best = score, box.label = c;
  }
  if (!(best > threshold)) return box;
  float x = (2 * sigmoid(v[0]) - 0.5f + (float)column) * (float)stride;
  float y = (2 * sigmoid(v[step]) - 0.5f + (float)row) * (float)stride;
  float w = 2 * sigmoid(v[2 * step]), h = 2 * sigmoid(v[3 * step]);
  w = w * w * anchor[0] / 2;
  h = h * h * anchor[1] / 2;
  return (Box){x - w, y - h, x + w, y + h, best, box.label};
}

bool yolo_decode(Boxes *out, const Head *head, int stride, const float *anchors, float threshold) {
  for (size_t a = 0; a < 3; a++)
    for (int y = 0; y < head->ny; y++)
      for (int x = 0; x < head->nx; x++) {
        const float *v = head->values + a * head->anchor_stride + (size_t)y * head->y_stride +
                         (size_t)x * head->x_stride;
        Box box = decode_cell(v, head, y, x, stride, anchors + 2 * a, threshold);
        if (box.score >= 0 && !append(out, box)) return false;
      }
  return true;
}
