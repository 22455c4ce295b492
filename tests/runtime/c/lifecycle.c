/* Life cycles under a failing allocator and repeated cycles (issue 4, point 3).
 *
 *   lifecycle FILE fail       allocation number n fails, for every n until a cycle succeeds
 *   lifecycle FILE repeat N   N cycles; prints the resident memory before and after
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cviruntime.h"

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__real_aligned_alloc(size_t, size_t);
int __real_posix_memalign(void **, size_t, size_t);

static atomic_long countdown = -1; /* fails when it reaches 0 */

static int fails(void) {
  return atomic_load(&countdown) >= 0 && atomic_fetch_sub(&countdown, 1) == 0;
}

void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t s) { return fails() ? NULL : __real_calloc(n, s); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t a, size_t n) {
  return fails() ? NULL : __real_aligned_alloc(a, n);
}
int __wrap_posix_memalign(void **p, size_t a, size_t n) {
  return fails() ? ENOMEM : __real_posix_memalign(p, a, n);
}

static int cycle(const char *file) {
  CVI_MODEL_HANDLE model = NULL, clone = NULL;
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  void *task = NULL;
  int rc = CVI_NN_RegisterModel(file, &model);
  if (rc) {
    return model ? 1 : rc;
  }
  rc = CVI_NN_CloneModel(model, &clone);
  rc = rc ? rc : CVI_NN_GetInputOutputTensors(clone, &in, &nin, &out, &nout);
  rc = rc ? rc : CVI_NN_Forward(clone, in, nin, out, nout);
  rc = rc ? rc : CVI_NN_ForwardAsync(clone, in, nin, out, nout, &task);
  rc = rc ? rc : CVI_NN_ForwardWait(clone, task);
  int first = CVI_NN_CleanupModel(model), second = CVI_NN_CleanupModel(clone);
  return first ? first : second ? second : rc;
}

static long resident_kb(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%*d %ld", &pages) != 1) {
    exit(2);
  }
  fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    return 2;
  }
  CVI_NN_Global_SetLogLevel(0);
  if (strcmp(argv[2], "fail") == 0) {
    for (long n = 0; n < 100000; n++) {
      atomic_store(&countdown, n);
      int rc = cycle(argv[1]);
      int reached = atomic_load(&countdown) < 0;
      atomic_store(&countdown, -1);
      if (!reached) {
        printf("allocations %ld last %d\n", n, rc);
        return rc ? 1 : 0;
      }
      if (rc != CVI_RC_NOMEM) {
        printf("allocation %ld failed, code %d: %s\n", n, rc, CVI_NN_GetLastError());
        return 1;
      }
    }
    return 1;
  }
  long count = atol(argv[3]), before = 0;
  for (long i = 0; i < count; i++) {
    int rc = cycle(argv[1]);
    if (rc) {
      printf("cycle %ld: %d %s\n", i, rc, CVI_NN_GetLastError());
      return 1;
    }
    if (i == count / 10) {
      before = resident_kb();
    }
  }
  printf("before %ld after %ld\n", before, resident_kb());
  return 0;
}
