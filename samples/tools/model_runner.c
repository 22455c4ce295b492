/* Run a model on arrays: inputs from an .npz or raw bytes, outputs into an .npz, times on stdout
 * (cli.md section 9). Arrays are matched with tensors by name; with one input and one array the
 * name does not matter. Without -i the inputs are zero. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"
#include "fill.h"
#include "message.h"
#include "npz.h"
#include "tensors.h"
#include "timing.h"

typedef struct {
  const char *model, *input, *output, *reference, *chip;
  Similarity tolerance;
  int count, program, batch, verbose; /* program -1: the one of `batch`; batch 0: any */
  bool all, timer, from_memory, pmu;
} Arguments;

/* extensions of our runtime: absent when linked with another one */
extern void CVI_NN_Global_SetLogLevel(int level) __attribute__((weak));
extern void CVI_NN_Global_SetLogCallback(CVI_NN_LOG_CB) __attribute__((weak));

static bool usage(const char *program) {
  fprintf(
      stderr,
      "Usage: %s -m MODEL.cvimodel [-i IN.npz] [-o OUT.npz] [options]\n"
      "  -m, --model FILE       the model\n"
      "  -i, --input FILE       .npz (np.savez) with arrays of the types of the inputs or "
      "floating\n"
      "                         point, or the bytes of all inputs one after the other\n"
      "  -o, --output FILE      .npz for the outputs, in their own types (bf16 as uint16)\n"
      "  -r, --reference FILE   .npz to compare the outputs with\n"
      "  -t, --tolerance C,R,E  least cosine, correlation, euclidean similarity (0.99,0.99,0.90)\n"
      "  -c, --count N          runs (1)\n"
      "  -s, --program N        program of the file (0)\n"
      "  -s, --set-chip CHIP    refuse a model for another chip\n"
      "  -b, --batch N          the program whose first input has N images\n"
      "  -p, --pmu              boards: counters of the TPU after each of its routines\n"
      "  -v, --verbose          more messages of the runtime; -v -v: all\n"
      "  --dump-all-tensors     every tensor that keeps its bytes, not the outputs\n"
      "  --load-from-memory     read the file first, register the bytes\n"
      "  --enable-timer         print the times of a single run too\n",
      program);
  return false;
}

static bool is(const char *word, const char *brief, const char *full) {
  return !strcmp(word, brief) || !strcmp(word, full);
}

static bool parse_number(const char *text, int low, int *out) {
  char *end;
  long value = strtol(text, &end, 10);
  *out = (int)value;
  return *text && !*end && value >= low && value <= 1000000;
}

/* -s takes the number of a program or the name of a chip. */
static bool parse_selection(const char *text, Arguments *a) {
  if (!strncmp(text, "cv", 2)) return a->chip = text, true;
  return parse_number(text, 0, &a->program);
}

static bool parse_flag(const char *word, Arguments *a) {
  if (is(word, "-p", "--pmu")) return a->pmu = true;
  if (is(word, "-v", "--verbose")) return a->verbose++, true;
  if (!strcmp(word, "--dump-all-tensors")) return a->all = true;
  if (!strcmp(word, "--load-from-memory")) return a->from_memory = true;
  if (!strcmp(word, "--enable-timer")) return a->timer = true;
  return false;
}

static bool parse_value(const char *word, const char *value, Arguments *a) {
  if (is(word, "-m", "--model")) return a->model = value, true;
  if (is(word, "-i", "--input")) return a->input = value, true;
  if (is(word, "-o", "--output")) return a->output = value, true;
  if (is(word, "-r", "--reference")) return a->reference = value, true;
  if (is(word, "-t", "--tolerance")) return parse_tolerance(value, &a->tolerance);
  if (is(word, "-c", "--count")) return parse_number(value, 1, &a->count);
  if (is(word, "-b", "--batch")) return parse_number(value, 1, &a->batch);
  if (!strcmp(word, "--program")) return parse_number(value, 0, &a->program);
  if (is(word, "-s", "--set-chip")) return parse_selection(value, a);
  return false;
}

