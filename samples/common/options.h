/* The command line of the classifiers: MODEL IMAGE LABELS, then options. */
#ifndef SAMPLES_OPTIONS_H
#define SAMPLES_OPTIONS_H

#include "preprocess.h"

typedef struct {
  const char *model, *image, *labels;
  const char *output; /* where the first output tensor goes as .npy, or NULL */
  const char *tensor; /* --tensor: the input comes from this file instead of the picture */
  int repeat;         /* runs, 1 or more */
  Preprocess preprocess;
} Options;

/* False after usage and message: the program then ends with 255. */
bool options_parse(Options *options, int argc, char **argv);

#endif
