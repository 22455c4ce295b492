/* Host memory of a life cycle: the most bytes held at once, every allocation counted.
 *
 *   memory FILE      prints: loaded BYTES running BYTES peak BYTES left BYTES */
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cviruntime.h"

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void __real_free(void *);

static atomic_llong held, peak;

static void *count(void *p) {
  if (p) {
    long long size = (long long)malloc_usable_size(p);
    long long now = atomic_fetch_add(&held, size) + size;
    long long most = atomic_load(&peak);
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {
    }
  }
  return p;
}

static void uncount(void *p) {
  if (p) {
    atomic_fetch_sub(&held, (long long)malloc_usable_size(p));
  }
}

void *__wrap_malloc(size_t n) { return count(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t s) { return count(__real_calloc(n, s)); }
void *__wrap_realloc(void *p, size_t n) {
  uncount(p);
  return count(__real_realloc(p, n));
}
void __wrap_free(void *p) {
  uncount(p);
  __real_free(p);
}

int main(int argc, char **argv) {
  CVI_MODEL_HANDLE model;
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  if (argc != 2 || CVI_NN_RegisterModel(argv[1], &model)) {
    return 1;
  }
  long long loaded = atomic_load(&held);
  if (CVI_NN_GetInputOutputTensors(model, &in, &nin, &out, &nout) ||
      CVI_NN_Forward(model, in, nin, out, nout)) {
    return 1;
  }
  long long running = atomic_load(&held);
  if (CVI_NN_CleanupModel(model)) {
    return 1;
  }
  printf("loaded %lld running %lld peak %lld left %lld\n", loaded, running, atomic_load(&peak),
         atomic_load(&held));
  return 0;
}
