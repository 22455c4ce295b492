#include "tensors.h"

#include <stdio.h>
#include <string.h>

#include "message.h"
#include "npy.h"

/* an extension of our runtime: absent (NULL) when linked with another one */
extern const char *CVI_NN_GetLastError(void) __attribute__((weak));

bool runtime_error(const char *what, CVI_RC code) {
  const char *text = CVI_NN_GetLastError ? CVI_NN_GetLastError() : "";
  return fail("%s failed (0x%08x)%s%s", what, (unsigned)code, *text ? ": " : "", text);
}

bool open_model(const char *path, CVI_MODEL_HANDLE *model) {
  CVI_RC code = CVI_NN_RegisterModel(path, model);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_RegisterModel", code);
  printf("CVI_NN_RegisterModel succeeded\n");
  return true;
}

bool close_model(CVI_MODEL_HANDLE model) {
  CVI_RC code = CVI_NN_CleanupModel(model);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_CleanupModel", code);
  printf("CVI_NN_CleanupModel succeeded\n");
  return true;
}

void print_tensors(const char *label, const CVI_TENSOR *tensors, int32_t number) {
  printf("  %s Tensor Number %s: %d\n", label, strcmp(label, "Input") ? "" : " ", number);
  for (int32_t i = 0; i < number; i++) {
    const CVI_TENSOR *t = &tensors[i];
    const int32_t *d = t->shape.dim;
    printf("  [%d] %s, shape (%d,%d,%d,%d), count %zu, fmt %d\n", i, t->name, d[0], d[1], d[2],
           d[3], t->count, (int)t->fmt);
  }
}

float tensor_value(const CVI_TENSOR *t, size_t i) {
  uint32_t bits;
  float value = 0;
  switch (t->fmt) {
  case CVI_FMT_FP32:
    return ((const float *)t->sys_mem)[i];
  case CVI_FMT_BF16:
    bits = (uint32_t)((const uint16_t *)t->sys_mem)[i] << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
  case CVI_FMT_INT8:
    return (float)((const int8_t *)t->sys_mem)[i] * t->qscale;
  case CVI_FMT_UINT8:
    return (float)((const uint8_t *)t->sys_mem)[i] * t->qscale;
  case CVI_FMT_INT16:
    return ((const int16_t *)t->sys_mem)[i];
  case CVI_FMT_UINT16:
    return ((const uint16_t *)t->sys_mem)[i];
  case CVI_FMT_INT32:
    return (float)((const int32_t *)t->sys_mem)[i];
  case CVI_FMT_UINT32:
    return (float)((const uint32_t *)t->sys_mem)[i];
  }
  return 0;
}

bool tensor_array(Array *array, const CVI_TENSOR *t) {
  static const struct {
    char kind;
    size_t size;
  } types[] = {{'f', 4}, {'i', 4}, {'u', 4}, {'u', 2}, {'i', 2}, {'u', 2}, {'i', 1}, {'u', 1}};
  if ((unsigned)t->fmt >= sizeof types / sizeof types[0])
    return fail("tensor %s has the unknown data type %d", t->name, (int)t->fmt);
  *array = (Array){types[t->fmt].kind, types[t->fmt].size, 4, {0}, 0, t->sys_mem};
  for (int i = 0; i < 4; i++) array->shape[i] = (size_t)t->shape.dim[i];
  array->bytes = t->count * array->size;
  if (t->aligned) *array = (Array){'u', 1, 1, {t->mem_size}, t->mem_size, t->sys_mem};
  return true;
}

bool save_tensor(const CVI_TENSOR *t, const char *path) {
  Array array;
  return tensor_array(&array, t) && npy_save(&array, path);
}
