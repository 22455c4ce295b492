#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

CVI_RC forward_timed(CVI_MODEL_HANDLE model, CVI_TENSOR *inputs, int32_t ni, CVI_TENSOR *outputs,
                     int32_t no, int count, bool always) {
  double *times = malloc((size_t)(count > 0 ? count : 1) * sizeof *times);
  CVI_RC code = times ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
  for (int i = 0; code == CVI_RC_SUCCESS && i < count; i++) {
    double begin = milliseconds();
    code = CVI_NN_Forward(model, inputs, ni, outputs, no);
    times[i] = milliseconds() - begin;
  }
  if (code == CVI_RC_SUCCESS && (count > 1 || always)) {
    qsort(times, (size_t)count, sizeof *times, by_value);
    printf("time of %d runs: min %.3f ms, median %.3f ms, max %.3f ms\n", count, times[0],
           times[count / 2], times[count - 1]);
  }
  free(times);
  return code;
}
