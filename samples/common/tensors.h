/* Printing and reading tensors. */
#ifndef SAMPLES_TENSORS_H
#define SAMPLES_TENSORS_H

#include "cviruntime.h"
#include "npy.h"

/* "  Input Tensor Number  : 1" and a line "  [0] name, shape (n,c,h,w), count, fmt" for each. */
void print_tensors(const char *label, const CVI_TENSOR *tensors, int32_t number);

/* Element `i` as a real number: int8 and uint8 are multiplied by qscale. */
float tensor_value(const CVI_TENSOR *tensor, size_t i);

/* A view of a tensor's memory with its own type (bf16 as uint16) and four axes; of an aligned
 * tensor (padded image rows) its bytes. False after a message: unknown data type. */
bool tensor_array(Array *array, const CVI_TENSOR *tensor);

/* Write a tensor as .npy with its own type (bf16 as uint16). False after a message. */
bool save_tensor(const CVI_TENSOR *tensor, const char *path);

/* CVI_NN_RegisterModel with the line that the samples print; false after a message. */
bool open_model(const char *path, CVI_MODEL_HANDLE *model);

/* CVI_NN_CleanupModel with its line; false when it failed. */
bool close_model(CVI_MODEL_HANDLE model);

/* A message with the text of the runtime if it offers one; always false. */
bool runtime_error(const char *what, CVI_RC code);

#endif
