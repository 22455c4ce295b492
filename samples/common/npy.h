/* The .npy format of numpy, versions 1 to 3, little endian, C order. */
#ifndef SAMPLES_NPY_H
#define SAMPLES_NPY_H

#include <stdbool.h>
#include <stddef.h>

#define NPY_MAX_RANK 6

typedef struct {
  char kind;   /* 'f' float, 'i' integer, 'u' unsigned */
  size_t size; /* bytes of an element */
  int rank;
  size_t shape[NPY_MAX_RANK];
  size_t bytes; /* of the data; npy_save computes it */
  void *data;
} Array;

/* Read a whole file. False after a message. */
bool npy_load(Array *array, const char *path);

/* Read from memory; `name` is for messages. The data are copied. */
bool npy_parse(Array *array, const unsigned char *file, size_t size, const char *name);

/* The file as bytes (malloc), NULL without memory. */
unsigned char *npy_bytes(const Array *array, size_t *size);

/* Write a file. False after a message. */
bool npy_save(const Array *array, const char *path);

void npy_free(Array *array);

#endif
