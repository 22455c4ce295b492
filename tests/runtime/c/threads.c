/* Everything at once, for ThreadSanitizer: threads that register, clone, run, run asynchronously,
 * bind device memory and clean up, on shared and on own handles.
 *
 *   threads FILE THREADS ROUNDS       the model must copy its one input to its one output */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cviruntime.h"

static const char *file;
static int rounds;
static CVI_MODEL_HANDLE shared;
static CVI_TENSOR *shared_in, *shared_out;

static int check(int ok, const char *what) {
  if (!ok) {
    fprintf(stderr, "failed: %s: %s\n", what, CVI_NN_GetLastError());
  }
  return ok;
}

/* A run with own memory on any handle. */
static int run(CVI_MODEL_HANDLE model, const CVI_TENSOR *in, const CVI_TENSOR *out, int value,
               int async) {
  CVI_TENSOR my_in = *in, my_out = *out;
  unsigned char *a = malloc(in->mem_size), *b = malloc(out->mem_size);
  memset(a, value, in->mem_size);
  memset(b, value + 1, out->mem_size);
  CVI_NN_SetTensorPtr(&my_in, a);
  CVI_NN_SetTensorPtr(&my_out, b);
  void *task;
  int rc;
  if (async) {
    rc = CVI_NN_ForwardAsync(model, &my_in, 1, &my_out, 1, &task);
    rc = rc ? rc : CVI_NN_ForwardWait(model, task);
  } else {
    rc = CVI_NN_Forward(model, &my_in, 1, &my_out, 1);
  }
  int ok = rc == 0 && memcmp(a, b, out->mem_size) == 0;
  free(a);
  free(b);
  return check(ok, async ? "async" : "run");
}

static int own_model(CVI_MODEL_HANDLE model, int value) {
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  int ok = check(CVI_NN_GetInputOutputTensors(model, &in, &nin, &out, &nout) == 0, "tensors");
  if (ok) {
    ok = run(model, in, out, value, 0) && run(model, in, out, value + 1, 1);
    CVI_RT_MEM mem = CVI_RT_MemAlloc(NULL, in->mem_size);
    memset(CVI_RT_MemGetVAddr(mem), value, in->mem_size);
    ok &= check(CVI_NN_SetTensorPhysicalAddr(in, CVI_RT_MemGetPAddr(mem)) == 0, "paddr");
    CVI_RT_MemFree(NULL, mem); /* the model keeps it */
    ok &= check(CVI_NN_Forward(model, in, 1, out, 1) == 0, "bound run");
    ok &= check(out->sys_mem[0] == (unsigned char)value, "bound value");
  }
  return ok & check(CVI_NN_CleanupModel(model) == 0, "cleanup");
}

static void *work(void *arg) {
  int id = (int)(intptr_t)arg, ok = 1;
  for (int i = 0; i < rounds && ok; i++) {
    CVI_MODEL_HANDLE model = NULL;
    int rc = (id + i) % 2 ? CVI_NN_CloneModel(shared, &model) : CVI_NN_RegisterModel(file, &model);
    ok = check(rc == 0, "open") && own_model(model, id * 16 + i);
    ok &= run(shared, shared_in, shared_out, id + i, i % 2);
    CVI_TENSOR *in;
    int32_t n;
    ok &= check(CVI_NN_GetInputTensors(shared, &in, &n) == 0 && in == shared_in, "same tensors");
    ok &= check(CVI_NN_CleanupModel(model) == CVI_RC_INVALID_ARG, "double cleanup");
  }
  return (void *)(intptr_t)ok;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    return 2;
  }
  file = argv[1];
  rounds = atoi(argv[3]);
  int count = atoi(argv[2]), ok = 1;
  int32_t n;
  CVI_NN_Global_SetLogLevel(0);
  if (CVI_NN_RegisterModel(file, &shared) ||
      CVI_NN_GetInputOutputTensors(shared, &shared_in, &n, &shared_out, &n)) {
    return 2;
  }
  pthread_t threads[32];
  for (int i = 0; i < count; i++) {
    pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i);
  }
  for (int i = 0; i < count; i++) {
    void *result;
    pthread_join(threads[i], &result);
    ok &= (int)(intptr_t)result;
  }
  ok &= CVI_NN_CleanupModel(shared) == 0;
  printf("%s\n", ok ? "ok" : "failed");
  return !ok;
}