static bool parse(Arguments *a, int argc, char **argv) {
  *a = (Arguments){.count = 1, .program = -1, .tolerance = {0.99, 0.99, 0.90}};
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    if (parse_flag(word, a)) continue;
    if (++i >= argc || !parse_value(word, argv[i], a)) {
      usage(argv[0]);
      return fail("option %s is unknown, or its value is wrong or missing", word);
    }
  }
  return a->model ? true : usage(argv[0]);
}

/* A whole file (malloc); NULL after a message. */
static unsigned char *read_file(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  long end = f && !fseek(f, 0, SEEK_END) ? ftell(f) : -1;
  unsigned char *data = end >= 0 ? malloc((size_t)end + 1) : NULL;
  *size = end >= 0 ? (size_t)end : 0;
  bool good = data && !fseek(f, 0, SEEK_SET) && fread(data, 1, *size, f) == *size;
  if (f) fclose(f);
  if (!good) {
    fail("can not read %s", path);
    free(data);
    return NULL;
  }
  return data;
}

static bool fill_raw(const char *path, const unsigned char *data, size_t size, CVI_TENSOR *inputs,
                     int32_t number) {
  size_t need = 0;
  for (int32_t i = 0; i < number; i++) need += inputs[i].mem_size;
  if (need != size) return fail("%s has %zu bytes, the inputs take %zu", path, size, need);
  for (int32_t i = 0; i < number; i++) {
    memcpy(inputs[i].sys_mem, data, inputs[i].mem_size);
    data += inputs[i].mem_size;
  }
  return true;
}

static bool fill_inputs(const char *path, CVI_TENSOR *inputs, int32_t number) {
  size_t size;
  unsigned char *data = read_file(path, &size);
  if (!data) return false;
  bool raw = size < 4 || memcmp(data, "PK", 2) != 0; /* a ZIP archive begins so */
  bool filled = raw && fill_raw(path, data, size, inputs, number);
  free(data);
  if (raw) return filled;
  Npz npz;
  if (!npz_load(&npz, path)) return false;
  bool good = true, single = number == 1 && npz.count == 1;
  for (int32_t i = 0; good && i < number; i++) {
    const Array *array = single ? &npz.members[0].array : npz_find(&npz, inputs[i].name);
    good =
        array ? fill_tensor(&inputs[i], array) : fail("%s has no array %s", path, inputs[i].name);
  }
  npz_free(&npz);
  return good;
}

static bool write_outputs(const char *path, CVI_TENSOR *outputs, int32_t number) {
  Npz npz = {calloc((size_t)number + 1, sizeof(Member)), (size_t)number};
  bool good = npz.members != NULL;
  for (int32_t i = 0; good && i < number; i++) {
    npz.members[i].name = outputs[i].name;
    good = tensor_array(&npz.members[i].array, &outputs[i]);
  }
  good = good && npz_save(&npz, path);
  free(npz.members); /* names and data belong to the model */
  return good;
}

static void drop(int level, const char *message) { (void)level, (void)message; }

/* Images that the first input of a program takes; 0: no such program, -1 after a message. */
static int batch_of(CVI_MODEL_HANDLE model, int index) {
  CVI_MODEL_HANDLE clone;
  CVI_TENSOR *inputs;
  int32_t number;
  CVI_RC code = CVI_NN_CloneModel(model, &clone);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_CloneModel", code), -1;
  if (CVI_NN_Global_SetLogCallback) CVI_NN_Global_SetLogCallback(drop);
  bool exists = CVI_NN_SetConfig(clone, OPTION_PROGRAM_INDEX, index) == CVI_RC_SUCCESS;
  if (CVI_NN_Global_SetLogCallback) CVI_NN_Global_SetLogCallback(NULL);
  int batch = 0;
  if (exists && (code = CVI_NN_GetInputTensors(clone, &inputs, &number)) != CVI_RC_SUCCESS) {
    runtime_error("CVI_NN_GetInputTensors", code);
    batch = -1;
  } else if (exists) {
    batch = number ? inputs[0].shape.dim[0] : 1;
  }
  CVI_NN_CleanupModel(clone);
  return batch;
}

