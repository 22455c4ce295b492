/* Host memory of a life cycle: the most bytes held at once, every allocation counted.
 *
 *   memory FILE [buffer]    prints: loaded BYTES running BYTES peak BYTES clone BYTES left BYTES
 *
 * buffer: registered from memory, which is not counted. clone: what a clone adds after a run. */
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

/* The whole file, in memory that is not counted. */
static void *read_file(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) {
    return NULL;
  }
  *size = (size_t)ftell(f);
  rewind(f);
  void *bytes = __real_malloc(*size);
  size_t got = bytes ? fread(bytes, 1, *size, f) : 0;
  fclose(f);
  return got == *size ? bytes : NULL;
}

static int run(CVI_MODEL_HANDLE model) {
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  return CVI_NN_GetInputOutputTensors(model, &in, &nin, &out, &nout) ||
         CVI_NN_Forward(model, in, nin, out, nout);
}

int main(int argc, char **argv) {
  CVI_MODEL_HANDLE model, clone;
  size_t size = 0;
  void *file = argc == 3 ? read_file(argv[1], &size) : NULL;
  if (argc < 2 || argc > 3 || (argc == 3 && !file)) {
    return 1;
  }
  long long start = atomic_load(&held);
  atomic_store(&peak, start);
  if (file ? CVI_NN_RegisterModelFromBuffer(file, (uint32_t)size, &model)
           : CVI_NN_RegisterModel(argv[1], &model)) {
    return 1;
  }
  long long loaded = atomic_load(&held) - start;
  if (run(model)) {
    return 1;
  }
  long long running = atomic_load(&held) - start, most = atomic_load(&peak) - start;
  if (CVI_NN_CloneModel(model, &clone) || run(clone)) {
    return 1;
  }
  long long both = atomic_load(&held) - start;
  if (CVI_NN_CleanupModel(clone) || CVI_NN_CleanupModel(model)) {
    return 1;
  }
  printf("loaded %lld running %lld peak %lld clone %lld left %lld\n", loaded, running, most,
         both - running, atomic_load(&held) - start);
  __real_free(file);
  return 0;
}
