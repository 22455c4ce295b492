#include "codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exif.h"
#include "message.h"

#ifdef SAMPLES_NO_STB

bool codec_load(Image *image, const char *path) {
  (void)image;
  return fail("%s: built without stb_image: only .npy pictures can be read", path);
}

bool codec_save(const Image *image, const char *path) {
  (void)image;
  return fail("%s: built without stb_image_write: only .ppm and .npy can be written", path);
}

#else

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS IMAGE_MAX_SIDE
#include "stb_image.h"
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include "stb_image_write.h"

#define FILE_MAX (256 << 20)

/* The whole file; NULL after a message. */
static uint8_t *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) return fail("%s: no such file, or not readable", path), NULL;
  long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  uint8_t *data = length > 0 && length <= FILE_MAX ? malloc((size_t)length) : NULL;
  if (data &&
      (fseek(file, 0, SEEK_SET) || fread(data, 1, (size_t)length, file) != (size_t)length)) {
    free(data);
    data = NULL;
  }
  fclose(file);
  if (!data) return fail("%s: empty, too large or not readable", path), NULL;
  *size = (size_t)length;
  return data;
}

static void swap_red_blue(uint8_t *pixels, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint8_t red = pixels[3 * i];
    pixels[3 * i] = pixels[3 * i + 2];
    pixels[3 * i + 2] = red;
  }
}

bool codec_load(Image *image, const char *path) {
  size_t size = 0;
  uint8_t *data = read_file(path, &size);
  if (!data) return false;
  int width = 0, height = 0, channels = 0;
  bool good = stbi_info_from_memory(data, (int)size, &width, &height, &channels) &&
              (int64_t)width * height <= IMAGE_MAX_PIXELS;
  uint8_t *pixels =
      good ? stbi_load_from_memory(data, (int)size, &width, &height, &channels, 3) : NULL;
  int orientation = pixels ? exif_orientation(data, size) : 1;
  free(data);
  if (!pixels) return fail("%s: not a JPEG or PNG picture, or damaged, or too large", path);
  good = image_new(image, width, height, 3);
  if (good) {
    memcpy(image->pixels, pixels, (size_t)width * (size_t)height * 3);
    swap_red_blue(image->pixels, (size_t)width * (size_t)height);
  }
  stbi_image_free(pixels);
  return good && image_turn(image, orientation);
}

bool codec_save(const Image *image, const char *path) {
  Image copy;
  if (!image_crop(&copy, image, 0, 0, image->width, image->height)) return false;
  if (copy.channels == 3) swap_red_blue(copy.pixels, (size_t)copy.width * (size_t)copy.height);
  const char *dot = strrchr(path, '.');
  int good = 0;
  if (dot && (!strcmp(dot, ".jpg") || !strcmp(dot, ".jpeg")))
    good = stbi_write_jpg(path, copy.width, copy.height, copy.channels, copy.pixels, 92);
  else if (dot && !strcmp(dot, ".png"))
    good = stbi_write_png(path, copy.width, copy.height, copy.channels, copy.pixels, 0);
  else
    fail("%s: the name must end in .jpg, .png, .ppm or .npy", path);
  image_free(&copy);
  return good ? true : fail("%s: could not be written", path);
}

#endif
