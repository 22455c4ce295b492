#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "message.h"
#include "npy.h"

bool image_new(Image *image, int width, int height, int channels) {
  memset(image, 0, sizeof *image);
  bool known = channels == 1 || channels == 3 || channels == 4;
  if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE || !known ||
      (int64_t)width * height > IMAGE_MAX_PIXELS)
    return fail("a picture of %d x %d pixels with %d channels is not supported", width, height,
                channels);
  image->pixels = calloc((size_t)width * (size_t)height, (size_t)channels);
  if (!image->pixels) return fail("no memory for a picture of %d x %d pixels", width, height);
  image->width = width;
  image->height = height;
  image->channels = channels;
  return true;
}

void image_free(Image *image) {
  free(image->pixels);
  memset(image, 0, sizeof *image);
}

bool image_crop(Image *part, const Image *image, int left, int top, int width, int height) {
  memset(part, 0, sizeof *part);
  if (left < 0 || top < 0 || width < 1 || height < 1 || width > image->width - left ||
      height > image->height - top)
    return fail("a part of %d x %d pixels at (%d, %d) is not inside a picture of %d x %d", width,
                height, left, top, image->width, image->height);
  if (!image_new(part, width, height, image->channels)) return false;
  size_t pixel = (size_t)image->channels, row = (size_t)width * pixel;
  for (int y = 0; y < height; y++) {
    size_t from = ((size_t)(top + y) * (size_t)image->width + (size_t)left) * pixel;
    memcpy(part->pixels + (size_t)y * row, image->pixels + from, row);
  }
  return true;
}

static bool has_suffix(const char *path, const char *suffix) {
  size_t n = strlen(path), k = strlen(suffix);
  return n > k && strcmp(path + n - k, suffix) == 0;
}

static bool load_npy(Image *image, const char *path) {
  Array array;
  if (!npy_load(&array, path)) return false;
  bool good = array.kind == 'u' && array.size == 1 && array.rank == 3 && array.shape[2] == 3 &&
              array.shape[0] <= IMAGE_MAX_SIDE && array.shape[1] <= IMAGE_MAX_SIDE;
  if (!good)
    fail("%s: a picture must be an array of uint8 with the shape (height, width, 3)", path);
  else if ((good = image_new(image, (int)array.shape[1], (int)array.shape[0], 3)))
    memcpy(image->pixels, array.data, array.bytes);
  npy_free(&array);
  return good;
}

bool image_load(Image *image, const char *path) {
  memset(image, 0, sizeof *image);
  return has_suffix(path, ".npy") ? load_npy(image, path) : codec_load(image, path);
}

static bool save_ppm(const Image *image, const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file) return fail("%s: can not be written", path);
  fprintf(file, "P6\n%d %d\n255\n", image->width, image->height);
  size_t count = (size_t)image->width * (size_t)image->height;
  for (size_t i = 0; i < count; i++) {
    const uint8_t *p = image->pixels + i * (size_t)image->channels;
    uint8_t rgb[3] = {p[0], p[0], p[0]};
    if (image->channels >= 3) rgb[0] = p[2], rgb[1] = p[1];
    fwrite(rgb, 1, 3, file);
  }
  bool good = !ferror(file);
  return fclose(file) == 0 && good ? true : fail("%s: could not be written completely", path);
}

bool image_save(const Image *image, const char *path) {
  if (has_suffix(path, ".ppm")) return save_ppm(image, path);
  if (!has_suffix(path, ".npy")) return codec_save(image, path);
  Array array = {'u', 1,
                 3,   {(size_t)image->height, (size_t)image->width, (size_t)image->channels},
                 0,   image->pixels};
  return npy_save(&array, path);
}
