/* Tensor and Weight tables: shapes, formats, image fields, sizes. */
#include <math.h>
#include <string.h>

#include "schema.h"

uint32_t mf_elem_size(CVI_FMT fmt) {
  static const uint8_t sizes[] = {4, 4, 4, 2, 2, 2, 1, 1};
  return (unsigned)fmt < sizeof(sizes) ? sizes[fmt] : 0;
}

uint32_t mf_row_align(const char *chip) { return strcmp(chip, "cv183x") == 0 ? 32 : 64; }

uint64_t mf_aligned_size(const char *chip, CVI_NN_PIXEL_FORMAT_E format, uint64_t n, uint64_t c,
                         uint64_t h, uint64_t w) {
  bool cv183x = strcmp(chip, "cv183x") == 0;
  const uint64_t w_al = mf_row_align(chip);
  const uint64_t ch_al = cv183x ? 4096 : 64;
  const uint64_t y_al = format == CVI_NN_PIXEL_YUV_420_PLANAR ? 2 * w_al : w_al;
  switch ((int)format) {
  case CVI_NN_PIXEL_GRAYSCALE:
    return n * c * h * rt_align(w, w_al);
  case CVI_NN_PIXEL_RGB_PLANAR:
  case CVI_NN_PIXEL_BGR_PLANAR:
  case CVI_NN_PIXEL_RGBA_PLANAR:
  case CVI_NN_PIXEL_TENSOR:
    return n * c * rt_align(rt_align(w, w_al) * h, ch_al);
  case CVI_NN_PIXEL_RGB_PACKED:
  case CVI_NN_PIXEL_BGR_PACKED:
    return n * h * rt_align(w * c, w_al);
  case CVI_NN_PIXEL_YUV_NV12:
  case CVI_NN_PIXEL_YUV_NV21: {
    uint64_t uv = rt_align(h * rt_align(w, y_al), ch_al);
    return n * rt_align(uv + h / 2 * rt_align(w, w_al), ch_al);
  }
  case CVI_NN_PIXEL_YUV_420_PLANAR: {
    uint64_t u = rt_align(h * rt_align(w, y_al), ch_al);
    uint64_t v = rt_align(u + h / 2 * rt_align(w / 2, w_al), ch_al);
    return n * rt_align(v + h / 2 * rt_align(w / 2, w_al), ch_al);
  }
  default:
    return 0;
  }
}

/* Four dims >= 0 whose product stays below 2^31 bytes; fewer are padded with 1. A dim of 0 counts
 * as 1 for the limit, so that no product of some of the dims can be larger. */
static void parse_shape(const fb_table *owner, int id, bool required, mf_tensor *out) {
  fb_buf *b = owner->buf;
  fb_table shape = fb_sub(owner, id, "shape");
  if (shape.pos == 0 && required) {
    fb_fault(b, CVI_RC_DATA_ERR, "'shape' is missing");
  }
  fb_vector dims = fb_vec(&shape, 0, "dim", 8, required);
  uint64_t bytes = mf_elem_size(out->fmt);
  bool empty = false;
  for (int i = 0; i < 4; i++) {
    out->dim[i] = 1;
  }
  for (uint32_t i = 0; i < dims.count && !b->failed; i++) {
    int64_t d = fb_vec_i64(&dims, i);
    if (i >= 4 && d != 1) {
      fb_fault(b, CVI_RC_DATA_ERR, "shape.dim[%u] is %lld: more than 4 dimensions", i,
               (long long)d);
    } else if (d < 0 || d > INT32_MAX || (d > 0 && bytes > INT32_MAX / (uint64_t)d)) {
      fb_fault(b, CVI_RC_DATA_ERR, "shape.dim[%u] is %lld: 2 GiB or more, or negative", i,
               (long long)d);
    } else if (i < 4) {
      out->dim[i] = (int32_t)d;
      bytes *= d ? (uint64_t)d : 1;
      empty |= d == 0;
    }
  }
  out->mem_size = empty ? 0 : bytes;
  out->count = out->mem_size / mf_elem_size(out->fmt);
}

static void parse_fmt(const fb_table *t, int id, const char *name, mf_tensor *out) {
  uint8_t fmt = fb_u8(t, id, name);
  if (mf_elem_size((CVI_FMT)fmt) == 0) {
    fb_fault(t->buf, CVI_RC_DATA_ERR, "'%s' is %u, the largest data type is 7", name, fmt);
    fmt = 0;
  }
  out->fmt = (CVI_FMT)fmt;
}

