/* Everything at once, for ThreadSanitizer: threads that register, clone, run, run asynchronously,
 * bind device memory and clean up, on shared and on own handles; that clean up a handle while
 * others run it; that change what is common to the process (allocation callbacks, shared memory,
 * log).
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

/* Runs a handle until it is gone; how many runs worked. */
static void *use_until_gone(void *arg) {
  CVI_MODEL_HANDLE model = arg;
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  for (intptr_t good = 0;; good++) {
    void *task = NULL;
    int rc = CVI_NN_GetInputOutputTensors(model, &in, &nin, &out, &nout);
    rc = rc ? rc : CVI_NN_Forward(model, in, nin, out, nout);
    rc = rc ? rc : CVI_NN_ForwardAsync(model, in, nin, out, nout, &task);
    if (!rc && good % 2) { /* the others are left to the cleanup */
      rc = CVI_NN_ForwardWait(model, task);
    }
    if (rc) {
      return (void *)(rc == CVI_RC_INVALID_ARG ? good : -1);
    }
  }
}

/* A handle that is cleaned up while two threads use it and a third clones it. */
static int cleanup_under_load(int id) {
  CVI_MODEL_HANDLE model = NULL, clone = NULL;
  if (!check(CVI_NN_CloneModel(shared, &model) == 0, "clone")) {
    return 0;
  }
  pthread_t users[2];
  int ok = 1;
  for (int i = 0; i < 2; i++) {
    pthread_create(&users[i], NULL, use_until_gone, model);
  }
  for (int i = 0; i < 3 + id % 3; i++) {
    ok &= check(CVI_NN_CloneModel(model, &clone) == 0, "clone of a busy handle");
    ok &= check(CVI_NN_CleanupModel(clone) == 0, "cleanup of the clone");
  }
  ok &= check(CVI_NN_CleanupModel(model) == 0, "cleanup of a busy handle");
  for (int i = 0; i < 2; i++) {
    void *result;
    pthread_join(users[i], &result);
    ok &= check((intptr_t)result >= 0, "end of the others");
  }
  return ok;
}

static CVI_RT_MEM my_alloc(CVI_RT_HANDLE context, uint64_t size, CVI_ALLOC_TYPE type,
                           const char *name) {
  (void)type, (void)name;
  return CVI_RT_MemAlloc(context, size);
}

static void my_free(CVI_RT_HANDLE context, CVI_RT_MEM mem) { CVI_RT_MemFree(context, mem); }

/* Contexts, memory and settings of the process. */
static int process_wide(int id, int round) {
  CVI_RT_HANDLE context = NULL;
  int ok = check(CVI_RT_Init(&context) == 0, "context");
  CVI_NN_Global_SetSharedMemorySize((size_t)(id * 4096 + round));
  CVI_NN_Global_SetLogLevel(0);
  if (round % 3 == 0) {
    ok &= check(CVI_RT_Global_SetMemAllocCallback(my_alloc, my_free) == 0, "callbacks");
  } else if (round % 3 == 1) {
    CVI_RT_Global_ResetMemAllocCallback();
  }
  CVI_RT_MEM mem = CVI_RT_MemAlloc(context, 5000);
  CVI_RT_MEM view = CVI_RT_MemPreAlloc(mem, 1000, 4000);
  CVI_RT_MemFree(context, mem);
  ok &= check(CVI_RT_MemGetSize(view) == 4000 && CVI_RT_MemFlush(context, view) == 0, "view");
  CVI_RT_MemFree(context, view);
  return ok & check(CVI_RT_DeInit(context) == 0, "end of the context");
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
    ok &= process_wide(id, i) && cleanup_under_load(id);
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
