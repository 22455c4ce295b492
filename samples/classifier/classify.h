/* What the classifier samples share. */
#ifndef SAMPLES_CLASSIFY_H
#define SAMPLES_CLASSIFY_H

#include "options.h"
#include "topk.h"

#define TOP_K 5

/* Fills slot `batch` of the input tensor from the picture; false after a message. */
typedef bool (*FillInput)(CVI_TENSOR *input, int batch, const Image *image, const Preprocess *p);

/* Print the tensors of a model, fill every batch slot with the picture, run, and print the result
 * of every slot; `many`: with a line "--batch b----" before each. False after a message. */
bool classify(CVI_MODEL_HANDLE model, const Options *options, const Image *image,
              const Labels *labels, FillInput fill, bool many);

/* Command line, picture, labels, one model, classify(); the exit code of the program. */
int classifier_main(int argc, char **argv, FillInput fill);

#endif
