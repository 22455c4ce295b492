/* From a picture to the input tensor of a network (cli.md sections 10.1, 10.4). */
#ifndef SAMPLES_PREPROCESS_H
#define SAMPLES_PREPROCESS_H

#include "cviruntime.h"
#include "image.h"

typedef enum { FIT_STRETCH, FIT_LETTERBOX, FIT_SHORT_SIDE } Fit;

/* mean, scale: one value per channel in the order of the network. folded: y = x * scale - M with
 * M = float(mean * scale), the arithmetic of the old command line; otherwise (x - mean) * scale.
 * resize 0: to the size of the network. */
typedef struct {
  double mean[3], scale[3];
  bool rgb, folded;
  Fit fit;
  int resize_width, resize_height;
  uint8_t pad;
} Preprocess;

/* The values with which the sample models of the CV183x quick start were built: 256 x 256, centre
 * crop, BGR, (x * 0.017 - mean * 0.017) with mean 103.94, 116.78, 123.68. */
extern const Preprocess preprocess_default;

/* Resize by `p->fit` to p->resize (or width x height) and cut the middle width x height. */
bool preprocess_geometry(Image *out, const Image *image, const Preprocess *p, int width,
                         int height);

/* Normalise a picture of exactly the tensor's size into slot `batch` of a tensor [n, c, h, w] of
 * type fp32, bf16 (truncated), int8 or uint8 (round half away from zero of y * qscale, saturated).
 * Grey networks (c = 1) get (1868 B + 9617 G + 4899 R + 8192) >> 14. False after a message. */
bool preprocess_fill(CVI_TENSOR *tensor, int batch, const Image *picture, const Preprocess *p);

/* Both steps. */
bool preprocess_image(CVI_TENSOR *tensor, int batch, const Image *image, const Preprocess *p);

/* Copy an .npy array of the tensor's shape (of its type, or float32, which is quantised), or a file
 * of exactly its bytes, into the tensor. */
bool load_tensor(CVI_TENSOR *tensor, const char *path);

#endif
