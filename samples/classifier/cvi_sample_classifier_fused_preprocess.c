/* Classify a picture with a model that crops, normalises and quantises by itself: the input is the
 * raw picture, resized to the size that the model asks for (cli.md section 11). */
#include <string.h>

#include "classify.h"
#include "message.h"
#include "resize.h"

/* Height and width that the input asks for, by its pixel format. */
static bool input_size(const CVI_TENSOR *t, int *height, int *width, bool *packed) {
  const int32_t *d = t->shape.dim;
  *packed =
      t->pixel_format == CVI_NN_PIXEL_BGR_PACKED || t->pixel_format == CVI_NN_PIXEL_RGB_PACKED;
  bool planar =
      t->pixel_format == CVI_NN_PIXEL_BGR_PLANAR || t->pixel_format == CVI_NN_PIXEL_RGB_PLANAR;
  *height = *packed ? d[1] : d[2];
  *width = *packed ? d[2] : d[3];
  return (*packed ? d[3] == 3 : planar && d[1] == 3) && t->fmt == CVI_FMT_UINT8 && !t->aligned;
}

static bool fill_raw(CVI_TENSOR *t, int batch, const Image *image, const Preprocess *p) {
  int height, width;
  bool packed;
  (void)p;
  if (!input_size(t, &height, &width, &packed))
    return fail(
        "input %s is not an unaligned uint8 picture (pixel format %d, data type %d): build "
        "the model with --fuse_preprocess --aligned_input false, or use cvi_sample_classifier",
        t->name, (int)t->pixel_format, (int)t->fmt);
  Image picture;
  if (!image_resize(&picture, image, width, height)) return false;
  bool rgb =
      t->pixel_format == CVI_NN_PIXEL_RGB_PACKED || t->pixel_format == CVI_NN_PIXEL_RGB_PLANAR;
  size_t plane = (size_t)width * (size_t)height;
  uint8_t *out = (uint8_t *)CVI_NN_TensorPtr(t) + (size_t)batch * 3 * plane;
  for (size_t i = 0; i < plane; i++)
    for (size_t c = 0; c < 3; c++)
      out[packed ? 3 * i + c : c * plane + i] = picture.pixels[3 * i + (rgb ? 2 - c : c)];
  image_free(&picture);
  return true;
}

int main(int argc, char **argv) { return classifier_main(argc, argv, fill_raw); }
