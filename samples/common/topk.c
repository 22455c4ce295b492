#include "topk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "tensors.h"

#define MAX_LABELS 100000

bool labels_load(Labels *labels, const char *path) {
  memset(labels, 0, sizeof *labels);
  FILE *file = fopen(path, "r");
  if (!file) return fail("%s: no such file with labels, or not readable", path);
  char line[1024];
  size_t room = 0;
  bool good = true;
  while (good && labels->count < MAX_LABELS && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\r\n")] = 0;
    if (labels->count == room) {
      room = room ? 2 * room : 1024;
      char **more = realloc(labels->lines, room * sizeof *more);
      if (!more) {
        good = false;
        break;
      }
      labels->lines = more;
    }
    size_t size = strlen(line) + 1;
    char *copy = malloc(size);
    if ((good = copy != NULL)) labels->lines[labels->count++] = memcpy(copy, line, size);
  }
  fclose(file);
  if (good) return true;
  labels_free(labels);
  return fail("%s: no memory for the labels", path);
}

void labels_free(Labels *labels) {
  for (size_t i = 0; i < labels->count; i++) free(labels->lines[i]);
  free(labels->lines);
  memset(labels, 0, sizeof *labels);
}

void topk(const float *values, size_t n, size_t k, size_t *indices) {
  size_t found = 0;
  for (size_t i = 0; i < n; i++) {
    size_t at = found < k ? found++ : k;
    if (at == k) { /* full: only a larger value enters */
      if (!(values[i] > values[indices[k - 1]])) continue;
      at = k - 1;
    }
    while (at > 0 && values[i] > values[indices[at - 1]]) {
      indices[at] = indices[at - 1];
      at--;
    }
    indices[at] = i;
  }
}

bool print_topk(const CVI_TENSOR *t, int batch, size_t k, const Labels *labels) {
  size_t n = t->shape.dim[0] > 0 ? t->count / (size_t)t->shape.dim[0] : 0;
  if (batch < 0 || batch >= t->shape.dim[0] || !n) return fail("output %s is empty", t->name);
  if (k > n) k = n;
  float *values = malloc(n * sizeof *values);
  size_t *indices = malloc(k * sizeof *indices);
  bool good = values && indices;
  if (good) {
    for (size_t i = 0; i < n; i++) values[i] = tensor_value(t, (size_t)batch * n + i);
    topk(values, n, k, indices);
    printf("TOP_K[%zu]:\n", k);
    for (size_t i = 0; i < k; i++) {
      size_t j = indices[i];
      printf(" %f, idx %zu, %s\n", (double)values[j], j,
             j < labels->count ? labels->lines[j] : "(no label)");
    }
  }
  free(values);
  free(indices);
  return good ? true : fail("no memory for %zu values", n);
}
