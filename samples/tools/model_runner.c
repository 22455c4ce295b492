/* Run a model on arrays: inputs from an .npz, outputs into an .npz, times on stdout (cli.md section
 * 9). Arrays are matched with tensors by name; with one input and one array the name does not
 * matter. Inputs without an array are zero. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"
#include "message.h"
#include "npz.h"
#include "tensors.h"
#include "timing.h"

typedef struct {
  const char *model, *input, *output, *reference;
  Similarity tolerance;
  int count, program;
  bool all, timer, from_memory;
} Arguments;

static bool usage(const char *program) {
  fprintf(
      stderr,
      "Usage: %s -m MODEL.cvimodel [-i IN.npz] [-o OUT.npz] [options]\n"
      "  -m, --model FILE       the model\n"
      "  -i, --input FILE       .npz with arrays of the types of the inputs (np.savez), or the\n"
      "                         bytes of all inputs one after the other\n"
      "  -o, --output FILE      .npz for the outputs, in their own types (bf16 as uint16)\n"
      "  -r, --reference FILE   .npz to compare the outputs with\n"
      "  -t, --tolerance C,R,E  least cosine, correlation, euclidean similarity (0.99,0.99,0.90)\n"
      "  -c, --count N          runs (1)\n"
      "  -s, --program N        program of the file (0)\n"
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

static bool parse(Arguments *a, int argc, char **argv) {
  *a = (Arguments){.count = 1, .tolerance = {0.99, 0.99, 0.90}};
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    bool good = value != NULL;
    if (!strcmp(word, "--dump-all-tensors")) {
      a->all = true;
      continue;
    }
    if (!strcmp(word, "--load-from-memory")) {
      a->from_memory = true;
      continue;
    }
    if (!strcmp(word, "--enable-timer")) {
      a->timer = true;
      continue;
    }
    if (good && is(word, "-m", "--model"))
      a->model = value;
    else if (good && is(word, "-i", "--input"))
      a->input = value;
    else if (good && is(word, "-o", "--output"))
      a->output = value;
    else if (good && is(word, "-r", "--reference"))
      a->reference = value;
    else if (good && is(word, "-t", "--tolerance"))
      good = parse_tolerance(value, &a->tolerance);
    else if (good && is(word, "-c", "--count"))
      good = parse_number(value, 1, &a->count);
    else if (good && is(word, "-s", "--program"))
      good = parse_number(value, 0, &a->program);
    else
      good = false;
    if (!good) {
      usage(argv[0]);
      return fail("option %s is unknown, or its value is wrong or missing", word);
    }
    i++;
  }
  return a->model ? true : usage(argv[0]);
}

/* Copy an array into a tensor: same number of elements, same bytes. */
static bool fill(CVI_TENSOR *t, const Array *a) {
  Array want;
  if (!tensor_array(&want, t)) return false;
  if (a->bytes != want.bytes || a->kind != want.kind || a->size != want.size)
    return fail("input %s takes %zu elements of type %c%zu, the array has %zu bytes of %c%zu",
                t->name, t->count, want.kind, want.size, a->bytes, a->kind, a->size);
  memcpy(t->sys_mem, a->data, a->bytes);
  return true;
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
    good = array ? fill(&inputs[i], array) : fail("%s has no array %s", path, inputs[i].name);
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

static bool run(CVI_MODEL_HANDLE model, const Arguments *a) {
  CVI_RC code = CVI_NN_SetConfig(model, OPTION_PROGRAM_INDEX, a->program);
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
  Npz reference;
  if (!a->reference) return true;
  if (!npz_load(&reference, a->reference)) return false;
  bool similar = compare_tensors(outputs, no, &reference, a->tolerance);
  npz_free(&reference);
  return similar;
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
  bool open = arguments.from_memory ? open_from_memory(arguments.model, &model)
                                    : open_model(arguments.model, &model);
  if (!open) return 1;
  bool good = run(model, &arguments);
  return close_model(model) && good ? 0 : 1;
}
