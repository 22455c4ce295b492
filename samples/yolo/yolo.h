/* Detection with YOLOv5 networks: decode, non-maximum suppression, drawing (cli.md section 16.1).
 * The letterbox is common/resize.h. */
#ifndef SAMPLES_YOLO_H
#define SAMPLES_YOLO_H

#include "image.h"
#include "resize.h"

typedef struct {
  float x1, y1, x2, y2, score;
  int label;
} Box;

typedef struct {
  Box *boxes;
  size_t count, room;
} Boxes;

/* One output of the network: `values` of (3, ny, nx, 5 + classes) with strides in elements, so that
 * (1, 3, ny, nx, 85), (1, 255, ny, nx) and (1, ny, nx, 255) are all described without a copy. */
typedef struct {
  const float *values;
  int ny, nx, classes;
  size_t anchor_stride, y_stride, x_stride, value_stride;
} Head;

/* Layouts of a head. */
typedef enum {
  HEAD_ANCHOR_FIRST,  /* (1, 3, ny, nx, 5 + classes) */
  HEAD_CHANNEL_FIRST, /* (1, 3 * (5 + classes), ny, nx) */
  HEAD_CHANNEL_LAST,  /* (1, ny, nx, 3 * (5 + classes)) */
} HeadLayout;

Head yolo_head(const float *values, HeadLayout layout, int ny, int nx, int classes);

/* The three anchors (width, height pairs) of a stride of 8, 16 or 32; NULL for another stride. */
const float *yolo_anchors(int stride);

/* Append the candidates of one head, in pixels of the network's input: with s = sigmoid(value)
 *   centre = (2 s - 0.5 + cell) * stride, size = (2 s)^2 * anchor, score = s(object) * s(class)
 * of the best class (the first of equal ones), when score > threshold. Order: anchor, row, column.
 * False: no memory. */
bool yolo_decode(Boxes *out, const Head *head, int stride, const float *anchors, float threshold);

/* Greedy suppression over all classes together in the order of the scores (equal scores keep their
 * order): a box goes when its overlap with a kept one is more than `threshold`. Areas and overlaps
 * count pixels: width = x2 - x1 + 1. What is left is sorted by score. False: no memory. */
bool boxes_suppress(Boxes *boxes, float threshold);

/* From pixels of the letterboxed input to pixels of the picture, clipped to it. */
void boxes_unletterbox(Boxes *boxes, Letterbox g, int width, int height);

void boxes_free(Boxes *boxes);

/* A rectangle of 1 pixel, clipped to the picture. The colour is blue, green, red. */
void draw_rectangle(Image *image, int x1, int y1, int x2, int y2, const uint8_t bgr[3]);

/* Text in a fixed font of 5 x 7 pixels; (x, y) is its left upper corner. Small letters are drawn as
 * capitals, unknown characters as blanks. */
void draw_text(Image *image, int x, int y, const char *text, const uint8_t bgr[3]);

/* Boxes with a score of at least `threshold` with "name:xx.x%"; one such line each on stdout. The
 * number of them. */
size_t draw_boxes(Image *image, const Boxes *boxes, float threshold, char *const *names,
                  size_t name_count);

#endif
