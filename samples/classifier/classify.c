#include "classify.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "message.h"
#include "tensors.h"

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* options->repeat runs; with more than one, a line with the fastest, median and slowest. */
static bool forward(CVI_MODEL_HANDLE model, const Options *o, CVI_TENSOR *inputs, int32_t ni,
                    CVI_TENSOR *outputs, int32_t no) {
  double *times = malloc((size_t)o->repeat * sizeof *times);
  if (!times) return fail("no memory");
  CVI_RC code = CVI_RC_SUCCESS;
  for (int i = 0; i < o->repeat && code == CVI_RC_SUCCESS; i++) {
    double begin = milliseconds();
    code = CVI_NN_Forward(model, inputs, ni, outputs, no);
    times[i] = milliseconds() - begin;
  }
  if (code == CVI_RC_SUCCESS) printf("CVI_NN_Forward succeeded\n");
  if (code == CVI_RC_SUCCESS && o->repeat > 1) {
    qsort(times, (size_t)o->repeat, sizeof *times, by_value);
    printf("time of %d runs: min %.3f ms, median %.3f ms, max %.3f ms\n", o->repeat, times[0],
           times[o->repeat / 2], times[o->repeat - 1]);
  }
  free(times);
  return code == CVI_RC_SUCCESS ? true : runtime_error("CVI_NN_Forward", code);
}

bool classify(CVI_MODEL_HANDLE model, const Options *o, const Image *image, const Labels *labels,
              FillInput fill, bool many) {
  CVI_TENSOR *inputs, *outputs;
  int32_t ni, no;
  CVI_RC code = CVI_NN_GetInputOutputTensors(model, &inputs, &ni, &outputs, &no);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_GetInputOutputTensors", code);
  print_tensors("Input", inputs, ni);
  print_tensors("Output", outputs, no);
  CVI_TENSOR *input = CVI_NN_GetTensorByName(CVI_NN_DEFAULT_TENSOR, inputs, ni);
  if (!input || no < 1)
    return fail("a classifier has one input and an output; this model has %d, %d", ni, no);
  if (o->tensor && !load_tensor(input, o->tensor)) return false;
  for (int b = 0; !o->tensor && b < input->shape.dim[0]; b++)
    if (!fill(input, b, image, &o->preprocess)) return false;
  if (!forward(model, o, inputs, ni, outputs, no)) return false;
  for (int b = 0; b < outputs[0].shape.dim[0]; b++) {
    if (many) printf("--batch %d----\n", b);
    if (!print_topk(&outputs[0], b, TOP_K, labels)) return false;
  }
  return !o->output || save_tensor(&outputs[0], o->output);
}

int classifier_main(int argc, char **argv, FillInput fill) {
  Options options;
  if (!options_parse(&options, argc, argv)) return 255;
  Image image = {0};
  Labels labels = {0};
  CVI_MODEL_HANDLE model = NULL;
  bool good = (options.tensor || image_load(&image, options.image)) &&
              labels_load(&labels, options.labels) && open_model(options.model, &model) &&
              classify(model, &options, &image, &labels, fill, false);
  if (model) good = close_model(model) && good;
  labels_free(&labels);
  image_free(&image);
  return good ? 0 : 1;
}
