/* libFuzzer: a model file through the whole public API. Commands run if they are little work. */
#include <string.h>

#include "cviruntime.h"
#include "model/model.h"
#include "sim/internal.h"
#include "soc/segments.h"

/* A file of 1 kB may ask for 2 GiB of tensors: slow, but no fault. */
enum { MOST_WORK = 1 << 22, MOST_BYTES = 1 << 26 };

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  CVI_NN_Global_SetLogLevel(-1);
  return 0;
}

/* Operations of all command sections; UINT64_MAX: the file does not load. */
static uint64_t work_of(const uint8_t *data, size_t size) {
  rt_source source = {.data = data, .fd = -1, .size = size};
  rt_model *model = NULL;
  if (rt_model_load(&source, &model)) {
    return UINT64_MAX;
  }
  uint64_t work = 0;
  for (uint32_t i = 0; i < model->file.section_count; i++) {
    const rt_segments *code = (const rt_segments *)model->code[i];
    for (uint32_t k = 0; code && k < code->count; k++) {
      work += code->program[k]->work;
    }
  }
  rt_model_unref(model);
  return work;
}

static void use(CVI_MODEL_HANDLE model, bool all, uint32_t program, bool run) {
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  CVI_NN_SetConfig(model, OPTION_OUTPUT_ALL_TENSORS, (int)all);
  CVI_NN_SetConfig(model, OPTION_PROGRAM_INDEX, (int)program);
  if (CVI_NN_GetInputOutputTensors(model, &in, &nin, &out, &nout)) {
    return;
  }
  volatile unsigned sum = 0;
  uint64_t bytes = 0;
  for (int32_t i = 0; i < nin + nout; i++) {
    const CVI_TENSOR *t = i < nin ? &in[i] : &out[i - nin];
    bytes += t->mem_size;
    sum += (unsigned)strlen(t->name) + (t->mem_size ? t->sys_mem[t->mem_size - 1] : 0);
  }
  if (run && bytes < MOST_BYTES) {
    CVI_NN_Forward(model, in, nin, out, nout);
  }
}

/* The last byte chooses what is done with the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1 || size > UINT32_MAX) {
    return 0;
  }
  uint8_t way = data[--size];
  uint64_t work = work_of(data, size);
  if (work == UINT64_MAX) {
    return 0;
  }
  CVI_MODEL_HANDLE model, clone;
  if (CVI_NN_RegisterModelFromBuffer((const int8_t *)data, (uint32_t)size, &model) == 0) {
    if (way & 2 && CVI_NN_CloneModel(model, &clone) == 0) {
      use(clone, true, 0, false);
      CVI_NN_CleanupModel(clone);
    }
    use(model, way & 1, way >> 6, work < MOST_WORK);
    CVI_NN_CleanupModel(model);
  }
  return 0;
}
