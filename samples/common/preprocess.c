#include "preprocess.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "message.h"
#include "npy.h"
#include "resize.h"

const Preprocess preprocess_default = {
    .mean = {103.94, 116.78, 123.68},
    .scale = {0.017, 0.017, 0.017},
    .folded = true,
    .resize_width = 256,
    .resize_height = 256,
};

bool preprocess_geometry(Image *out, const Image *image, const Preprocess *p, int width,
                         int height) {
  int rw = p->resize_width > width ? p->resize_width : width;
  int rh = p->resize_height > height ? p->resize_height : height;
  Image resized;
  memset(out, 0, sizeof *out);
  if (p->fit == FIT_LETTERBOX) {
    if (!image_letterbox(&resized, image, rw, rh, p->pad)) return false;
  } else if (p->fit == FIT_SHORT_SIDE) {
    double rx = (double)rw / image->width, ry = (double)rh / image->height;
    double ratio = rx > ry ? rx : ry;
    int w = (int)(image->width * ratio), h = (int)(image->height * ratio);
    if (!image_resize(&resized, image, w > rw ? w : rw, h > rh ? h : rh)) return false;
    Image middle; /* the centre rw x rh, then the centre of that */
    bool good =
        image_crop(&middle, &resized, (resized.width - rw) / 2, (resized.height - rh) / 2, rw, rh);
    image_free(&resized);
    if (!good) return false;
    resized = middle;
  } else if (!image_resize(&resized, image, rw, rh)) {
    return false;
  }
  bool good = image_crop(out, &resized, rw / 2 - width / 2, rh / 2 - height / 2, width, height);
  image_free(&resized);
  return good;
}

/* clamp(round half away from zero); a NaN becomes 0 */
static int quantised(float value, int low, int high) {
  float r = roundf(value);
  if (!(r == r)) return 0;
  return r<(float)low ? low : r>(float) high ? high : (int)r;
}

/* Store element `i` of the tensor. */
static bool store(CVI_TENSOR *t, size_t i, float value) {
  void *memory = CVI_NN_TensorPtr(t);
  uint32_t bits;
  switch (t->fmt) {
  case CVI_FMT_FP32:
    ((float *)memory)[i] = value;
    return true;
  case CVI_FMT_BF16:
    memcpy(&bits, &value, sizeof bits);
    ((uint16_t *)memory)[i] = (uint16_t)(bits >> 16);
    return true;
  case CVI_FMT_INT8:
    ((int8_t *)memory)[i] = (int8_t)quantised(value * t->qscale, -128, 127);
    return true;
  case CVI_FMT_UINT8:
    ((uint8_t *)memory)[i] = (uint8_t)quantised(value * t->qscale, 0, 255);
    return true;
  default:
    return false;
  }
}

static float normalised(float x, const Preprocess *p, int channel) {
  float scale = (float)p->scale[channel];
  if (p->folded) return x * scale - (float)(p->mean[channel] * p->scale[channel]);
  return (x - (float)p->mean[channel]) * scale;
}

static float pixel_value(const uint8_t *bgr, int channels, int channel, bool rgb) {
  if (channels == 1) return (float)((1868 * bgr[0] + 9617 * bgr[1] + 4899 * bgr[2] + 8192) >> 14);
  return bgr[rgb ? 2 - channel : channel];
}

bool preprocess_fill(CVI_TENSOR *t, int batch, const Image *picture, const Preprocess *p) {
  const int32_t *d = t->shape.dim; /* n, c, h, w */
  if ((d[1] != 3 && d[1] != 1) || picture->channels != 3 || picture->height != d[2] ||
      picture->width != d[3] || batch < 0 || batch >= d[0])
    return fail("input %s has the shape (%d,%d,%d,%d): not one for a picture of %d x %d", t->name,
                d[0], d[1], d[2], d[3], picture->width, picture->height);
  size_t plane = (size_t)d[2] * (size_t)d[3], at = (size_t)batch * (size_t)d[1] * plane;
  for (int c = 0; c < d[1]; c++)
    for (size_t i = 0; i < plane; i++) {
      float x = pixel_value(picture->pixels + 3 * i, d[1], c, p->rgb);
      if (!store(t, at++, normalised(x, p, c)))
        return fail("input %s has data type %d, which this sample does not fill", t->name, t->fmt);
    }
  return true;
}

bool preprocess_image(CVI_TENSOR *t, int batch, const Image *image, const Preprocess *p) {
  Image picture;
  if (t->shape.dim[2] < 1 || t->shape.dim[3] < 1) return fail("input %s is empty", t->name);
  if (!preprocess_geometry(&picture, image, p, t->shape.dim[3], t->shape.dim[2])) return false;
  bool good = preprocess_fill(t, batch, &picture, p);
  image_free(&picture);
  return good;
}

static bool load_raw(CVI_TENSOR *t, const char *path) {
  size_t size = CVI_NN_TensorSize(t);
  FILE *file = fopen(path, "rb");
  if (!file) return fail("%s: no such file, or not readable", path);
  bool good = fread(CVI_NN_TensorPtr(t), 1, size, file) == size && fgetc(file) == EOF;
  fclose(file);
  return good ? true : fail("%s: input %s takes exactly %zu bytes", path, t->name, size);
}

bool load_tensor(CVI_TENSOR *t, const char *path) {
  size_t n = strlen(path), count = CVI_NN_TensorCount(t);
  if (n < 4 || strcmp(path + n - 4, ".npy")) return load_raw(t, path);
  Array a;
  if (!npy_load(&a, path)) return false;
  bool good = a.size && a.bytes / a.size == count;
  if (good && a.bytes == CVI_NN_TensorSize(t) && (a.kind == 'f') == (t->fmt == CVI_FMT_FP32)) {
    memcpy(CVI_NN_TensorPtr(t), a.data, a.bytes);
  } else if (good && a.kind == 'f' && a.size == 4) {
    for (size_t i = 0; good && i < count; i++) good = store(t, i, ((float *)a.data)[i]);
  } else {
    good = false;
  }
  npy_free(&a);
  return good ? true
              : fail("%s: does not fit input %s (%zu elements of data type %d)", path, t->name,
                     count, t->fmt);
}
