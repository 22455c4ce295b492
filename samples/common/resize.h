/* Bilinear resize with 11-bit fixed-point weights: the bytes of OpenCV's INTER_LINEAR on uint8
 * (cli.md section 10.3). */
#ifndef SAMPLES_RESIZE_H
#define SAMPLES_RESIZE_H

#include "image.h"

/* *to becomes a new picture of width x height. False: no memory, or a size that is not accepted. */
bool image_resize(Image *to, const Image *from, int width, int height);

/* Where a picture lands on a canvas when its aspect ratio is kept. */
typedef struct {
  double ratio;      /* canvas pixels per picture pixel */
  int width, height; /* of the resized picture: trunc(size * ratio), at least 1 */
  int left, top;     /* its place: floor of half the rest */
} Letterbox;

Letterbox letterbox_geometry(int from_width, int from_height, int width, int height);

/* Resize by letterbox_geometry onto a canvas of one value. */
bool image_letterbox(Image *to, const Image *from, int width, int height, uint8_t pad);

#endif