static void parse_pixel_format(const fb_table *t, mf_tensor *out) {
  static const struct {
    const char *text;
    CVI_NN_PIXEL_FORMAT_E value;
  } formats[] = {
      {"RGB_PACKED", CVI_NN_PIXEL_RGB_PACKED},
      {"BGR_PACKED", CVI_NN_PIXEL_BGR_PACKED},
      {"RGB_PLANAR", CVI_NN_PIXEL_RGB_PLANAR},
      {"BGR_PLANAR", CVI_NN_PIXEL_BGR_PLANAR},
      {"YUV_NV12", CVI_NN_PIXEL_YUV_NV12},
      {"YUV_NV21", CVI_NN_PIXEL_YUV_NV21},
      {"YUV420_PLANAR", CVI_NN_PIXEL_YUV_420_PLANAR},
      {"GRAYSCALE", CVI_NN_PIXEL_GRAYSCALE},
      {"RGBA_PLANAR", CVI_NN_PIXEL_RGBA_PLANAR},
  };
  out->pixel_format = CVI_NN_PIXEL_TENSOR;
  const char *text = fb_string(t, 10, "pixel_format", false);
  if (!text || !*text) {
    return;
  }
  for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
    if (strcmp(text, formats[i].text) == 0) {
      out->pixel_format = formats[i].value;
      return;
    }
  }
  fb_fault(t->buf, CVI_RC_UNSUPPORT, "pixel_format '%.40s' is not known", text);
}

/* Three floats; absent: keeps what is there. */
static void parse_triple(const fb_table *t, int id, const char *name, float out[3]) {
  fb_vector v = fb_vec(t, id, name, 4, false);
  for (uint32_t i = 0; i < v.count && i < 3; i++) {
    out[i] = fb_vec_f32(&v, i);
  }
}

/* Real height, width, channels of an image: packed tensors are stored as [n, h, w, c]. */
static uint64_t image_bytes(const mf_tensor *t, const char *chip) {
  const int32_t *d = t->dim;
  uint64_t n = (uint64_t)d[0], c = (uint64_t)d[1], h = (uint64_t)d[2], w = (uint64_t)d[3];
  bool packed =
      t->pixel_format == CVI_NN_PIXEL_RGB_PACKED || t->pixel_format == CVI_NN_PIXEL_BGR_PACKED;
  if (packed && d[3] == 3) {
    h = (uint64_t)d[1], w = (uint64_t)d[2], c = (uint64_t)d[3];
  }
  return mf_aligned_size(chip, t->pixel_format, n, c, h, w) * mf_elem_size(t->fmt);
}

static void parse_image(const fb_table *t, const char *chip, mf_tensor *out) {
  parse_pixel_format(t, out);
  out->aligned = fb_bool(t, 11, "aligned");
  for (int i = 0; i < 3; i++) {
    out->scale[i] = 1.0f;
  }
  parse_triple(t, 8, "scale", out->scale);
  parse_triple(t, 9, "mean", out->mean);
  if (!out->aligned || t->buf->failed) {
    return;
  }
  if (out->pixel_format == CVI_NN_PIXEL_TENSOR) {
    fb_fault(t->buf, CVI_RC_DATA_ERR, "aligned, but without pixel_format");
    return;
  }
  uint32_t size = fb_u32(t, 12, "size");
  out->mem_size = size ? size : image_bytes(out, chip);
  if (out->mem_size > INT32_MAX) {
    fb_fault(t->buf, CVI_RC_DATA_ERR, "size %llu: 2 GiB or more",
             (unsigned long long)out->mem_size);
  }
}

void mf_parse_tensor(fb_table t, const char *chip, mf_tensor *out) {
  fb_buf *b = t.buf;
  out->name = fb_string(&t, 1, "name", true);
  out->offset = fb_i64(&t, 2, "offset");
  parse_fmt(&t, 3, "dtype", out);
  parse_shape(&t, 4, true, out);
  fb_table quant = fb_sub(&t, 6, "quant");
  float zero = fb_f32(&quant, 3, "zero_point");
  out->qscale = fb_f32(&quant, 4, "qscale");
  out->zero_point = isfinite(zero) && fabsf(zero) < 2147483000.0f ? (int32_t)zero : 0;
  out->overwrote = fb_bool(&t, 7, "overwrote");
  parse_image(&t, chip, out);
  if (b->failed || out->offset == -1) {
    return;
  }
  if (out->offset < 0 || out->offset >> 43 || mf_base(out->offset) == MF_BASE_WEIGHT) {
    fb_fault(b, CVI_RC_DATA_ERR, "'%.60s': offset 0x%llx: selector must be 0 or 2..7", out->name,
             (unsigned long long)out->offset);
  }
}

void mf_parse_weight(fb_table t, uint64_t section_size, mf_tensor *out) {
  fb_buf *b = t.buf;
  out->name = fb_string(&t, 0, "name", false);
  out->offset = fb_i64(&t, 1, "offset");
  uint32_t size = fb_u32(&t, 2, "size");
  parse_fmt(&t, 4, "type", out);
  parse_shape(&t, 3, false, out);
  if (b->failed) {
    return;
  }
  uint64_t low = mf_low(out->offset);
  if (out->offset < 0 || out->offset >> 43 || mf_base(out->offset) != MF_BASE_WEIGHT ||
      low > section_size || size > section_size - low) {
    fb_fault(b, CVI_RC_DATA_ERR, "'%.60s': offset 0x%llx, %u bytes; weight section has %llu bytes",
             out->name ? out->name : "", (unsigned long long)out->offset, size,
             (unsigned long long)section_size);
  } else if (size != out->mem_size) { /* nominal entries exist: section 4.2 */
    rt_log(RT_LOG_NOTICE, "weight '%.60s': %u bytes, its shape has %llu",
           out->name ? out->name : "", size, (unsigned long long)out->mem_size);
  }
  out->mem_size = size;
}
