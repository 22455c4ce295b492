/* Several threads of the program, each with a model of its own, on simulators with threads of their
 * own (TPU_SIM_THREADS): every output as that of a run alone, no thread left after the cleanup.
 *
 *   team FILE USERS ROUNDS     prints: outputs HASH threads BEFORE RUNNING AFTER */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cviruntime.h"

static const char *file;
static int rounds;
static atomic_int most;

static int threads_now(void) {
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *e = tasks ? readdir(tasks) : NULL; e; e = readdir(tasks)) {
    count += e->d_name[0] != '.';
  }
  closedir(tasks);
  return count;
}

/* Hash of the outputs of `count` runs, 0 if one fails or differs. */
static uint32_t run(int count) {
  CVI_MODEL_HANDLE model;
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  uint32_t first = 0;
  if (CVI_NN_RegisterModel(file, &model) ||
      CVI_NN_GetInputOutputTensors(model, &in, &nin, &out, &nout)) {
    return 0;
  }
  for (size_t i = 0; i < in->count && in->fmt == CVI_FMT_FP32; i++) {
    ((float *)CVI_NN_TensorPtr(in))[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
  }
  for (int i = 0; i < count; i++) {
    uint32_t hash = 2166136261u;
    if (CVI_NN_Forward(model, in, nin, out, nout)) {
      return 0;
    }
    for (size_t k = 0; k < CVI_NN_TensorSize(out); k++) {
      hash = (hash ^ ((uint8_t *)CVI_NN_TensorPtr(out))[k]) * 16777619u;
    }
    if (i && hash != first) {
      return 0;
    }
    first = hash;
  }
  const int now = threads_now();
  int old = atomic_load(&most);
  while (now > old && !atomic_compare_exchange_weak(&most, &old, now)) {
  }
  return CVI_NN_CleanupModel(model) ? 0 : first;
}

static void *user(void *arg) { return (void *)(uintptr_t)(arg ? run(rounds) : 0); }

int main(int argc, char **argv) {
  pthread_t users[16];
  if (argc != 4 || atoi(argv[2]) > 16) {
    return 1;
  }
  file = argv[1];
  rounds = atoi(argv[3]);
  const int count = atoi(argv[2]);
  pthread_create(&users[0], NULL, user, NULL); /* sanitizers add a thread to the first one */
  pthread_join(users[0], NULL);
  const int before = threads_now();
  const uint32_t alone = run(1);
  for (int i = 0; i < count; i++) {
    pthread_create(&users[i], NULL, user, users);
  }
  int good = alone != 0;
  for (int i = 0; i < count; i++) {
    void *hash;
    pthread_join(users[i], &hash);
    good &= (uint32_t)(uintptr_t)hash == alone;
  }
  printf("outputs %08x threads %d %d %d\n", (unsigned)alone, before, (int)most, threads_now());
  return good ? 0 : 1;
}
