#include "fill.h"

#include <math.h>
#include <string.h>

#include "message.h"
#include "tensors.h"

static float float_element(const Array *a, size_t i) {
  double wide;
  float narrow;
  if (a->size == 8) return memcpy(&wide, (const char *)a->data + 8 * i, 8), (float)wide;
  return memcpy(&narrow, (const char *)a->data + 4 * i, 4), narrow;
}

static float quantised(const CVI_TENSOR *t, float x) {
  float low = t->fmt == CVI_FMT_INT8 ? -128 : 0, high = t->fmt == CVI_FMT_INT8 ? 127 : 255;
  float q = roundf(x * (t->qscale != 0 ? t->qscale : 1));
  return q < low ? low : q > high ? high : q == q ? q : 0; /* NaN: 0 */
}

static void convert(CVI_TENSOR *t, const Array *a) {
  for (size_t i = 0; i < t->count; i++) {
    float x = float_element(a, i);
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (t->fmt == CVI_FMT_FP32)
      ((float *)t->sys_mem)[i] = x;
    else if (t->fmt == CVI_FMT_BF16)
      ((uint16_t *)t->sys_mem)[i] = (uint16_t)(bits >> 16);
    else if (t->fmt == CVI_FMT_INT8)
      ((int8_t *)t->sys_mem)[i] = (int8_t)quantised(t, x);
    else
      t->sys_mem[i] = (uint8_t)quantised(t, x);
  }
}

static bool convertible(const CVI_TENSOR *t, const Array *a) {
  bool real = t->fmt == CVI_FMT_FP32 || t->fmt == CVI_FMT_BF16;
  bool quantised_type = t->fmt == CVI_FMT_INT8 || t->fmt == CVI_FMT_UINT8;
  return !t->aligned && a->kind == 'f' && (a->size == 4 || a->size == 8) &&
         a->bytes / a->size == t->count && (real || quantised_type);
}

bool fill_tensor(CVI_TENSOR *t, const Array *a) {
  Array want;
  if (!tensor_array(&want, t)) return false;
  if (a->bytes == want.bytes && a->kind == want.kind && a->size == want.size) {
    memcpy(t->sys_mem, a->data, a->bytes);
    return true;
  }
  if (convertible(t, a)) return convert(t, a), true;
  return fail("input %s takes %zu elements of type %c%zu%s, the array has %zu of %c%zu", t->name,
              want.bytes / want.size, want.kind, want.size,
              t->aligned ? " (its padded rows)" : " or floating point", a->bytes / a->size, a->kind,
              a->size);
}
