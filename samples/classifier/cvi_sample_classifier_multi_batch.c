/* One file with two programs (cvimodel_tool -a merge): program 0 takes one picture, program 1 takes
 * several. The clone shares weights and commands with the first handle. */
#include <stdio.h>

#include "classify.h"
#include "message.h"
#include "tensors.h"

static bool classify_with_clone(CVI_MODEL_HANDLE model, const Options *o, const Image *image,
                                const Labels *labels) {
  CVI_MODEL_HANDLE clone = NULL;
  CVI_RC code = CVI_NN_CloneModel(model, &clone);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_CloneModel", code);
  printf("CVI_NN_CloneModel succeeded\n");
  code = CVI_NN_SetConfig(clone, OPTION_PROGRAM_INDEX, 1);
  bool good = code == CVI_RC_SUCCESS
                  ? classify(clone, o, image, labels, preprocess_image, true)
                  : runtime_error("CVI_NN_SetConfig(OPTION_PROGRAM_INDEX, 1)", code);
  return close_model(clone) && good;
}

static bool both_programs(const Options *o, const Image *image, const Labels *labels) {
  CVI_MODEL_HANDLE model = NULL;
  if (!open_model(o->model, &model)) return false;
  Options first = *o;
  first.output = NULL; /* --output is the tensor of the second program */
  CVI_RC code = CVI_NN_SetConfig(model, OPTION_PROGRAM_INDEX, 0);
  bool good = code == CVI_RC_SUCCESS
                  ? classify(model, &first, image, labels, preprocess_image, true)
                  : runtime_error("CVI_NN_SetConfig(OPTION_PROGRAM_INDEX, 0)", code);
  good = good && classify_with_clone(model, o, image, labels);
  return close_model(model) && good;
}

int main(int argc, char **argv) {
  Options options;
  if (!options_parse(&options, argc, argv)) return 255;
  if (options.tensor) return fail("--tensor fits one program only; give a picture"), 255;
  Image image = {0};
  Labels labels = {0};
  bool good = image_load(&image, options.image) && labels_load(&labels, options.labels) &&
              both_programs(&options, &image, &labels);
  labels_free(&labels);
  image_free(&image);
  return good ? 0 : 1;
}
