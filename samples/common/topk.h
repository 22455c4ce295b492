/* The largest values of a network's output, with their labels. */
#ifndef SAMPLES_TOPK_H
#define SAMPLES_TOPK_H

#include "cviruntime.h"

typedef struct {
  char **lines;
  size_t count;
} Labels;

/* One label a line; at most 100000. False after a message. */
bool labels_load(Labels *labels, const char *path);
void labels_free(Labels *labels);

/* Indices of the k largest of n values, descending; equal values keep their order. `k` is at most
 * n. */
void topk(const float *values, size_t n, size_t k, size_t *indices);

/* Print "TOP_K[k]:" and k lines " value, idx i, label" of slot `batch` of the tensor. */
bool print_topk(const CVI_TENSOR *tensor, int batch, size_t k, const Labels *labels);

#endif
