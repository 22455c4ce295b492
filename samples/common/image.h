/* Pictures: 8-bit, rows of pixels, blue-green-red for three channels (cli.md section 10.1). */
#ifndef SAMPLES_IMAGE_H
#define SAMPLES_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int width, height, channels; /* channels 1, 3 or 4 */
  uint8_t *pixels;             /* height * width * channels bytes, owned */
} Image;

/* Largest side and largest number of pixels that are accepted. */
#define IMAGE_MAX_SIDE 32767
#define IMAGE_MAX_PIXELS (64 << 20)

/* A black picture. False (and *image empty): a size that is not accepted, or no memory. */
bool image_new(Image *image, int width, int height, int channels);

/* Read JPEG or PNG (3 channels, turned as its EXIF orientation says), or .npy: uint8, shape
 * (h, w, 3) in BGR order. False after a message. */
bool image_load(Image *image, const char *path);

/* Write .png, .jpg, .ppm or .npy, by the extension. False after a message. */
bool image_save(const Image *image, const char *path);

void image_free(Image *image);

/* The part (left, top, width, height), which must lie inside the picture. */
bool image_crop(Image *part, const Image *image, int left, int top, int width, int height);

#endif
