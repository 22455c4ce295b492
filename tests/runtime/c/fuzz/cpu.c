/* libFuzzer: name, shapes, arguments of a CPU function.
 *
 * Input: u8 length of the name, the name, u8 inputs, u8 outputs, for each tensor u8 format and four
 * u8 dims, the argument buffer. The data of the tensors is made from the input's bytes. */
#include <stdlib.h>
#include <string.h>

#include "cpu_op/cpu_op.h"

enum { MOST_TENSORS = 8, MOST_ELEMENTS = 1 << 14 };

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  CVI_NN_Global_SetLogLevel(-1);
  return 0;
}

typedef struct {
  const uint8_t *at, *end;
} reader;

static uint8_t next(reader *r) { return r->at < r->end ? *r->at++ : 0; }

static void fill(uint8_t *data, size_t bytes, const uint8_t *input, size_t size) {
  uint32_t state = (uint32_t)size * 2654435761u + 1;
  for (size_t i = 0; i < bytes; i++) {
    state = state * 1664525u + 1013904223u;
    data[i] = state >> 31 ? input[i % size] : (uint8_t)(state >> 16);
  }
}

static int read_tensors(reader *r, cpu_tensor *t, int count, const uint8_t *input, size_t size) {
  for (int i = 0; i < count; i++) {
    t[i].name = "tensor";
    t[i].fmt = (CVI_FMT)(next(r) & 7);
    t[i].count = 1;
    for (int k = 0; k < 4; k++) {
      t[i].dim[k] = next(r);
      t[i].count *= (uint64_t)t[i].dim[k];
    }
    t[i].qscale = 1.0f;
    if (t[i].count > MOST_ELEMENTS) {
      return 0;
    }
    size_t bytes = (size_t)t[i].count * cpu_elem_size(t[i].fmt);
    t[i].data = malloc(bytes ? bytes : 1);
    fill(t[i].data, bytes, input, size);
  }
  return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  reader r = {data, data + size};
  char name[64] = "";
  size_t length = next(&r);
  if (length >= sizeof(name) || length > (size_t)(r.end - r.at)) {
    return 0;
  }
  memcpy(name, r.at, length);
  r.at += length;
  const cpu_op *op = cpu_op_find(name);
  cpu_tensor tensors[2 * MOST_TENSORS] = {{0}};
  cpu_call call = {.function = name, .in = tensors};
  call.in_count = next(&r) % (MOST_TENSORS + 1);
  call.out_count = next(&r) % (MOST_TENSORS + 1);
  call.out = tensors + call.in_count;
  if (op && read_tensors(&r, tensors, (int)(call.in_count + call.out_count), data, size)) {
    call.args_size = (uint32_t)(r.end - r.at);
    uint8_t *args = malloc(call.args_size ? call.args_size : 1);
    memcpy(args, r.at, call.args_size);
    call.args = args;
    if (op->setup(&call) == CVI_RC_SUCCESS) {
      op->run(&call);
      op->run(&call); /* setup once, run often */
    }
    cpu_release(&call);
    free(args);
  }
  for (int i = 0; i < 2 * MOST_TENSORS; i++) {
    free(tensors[i].data);
  }
  return 0;
}
