#include "exif.h"

#include <string.h>

/* Bytes of the TIFF block inside the Exif segment; every read is checked against `size`. */
typedef struct {
  const uint8_t *data;
  size_t size;
  bool big;
} Tiff;

static uint32_t number(const Tiff *t, size_t at, size_t bytes) {
  uint32_t value = 0;
  if (at > t->size || bytes > t->size - at) return 0;
  for (size_t i = 0; i < bytes; i++)
    value |= (uint32_t)t->data[at + i] << 8 * (t->big ? bytes - 1 - i : i);
  return value;
}

static int orientation_of(const Tiff *t) {
  size_t directory = number(t, 4, 4), entries = number(t, directory, 2);
  for (size_t i = 0; i < entries; i++) {
    size_t entry = directory + 2 + 12 * i;
    if (number(t, entry, 2) != 0x0112) continue;
    uint32_t value = number(t, entry + 8, 2);
    return value >= 1 && value <= 8 ? (int)value : 1;
  }
  return 1;
}

int exif_orientation(const uint8_t *data, size_t size) {
  if (size < 4 || data[0] != 0xFF || data[1] != 0xD8) return 1;
  size_t at = 2;
  while (at + 4 <= size && data[at] == 0xFF) {
    int marker = data[at + 1];
    size_t length = (size_t)data[at + 2] << 8 | data[at + 3];
    if (marker == 0xDA || length < 2 || length > size - at - 2) return 1;
    const uint8_t *body = data + at + 4;
    if (marker == 0xE1 && length >= 16 && memcmp(body, "Exif\0\0", 6) == 0) {
      Tiff tiff = {body + 6, length - 8, body[6] == 'M'};
      return orientation_of(&tiff);
    }
    at += 2 + length;
  }
  return 1;
}

bool image_turn(Image *image, int orientation) {
  if (orientation <= 1 || orientation > 8) return true;
  bool transposed = orientation >= 5;
  int width = transposed ? image->height : image->width;
  int height = transposed ? image->width : image->height;
  Image turned;
  if (!image_new(&turned, width, height, image->channels)) return image_free(image), false;
  bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  size_t n = (size_t)image->channels;
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      int sx = transposed ? y : x, sy = transposed ? x : y;
      if (flip_x) sx = image->width - 1 - sx;
      if (flip_y) sy = image->height - 1 - sy;
      memcpy(turned.pixels + ((size_t)y * (size_t)width + (size_t)x) * n,
             image->pixels + ((size_t)sy * (size_t)image->width + (size_t)sx) * n, n);
    }
  image_free(image);
  *image = turned;
  return true;
}
