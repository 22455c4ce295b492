#include "classify.h"

#include <stdio.h>

#include "message.h"
#include "tensors.h"
#include "timing.h"

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
  code = forward_timed(model, inputs, ni, outputs, no, o->repeat, false);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_Forward", code);
  printf("CVI_NN_Forward succeeded\n");
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
