/* Runs a model on the board back-end with the fake driver behind its table of system calls.
 *
 *   board OPTIONS MODEL INPUTS OUTPUTS RUNS THREADS
 *
 * OPTIONS: fake/fake_tpu.h, and at the end one of
 *   clock=MS         every look at the clock finds it MS later
 *   foreign          inputs and outputs are memory of another program, given by address
 *   frames=STRIDE    the input is a foreign image of [1, c, h, w] bytes whose rows are STRIDE apart
 * INPUTS: the bytes of all input tensors; OUTPUTS gets those of all outputs after the last run.
 * With THREADS > 1 each thread runs a clone and compares with the first run.
 * Prints "CALL code text" lines and the driver's counts after CleanupModel. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cviruntime.h"
#include "fake/fake_run.h"
#include "fake/fake_tpu.h"
#include "soc/os.h"

static int64_t clock_step;
static int foreign;
static size_t frame_stride;
static atomic_llong now;

static int my_open(const char *path, int flags) {
  (void)flags;
  int fd = fake_open(path);
  errno = fd == -2 ? ENOENT : errno;
  return fd < 0 ? -1 : fd;
}

static int my_close(int fd) {
  fake_closing(fd);
  return close(fd);
}

static int my_ioctl(int fd, unsigned long request, void *argument) {
  int result;
  if (!fake_ioctl(fd, request, argument, &result)) {
    errno = EBADF;
    return -1;
  }
  return result;
}

static void *my_map(int fd, size_t size) {
  errno = fake_map_fault();
  if (errno) {
    return NULL;
  }
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return p == MAP_FAILED ? NULL : p;
}

static int64_t my_clock(void) { return atomic_fetch_add(&now, clock_step); }

typedef struct {
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
} tensors;

static CVI_MODEL_HANDLE model;
static uint8_t *input, *expected;
static size_t input_size, output_size;
static int runs;

static int said(const char *call, int rc) {
  printf("%s %d %s\n", call, rc, rc ? CVI_NN_GetLastError() : "");
  return rc;
}

/* An ION buffer that the runtime knows nothing of: its descriptor goes to another program. */
static fake_buffer *other_program(size_t size) {
  struct {
    uint64_t len;
    uint32_t mask, flags, fd, unused;
    uint64_t paddr;
    char name[32];
  } a = {.len = size, .mask = 1 << 3};
  int ion = my_open("/dev/ion", 0);
  int bad = my_ioctl(ion, 0xC0404900, &a);
  my_close(ion);
  fake_buffer *b = bad ? NULL : fake_find(a.paddr);
  if (b) { /* written by hardware: nothing of it is in the caches */
    memcpy(b->cpu, b->device, b->size);
    memcpy(b->clean, b->device, b->size);
  }
  return b;
}

static uint64_t address(const fake_buffer *b) { return b->physical - fake_ddr(); }

/* Rows of the first input, padded, in foreign memory. */
static int bind_frame(const tensors *t) {
  const int32_t *d = t->in[0].shape.dim;
  size_t rows = (size_t)d[1] * (size_t)d[2], w = (size_t)d[3];
  fake_buffer *b = other_program(rows * frame_stride);
  for (size_t i = 0; b && i < rows; i++) {
    memcpy(b->device + i * frame_stride, input + i * w, w);
  }
  uint64_t place = b ? address(b) : 0;
  return !b || said("frame",
                    CVI_NN_SetTensorWithAlignedFrames(t->in, &place, 1, CVI_NN_PIXEL_RGB_PLANAR));
}

static int bind_foreign(const tensors *t) {
  size_t at = 0;
  for (int32_t i = 0; i < t->nin + t->nout; i++) {
    CVI_TENSOR *tensor = i < t->nin ? &t->in[i] : &t->out[i - t->nin];
    fake_buffer *b = other_program(tensor->mem_size);
    if (!b || said("bind", CVI_NN_SetTensorPhysicalAddr(tensor, address(b)))) {
      return 1;
    }
    if (i < t->nin) {
      memcpy(b->device, input + at, tensor->mem_size);
      at += tensor->mem_size;
    }
  }
  return 0;
}

static int feed(const tensors *t) {
  if (foreign || frame_stride) {
    return 0;
  }
  size_t at = 0;
  for (int32_t i = 0; i < t->nin; i++) {
    if (t->in[i].mem_size > input_size - at) {
      return 1;
    }
    memcpy(t->in[i].sys_mem, input + at, t->in[i].mem_size);
    at += t->in[i].mem_size;
  }
  return 0;
}