/* The program that -s or -b asks for, -1 after a message. */
static int choose_program(CVI_MODEL_HANDLE model, const Arguments *a) {
  int index = a->program < 0 ? 0 : a->program;
  if (!a->batch) return index;
  for (;; index++) {
    int batch = batch_of(model, index);
    if (batch == a->batch) return index;
    if (batch == 0) return fail("the model has no program for batch %d", a->batch), -1;
    if (batch < 0) return -1;
    if (a->program >= 0)
      return fail("program %d is for batch %d, not %d", index, batch, a->batch), -1;
  }
}

static bool check_chip(CVI_MODEL_HANDLE model, const char *wanted) {
  const char *target = CVI_NN_GetModelTarget(model);
  if (!wanted || (target && !strcmp(target, wanted))) return true;
  return fail("the model is for %s, not for %s", target ? target : "?", wanted);
}

static bool compare(CVI_TENSOR *inputs, int32_t ni, CVI_TENSOR *outputs, int32_t no,
                    const Arguments *a) {
  Npz reference;
  if (!npz_load(&reference, a->reference)) return false;
  bool similar = compare_tensors(outputs, no, inputs, ni, &reference, a->tolerance);
  npz_free(&reference);
  return similar;
}

static bool run(CVI_MODEL_HANDLE model, const Arguments *a) {
  int program = check_chip(model, a->chip) ? choose_program(model, a) : -1;
  if (program < 0) return false;
  CVI_RC code = CVI_NN_SetConfig(model, OPTION_PROGRAM_INDEX, program);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_SetConfig", code);
  if (a->all) code = CVI_NN_SetConfig(model, OPTION_OUTPUT_ALL_TENSORS, 1);
  CVI_TENSOR *inputs, *outputs;
  int32_t ni, no;
  if (code == CVI_RC_SUCCESS)
    code = CVI_NN_GetInputOutputTensors(model, &inputs, &ni, &outputs, &no);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_GetInputOutputTensors", code);
  print_tensors("Input", inputs, ni);
  print_tensors("Output", outputs, no);
  if (a->input && !fill_inputs(a->input, inputs, ni)) return false;
  code = forward_timed(model, inputs, ni, outputs, no, a->count, a->timer);
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_Forward", code);
  printf("CVI_NN_Forward succeeded\n");
  if (a->output && !write_outputs(a->output, outputs, no)) return false;
  return !a->reference || compare(inputs, ni, outputs, no, a);
}

static bool open_from_memory(const char *path, CVI_MODEL_HANDLE *model) {
  size_t size;
  unsigned char *data = read_file(path, &size);
  if (!data) return false;
  CVI_RC code = CVI_RC_INVALID_ARG;
  if (size <= UINT32_MAX)
    code = CVI_NN_RegisterModelFromBuffer((const int8_t *)data, (uint32_t)size, model);
  free(data); /* the runtime keeps a copy */
  if (code != CVI_RC_SUCCESS) return runtime_error("CVI_NN_RegisterModelFromBuffer", code);
  printf("CVI_NN_RegisterModelFromBuffer succeeded\n");
  return true;
}

int main(int argc, char **argv) {
  Arguments arguments;
  CVI_MODEL_HANDLE model = NULL;
  if (!parse(&arguments, argc, argv)) return 255;
  if (arguments.pmu) setenv("TPU_ENABLE_PMU", "1", 1); /* read when a model is registered */
  if (arguments.verbose && CVI_NN_Global_SetLogLevel)
    CVI_NN_Global_SetLogLevel(arguments.verbose > 1 ? 7 : 6);
  bool open = arguments.from_memory ? open_from_memory(arguments.model, &model)
                                    : open_model(arguments.model, &model);
  if (!open) return 1;
  bool good = run(model, &arguments);
  return close_model(model) && good ? 0 : 1;
}
