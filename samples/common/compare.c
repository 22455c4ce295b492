#include "compare.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "tensors.h"

bool parse_tolerance(const char *text, Similarity *limits) {
  double value[3];
  int count = 0;
  for (bool more = true; more; count++) {
    char *end;
    if (count == 3) return false;
    value[count] = strtod(text, &end);
    if (end == text || (*end && *end != ',')) return false;
    more = *end == ',';
    text = end + 1;
  }
  *limits =
      (Similarity){value[0], count == 3 ? value[1] : -1, count == 1 ? -1e30 : value[count - 1]};
  return true;
}

/* Element i of an array; bf16 is stored as uint16. */
static double element(const Array *a, size_t i, bool bf16) {
  const unsigned char *p = (const unsigned char *)a->data + i * a->size;
  union {
    uint32_t bits;
    float f;
    int32_t i32;
    uint16_t u16;
    int16_t i16;
    double d;
  } v = {0};
  memcpy(&v, p, a->size);
  if (a->kind == 'f') return a->size == 8 ? v.d : (double)v.f;
  if (bf16 && a->size == 2) {
    v.bits = (uint32_t)v.u16 << 16;
    return (double)v.f;
  }
  bool sign = a->kind == 'i';
  if (a->size == 1) return sign ? (double)(int8_t)*p : (double)*p;
  if (a->size == 2) return sign ? (double)v.i16 : (double)v.u16;
  return sign ? (double)v.i32 : (double)v.bits;
}

/* What one step of the tensor is worth beside a floating-point reference (formats/cvimodel.md
 * section 7.1). */
static double step_of(const CVI_TENSOR *t, bool input) {
  bool quantised = (t->fmt == CVI_FMT_INT8 || t->fmt == CVI_FMT_UINT8) && t->qscale != 0;
  return !quantised ? 1 : input ? 1 / (double)t->qscale : (double)t->qscale;
}

static Similarity similarity(const Array *a, const Array *b, size_t count, bool bf16, double step) {
  double ab = 0, aa = 0, bb = 0, difference = 0, middle = 0;
  for (size_t i = 0; i < count; i++) {
    double x = element(a, i, bf16) * step, y = element(b, i, bf16);
    ab += x * y;
    aa += x * x;
    bb += y * y;
    difference += (x - y) * (x - y);
    middle += (x + y) * (x + y) / 4;
  }
  double cosine = aa > 0 && bb > 0 ? ab / (sqrt(aa) * sqrt(bb)) : aa == bb;
  return (Similarity){cosine, cosine, 1 - sqrt(difference) / (sqrt(middle) + 1e-7)};
}

static bool compare_one(const CVI_TENSOR *tensor, bool input, const Npz *reference,
                        Similarity limits) {
  const Array *b = npz_find(reference, tensor->name);
  Array a;
  if (!b || !tensor_array(&a, tensor)) {
    printf("[Error] %s: no reference\n", tensor->name);
    return false;
  }
  if (b->size > 8 || b->size == 0 || b->bytes / b->size != a.bytes / a.size) {
    printf("[Error] %s: %zu elements, the reference has %zu\n", tensor->name, a.bytes / a.size,
           b->size ? b->bytes / b->size : 0);
    return false;
  }
  double step = b->kind == 'f' ? step_of(tensor, input) : 1;
  Similarity s = similarity(&a, b, a.bytes / a.size, tensor->fmt == CVI_FMT_BF16, step);
  bool pass = s.cosine >= limits.cosine && s.correlation >= limits.correlation &&
              s.euclidean >= limits.euclidean;
  printf("[%s] %s: cosine %.6f, correlation %.6f, euclidean %.6f\n", pass ? "Pass" : "Error",
         tensor->name, s.cosine, s.correlation, s.euclidean);
  return pass;
}

static bool is_among(const CVI_TENSOR *tensor, CVI_TENSOR *inputs, int32_t number) {
  for (int32_t i = 0; i < number; i++)
    if (!strcmp(inputs[i].name, tensor->name)) return true;
  return false;
}

bool compare_tensors(const CVI_TENSOR *tensors, int32_t number, CVI_TENSOR *inputs,
                     int32_t input_number, const Npz *reference, Similarity limits) {
  int32_t passed = 0;
  for (int32_t i = 0; i < number; i++) {
    bool input = is_among(&tensors[i], inputs, input_number);
    passed += compare_one(&tensors[i], input, reference, limits);
  }
  if (passed == number)
    printf("Compare Pass.\n");
  else
    printf("Compare result: %d/%d passed.\n", passed, number);
  return passed == number;
}
