/* Similarity of tensors with reference arrays (cli.md section 12). */
#ifndef SAMPLES_COMPARE_H
#define SAMPLES_COMPARE_H

#include "cviruntime.h"
#include "npz.h"

typedef struct {
  double cosine, correlation, euclidean;
} Similarity;

/* "cos,cor,euc": 1 number (cosine), 2 (cosine, euclidean) or 3; false if it is something else. */
bool parse_tolerance(const char *text, Similarity *limits);

/* Print a line per tensor, Pass or Error, and the summary; true if every tensor passes. A tensor
 * without a reference fails. int8 and uint8 tensors are dequantised beside a floating-point
 * reference; `inputs` tells which of the tensors are inputs of the model. */
bool compare_tensors(const CVI_TENSOR *tensors, int32_t number, CVI_TENSOR *inputs,
                     int32_t input_number, const Npz *reference, Similarity limits);

#endif
