/* List the inputs and outputs of every program of a model (formats/cvimodel.md section 14.4). */
#include <stdio.h>
#include <stdlib.h>

#include "message.h"
#include "tensors.h"

/* an extension of our runtime: absent when linked with another one, which ends the process when it
 * is asked for a program that does not exist, so that only the first is listed then */
extern void CVI_NN_Global_SetLogCallback(CVI_NN_LOG_CB) __attribute__((weak));

static void drop(int level, const char *message) { (void)level, (void)message; }

static bool print_program(CVI_MODEL_HANDLE model, bool all) {
  CVI_TENSOR *inputs, *outputs;
  int32_t ni, no;
  if (all) CVI_NN_SetConfig(model, OPTION_OUTPUT_ALL_TENSORS, 1);
  CVI_RC code = CVI_NN_GetInputOutputTensors(model, &inputs, &ni, &outputs, &no);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_GetInputOutputTensors", code);
  print_tensors("Input", inputs, ni);
  print_tensors("Output", outputs, no);
  printf("  Output All Tensors For Debug: [%s]\n", all ? "YES" : "NO");
  return true;
}

/* The programs after the first, each through a clone. */
static bool print_others(CVI_MODEL_HANDLE model, const char *path, bool all) {
  if (!CVI_NN_Global_SetLogCallback) return true;
  for (int index = 1;; index++) {
    CVI_MODEL_HANDLE clone;
    CVI_RC code = CVI_NN_CloneModel(model, &clone);
    if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_CloneModel", code);
    CVI_NN_Global_SetLogCallback(drop); /* the end of the list is no error to report */
    code = CVI_NN_SetConfig(clone, OPTION_PROGRAM_INDEX, index);
    CVI_NN_Global_SetLogCallback(NULL);
    bool good = true;
    if (code == CVI_RC_SUCCESS) {
      printf("Model Param for %s, program #%d:\n", path, index);
      good = print_program(clone, all);
    }
    CVI_NN_CleanupModel(clone);
    if (code != CVI_RC_SUCCESS || !good) return good;
  }
}

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) {
    fprintf(stderr, "Usage:\n   %s cvimodel [dump all tensors: 1 or 0]\n", argv[0]);
    return 255;
  }
  bool all = argc == 3 && atoi(argv[2]) != 0;
  CVI_MODEL_HANDLE model = NULL;
  if (!open_model(argv[1], &model)) return 1;
  printf("Model Param for %s:\n", argv[1]);
  bool good = print_program(model, all) && print_others(model, argv[1], all);
  return close_model(model) && good ? 0 : 1;
}