static void collect(const tensors *t, uint8_t *to) {
  for (int32_t i = 0; i < t->nout; i++) {
    fake_buffer *b = foreign ? fake_find(t->out[i].paddr + fake_ddr()) : NULL;
    memcpy(to, b ? b->device : t->out[i].sys_mem, t->out[i].mem_size);
    to += t->out[i].mem_size;
  }
}

static void *run_clone(void *unused) {
  (void)unused;
  CVI_MODEL_HANDLE clone;
  tensors t;
  int bad = CVI_NN_CloneModel(model, &clone);
  bad = bad ? bad : CVI_NN_GetInputOutputTensors(clone, &t.in, &t.nin, &t.out, &t.nout);
  uint8_t *got = malloc(output_size);
  for (int i = 0; i < runs && !bad; i++) {
    bad = feed(&t);
    bad = bad ? bad : CVI_NN_Forward(clone, t.in, t.nin, t.out, t.nout);
    collect(&t, got);
    bad = bad || memcmp(got, expected, output_size) != 0;
  }
  free(got);
  int last = CVI_NN_CleanupModel(clone);
  return (void *)(intptr_t)(bad || last);
}

static void run_threads(int count) {
  pthread_t threads[16];
  intptr_t bad = 0;
  for (int i = 0; i < count; i++) {
    pthread_create(&threads[i], NULL, run_clone, NULL);
  }
  for (int i = 0; i < count; i++) {
    void *result;
    pthread_join(threads[i], &result);
    bad |= (intptr_t)result;
  }
  printf("threads %d\n", (int)bad);
}

static int use(const char *output, int thread_count) {
  tensors t;
  if (said("tensors", CVI_NN_GetInputOutputTensors(model, &t.in, &t.nin, &t.out, &t.nout)) ||
      feed(&t) || (foreign && bind_foreign(&t)) || (frame_stride && bind_frame(&t))) {
    return 1;
  }
  for (int32_t i = 0; i < t.nout; i++) {
    output_size += t.out[i].mem_size;
  }
  for (int i = 0; i < runs; i++) {
    feed(&t);
    said("forward", CVI_NN_Forward(model, t.in, t.nin, t.out, t.nout));
  }
  expected = malloc(output_size);
  collect(&t, expected);
  if (thread_count > 1) {
    run_threads(thread_count);
  }
  FILE *f = fopen(output, "wb");
  int bad = !f || fwrite(expected, 1, output_size, f) != output_size;
  free(expected);
  return !f || fclose(f) || bad;
}

static int read_input(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) {
    return 1;
  }
  input_size = (size_t)ftell(f);
  rewind(f);
  input = malloc(input_size + 1);
  int bad = fread(input, 1, input_size, f) != input_size;
  return fclose(f) || bad;
}

/* The options without ours. */
static int configure(char *text) {
  char *clock = strstr(text, "clock="), *frames = strstr(text, "frames=");
  char *binding = strstr(text, "foreign");
  clock_step = clock ? atoll(clock + 6) : 0;
  frame_stride = frames ? (size_t)atoll(frames + 7) : 0;
  foreign = binding != NULL;
  char *ours = clock ? clock : frames ? frames : binding;
  if (ours) {
    *ours = '\0';
  }
  return !fake_configure(text);
}

int main(int argc, char **argv) {
  if (argc != 7 || configure(argv[1]) || read_input(argv[3])) {
    return 2;
  }
  rt_os = (rt_os_table){.open = my_open,
                        .close = my_close,
                        .read = read,
                        .ioctl = my_ioctl,
                        .map = my_map,
                        .unmap = munmap,
                        .milliseconds = my_clock};
  runs = atoi(argv[5]);
  CVI_NN_Global_SetLogLevel(0);
  int bad = 0;
  if (said("register", CVI_NN_RegisterModel(argv[2], &model)) == 0) {
    bad = use(argv[4], atoi(argv[6]));
    said("cleanup", CVI_NN_CleanupModel(model));
  }
  free(input);
  fake_stats s = fake_get_stats();
  printf("jobs %u\nsegments %u\nviolations %u\nbuffers %u\npeak %llu\n", s.jobs, s.segments,
         s.violations, s.buffers, (unsigned long long)s.peak);
  return bad && bad != 1;
}
