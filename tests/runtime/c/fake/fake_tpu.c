/* Nodes, memory, caches, jobs. */
#include "fake_tpu.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fake_run.h"

enum { PAGE = 4096, LINE = 64, MOST_NODES = 64, MOST_JOBS = 128, MOST_FAULTS = 16 };
enum { SKIP = -1 }; /* instead of an errno: success without effect */
enum { OPEN, HEAPS, ALLOC, MAP, FLUSH, INVALIDATE, SUBMIT, WAIT, JOB, CALLS };
static const char *const call_names[CALLS] = {"open",       "heaps",  "alloc", "map", "flush",
                                              "invalidate", "submit", "wait",  "job"};

typedef struct {
  int call, code;
  unsigned first, count;
} fault;

typedef struct {
  fake_buffer *buffer;
  long thread;
  uint32_t seq;
  bool done;
  int ret;
} job;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool worker_started;

static struct {
  char chip[8], model[64];
  uint64_t size;
  bool absent, denied, old_ion, no_carveout, evict, coherent;
  unsigned break_after;
  fault faults[MOST_FAULTS];
  int fault_count;
} options;

static fake_stats stats;
static int nodes[MOST_NODES]; /* open descriptors; ~fd: of /dev/ion */
static int node_count;
static unsigned node_calls;
static fake_buffer *buffers;
static uint8_t *dram;
static uint64_t dram_size;
static job jobs[MOST_JOBS];
static int job_count;

void fake_violation(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("fake TPU: ", stderr);
  vfprintf(stderr, format, args);
  fputs("\n", stderr);
  va_end(args);
  stats.violations++;
}

/* ---- configuration ---- */

static int errno_of(const char *name) {
  static const struct {
    const char *name;
    int code;
  } known[] = {{"EINTR", EINTR},         {"EAGAIN", EAGAIN}, {"ENOMEM", ENOMEM}, {"EIO", EIO},
               {"ETIMEDOUT", ETIMEDOUT}, {"EBADF", EBADF},   {"EINVAL", EINVAL}, {"EPERM", EPERM},
               {"EFAULT", EFAULT},       {"ENODEV", ENODEV}, {"ENOTTY", ENOTTY}, {"SKIP", SKIP}};
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
    if (strcmp(known[i].name, name) == 0) {
      return known[i].code;
    }
  }
  return 0;
}

static bool add_fault(const char *text) {
  char call[16], code[16];
  fault f = {.call = -1, .count = 1};
  if (options.fault_count == MOST_FAULTS ||
      sscanf(text, "%15[a-z]:%u:%15[A-Z]:%u", call, &f.first, code, &f.count) < 3) {
    return false;
  }
  for (int i = 0; i < CALLS; i++) {
    f.call = strcmp(call, call_names[i]) == 0 ? i : f.call;
  }
  f.code = errno_of(code);
  options.faults[options.fault_count++] = f;
  return f.call >= 0 && f.code;
}

static bool apply(const char *word) {
  if (strncmp(word, "chip=", 5) == 0) {
    snprintf(options.chip, sizeof(options.chip), "%s", word + 5);
  } else if (strncmp(word, "model=", 6) == 0) {
    snprintf(options.model, sizeof(options.model), "%s", word + 6);
  } else if (strncmp(word, "size=", 5) == 0) {
    options.size = strtoull(word + 5, NULL, 0) / PAGE * PAGE;
  } else if (strncmp(word, "break=", 6) == 0) {
    options.break_after = (unsigned)strtoul(word + 6, NULL, 0);
  } else if (strncmp(word, "fault=", 6) == 0) {
    return add_fault(word + 6);
  } else if (strcmp(word, "absent") == 0) {
    options.absent = true;
  } else if (strcmp(word, "denied") == 0) {
    options.denied = true;
  } else if (strcmp(word, "old_ion") == 0) {
    options.old_ion = true;
  } else if (strcmp(word, "no_carveout") == 0) {
    options.no_carveout = true;
  } else if (strcmp(word, "evict") == 0) {
    options.evict = true;
  } else if (strcmp(word, "coherent") == 0) {
    options.coherent = true;
  } else {
    return false;
  }
  return true;
}

bool fake_configure(const char *text) {
  char copy[512];
  snprintf(copy, sizeof(copy), "%s", text);
  pthread_mutex_lock(&lock);
  memset(&options, 0, sizeof(options));
  memset(stats.calls, 0, sizeof(stats.calls));
  stats.jobs = stats.segments = stats.violations = 0;
  stats.peak = stats.bytes;
  node_calls = 0;
  strcpy(options.chip, "cv181x");
  options.size = UINT64_C(128) << 20;
  bool good = true;
  char *at = NULL;
  for (char *word = strtok_r(copy, ";", &at); word && good; word = strtok_r(NULL, ";", &at)) {
    good = apply(word);
  }
  if (!options.model[0]) {
    snprintf(options.model, sizeof(options.model), "Cvitek. CV%.3sX ASIC. C906.", options.chip + 2);
  }
  pthread_mutex_unlock(&lock);
  return good;
}

fake_stats fake_get_stats(void) {
  pthread_mutex_lock(&lock);
  fake_stats copy = stats;
  copy.nodes = (unsigned)node_count;
  pthread_mutex_unlock(&lock);
  return copy;
}

/* Count a call; the errno it is to fail with, or 0. */
static int injected(int call) {
  unsigned number = ++stats.calls[call];
  for (int i = 0; i < options.fault_count; i++) {
    const fault *f = &options.faults[i];
    if (f->call == call && number >= f->first && (!f->count || number - f->first < f->count)) {
      return f->code;
    }
  }
  return 0;
}

int fake_map_fault(void) {
  pthread_mutex_lock(&lock);
  int code = injected(MAP);
  pthread_mutex_unlock(&lock);
  return code;
}

/* ---- nodes ---- */

/* glibc has the function since 2.27, boards are older. */
static int memory_file(const char *name) {
  const unsigned close_on_exec = 1;
  return (int)syscall(SYS_memfd_create, name, close_on_exec);
}

static int text_file(const char *text) {
  int fd = memory_file("device-tree");
  if (fd >= 0 && write(fd, text, strlen(text) + 1) < 0) {
    syscall(SYS_close, fd);
    return -1;
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

static int open_node(bool ion) {
  int code = options.absent ? ENOENT : options.denied ? EACCES : injected(OPEN);
  /* not open(): that may lead here again */
  int fd = code ? -1 : (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
  if (fd >= 0 && node_count < MOST_NODES) {
    nodes[node_count++] = ion ? ~fd : fd;
    node_calls = ion ? node_calls : 0;
  }
  errno = code ? code : errno;
  return fd;
}

int fake_open(const char *path) {
  int fd = -2;
  pthread_mutex_lock(&lock);
  if (strcmp(path, "/proc/device-tree/model") == 0) {
    fd = text_file(options.model);
  } else if (strcmp(path, "/dev/cvi-tpu0") == 0) {
    fd = open_node(false);
  } else if (strcmp(path, "/dev/ion") == 0) {
    fd = open_node(true);
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

/* ---- memory ---- */

static fake_buffer *find_fd(int fd) {
  fake_buffer *b = buffers;
  while (b && (b->fd != fd || b->closed)) {
    b = b->next;
  }
  return b;
}

fake_buffer *fake_find(uint64_t physical) {
  fake_buffer *b = buffers;
  while (b && (physical < b->physical || physical - b->physical >= b->size)) {
    b = b->next;
  }
  return b;
}

/* Clear of 0 and of where boards keep their system. */
static uint64_t dram_start(void) { return fake_ddr() + (fake_ddr() ? 0x8000000 : 0x80000000); }

uint64_t fake_ddr(void) { return strcmp(options.chip, "cv183x") == 0 ? UINT64_C(1) << 32 : 0; }

static bool is_free(uint64_t physical, uint64_t size) {
  if (physical + size > dram_start() + options.size) {
    return false;
  }
  for (fake_buffer *b = buffers; b; b = b->next) {
    if (physical < b->physical + b->size && b->physical < physical + size) {
      return false;
    }
  }
  return true;
}

/* First fit: at the start, or right behind a buffer. */
static uint64_t find_place(uint64_t size) {
  if (is_free(dram_start(), size)) {
    return dram_start();
  }
  for (fake_buffer *b = buffers; b; b = b->next) {
    if (is_free(b->physical + b->size, size)) {
      return b->physical + b->size;
    }
  }
  return 0;
}

static uint8_t *reserve(uint64_t size, int fd) {
  int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
  void *p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, flags, fd, 0);
  return p == MAP_FAILED ? NULL : p;
}

/* Nothing is cleared: the memory still holds what others left, and so do the caches. */
static fake_buffer *make_buffer(uint64_t size) {
  uint64_t place = size ? find_place(size) : 0;
  fake_buffer *b = place ? calloc(1, sizeof(*b)) : NULL;
  if (!b) {
    return NULL;
  }
  if (!buffers && dram_size < options.size) {
    if (dram) {
      munmap(dram, (size_t)dram_size);
    }
    dram_size = options.size;
    dram = reserve(dram_size, -1);
  }
  b->fd = memory_file("ion");
  if (!dram || place - dram_start() + size > dram_size || b->fd < 0 ||
      ftruncate(b->fd, (off_t)size)) {
    free(b);
    return NULL;
  }
  b->size = size;
  b->physical = place;
  b->device = dram + (place - dram_start());
  b->cpu = reserve(size, b->fd);
  b->clean = reserve(size, -1);
  memset(b->device, 0xA5, (size_t)size);
  memset(b->cpu, 0x5A, (size_t)size); /* dirty lines of the former owner */
  memset(b->clean, 0xA5, (size_t)size);
  b->next = buffers;
  buffers = b;
  stats.buffers++;
  stats.bytes += size;
  stats.peak = stats.bytes > stats.peak ? stats.bytes : stats.peak;
  return b;
}

/* Gone when the descriptor is closed and no job holds it. */
static void release(fake_buffer *b) {
  if (!b->closed || b->jobs) {
    return;
  }
  fake_buffer **at = &buffers;
  while (*at != b) {
    at = &(*at)->next;
  }
  *at = b->next;
  stats.buffers--;
  stats.bytes -= b->size;
  memset(b->device, 0xA5, (size_t)b->size);
  munmap(b->cpu, (size_t)b->size);
  munmap(b->clean, (size_t)b->size);
  free(b);
}

void fake_closing(int fd) {
  pthread_mutex_lock(&lock);
  fake_buffer *b = find_fd(fd);
  if (b) {
    b->closed = true;
    release(b);
  }
  for (int i = 0; i < node_count; i++) {
    if (nodes[i] == fd || nodes[i] == ~fd) {
      nodes[i] = nodes[--node_count];
      break;
    }
  }
  pthread_mutex_unlock(&lock);
}

typedef struct {
  uint64_t len;
  uint32_t heap_mask, flags, fd, unused;
  uint64_t paddr;
} alloc_argument;

static int allocate(void *argument, bool old) {
  alloc_argument a;
  int code = injected(ALLOC);
  memcpy(&a, argument, sizeof(a));
  if (code || (options.old_ion && !old)) {
    return code ? code : EINVAL;
  }
  if (a.heap_mask != 1u << 3 || a.len == 0) {
    return EINVAL;
  }
  fake_buffer *b = make_buffer((a.len + PAGE - 1) / PAGE * PAGE);
  if (!b) {
    return ENOMEM;
  }
  a.fd = (uint32_t)b->fd;
  a.paddr = b->physical;
  memcpy(argument, &a, sizeof(a));
  return 0;
}

typedef struct {
  char name[32];
  uint32_t type, id, unused[3];
} heap;

static int query_heaps(void *argument) {
  static const heap all[2] = {{"system", 0, 0, {0}}, {"carveout", 2, 3, {0}}};
  uint32_t count;
  uint64_t place;
  int code = injected(HEAPS);
  memcpy(&count, argument, 4);
  memcpy(&place, (uint8_t *)argument + 8, 8);
  uint32_t mine = options.no_carveout ? 1 : 2;
  if (!code && place) {
    memcpy((void *)(uintptr_t)place, all, sizeof(heap) * (count < mine ? count : mine));
  }
  memcpy(argument, &mine, 4);
  return code;
}

/* ---- caches ---- */

static void write_back(fake_buffer *b, uint64_t at, uint64_t end) {
  for (; at < end; at += LINE) {
    if (memcmp(b->cpu + at, b->clean + at, LINE) != 0) {
      memcpy(b->device + at, b->cpu + at, LINE);
      memcpy(b->clean + at, b->cpu + at, LINE);
    }
  }
}

static int maintain(const void *argument, bool flush) {
  uint64_t range[2];
  int code = injected(flush ? FLUSH : INVALIDATE);
  memcpy(range, argument, sizeof(range));
  fake_buffer *b = fake_find(range[0]);
  if (code) {
    return code == SKIP ? 0 : code;
  }
  if (!b || range[1] > b->size - (range[0] - b->physical)) {
    fake_violation("cache operation on [0x%llx, + 0x%llx): no buffer", (unsigned long long)range[0],
                   (unsigned long long)range[1]);
    return EFAULT;
  }
  uint64_t at = (range[0] - b->physical) / LINE * LINE;
  uint64_t end = (range[0] - b->physical + range[1] + LINE - 1) / LINE * LINE;
  if (flush) {
    write_back(b, at, end);
  } else {
    write_back(b, at, options.coherent ? end : at);
    memcpy(b->cpu + at, b->device + at, (size_t)(end - at));
    memcpy(b->clean + at, b->device + at, (size_t)(end - at));
  }
  return 0;
}

/* ---- jobs ---- */

static job *next_job(void) {
  for (int i = 0; i < job_count; i++) {
    if (!jobs[i].done) {
      return &jobs[i];
    }
  }
  return NULL;
}

static void *work(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  for (;;) {
    job *j = next_job();
    if (!j) {
      pthread_cond_wait(&changed, &lock);
      continue;
    }
    int code = injected(JOB);
    for (fake_buffer *b = options.coherent ? buffers : NULL; b; b = b->next) {
      write_back(b, 0, b->size);
    }
    j->ret = code ? -code : fake_run(options.chip, j->buffer, &stats.segments);
    j->done = true;
    stats.jobs++;
    for (fake_buffer *b = options.evict ? buffers : NULL; b; b = b->next) {
      write_back(b, 0, b->size);
    }
    for (fake_buffer *b = options.coherent ? buffers : NULL; b; b = b->next) {
      memcpy(b->cpu, b->device, (size_t)b->size);
      memcpy(b->clean, b->device, (size_t)b->size);
    }
    j->buffer->jobs--;
    release(j->buffer);
    pthread_cond_broadcast(&changed);
  }
  return NULL;
}

static int submit(const void *argument) {
  int32_t fd;
  job j = {.thread = syscall(SYS_gettid)};
  int code = injected(SUBMIT);
  memcpy(&fd, argument, 4);
  memcpy(&j.seq, (const uint8_t *)argument + 4, 4);
  if (code) {
    return code;
  }
  j.buffer = find_fd(fd);
  if (!j.buffer || job_count == MOST_JOBS) {
    fake_violation(j.buffer ? "too many jobs" : "submit of %d: no ION buffer", fd);
    return EINVAL;
  }
  for (int i = 0; i < job_count; i++) {
    if (jobs[i].thread == j.thread && jobs[i].seq == j.seq) {
      fake_violation("two jobs %u of one thread", j.seq);
    }
  }
  j.buffer->jobs++;
  jobs[job_count++] = j;
  if (!worker_started) {
    pthread_t worker;
    worker_started = pthread_create(&worker, NULL, work, NULL) == 0;
    pthread_detach(worker);
  }
  pthread_cond_broadcast(&changed);
  return 0;
}

static job *find_job(long thread, uint32_t seq) {
  for (int i = 0; i < job_count; i++) {
    if (jobs[i].thread == thread && jobs[i].seq == seq) {
      return &jobs[i];
    }
  }
  return NULL;
}

static int wait_for(void *argument) {
  uint32_t seq;
  int code = injected(WAIT);
  memcpy(&seq, argument, 4);
  if (code) {
    return code;
  }
  long thread = syscall(SYS_gettid);
  job *j = find_job(thread, seq);
  while (j && !j->done) {
    pthread_cond_wait(&changed, &lock);
    j = find_job(thread, seq);
  }
  if (!j) {
    fake_violation("wait for job %u, which this thread did not submit", seq);
    return EINVAL;
  }
  memcpy((uint8_t *)argument + 4, &j->ret, 4);
  job_count--;
  memmove(j, j + 1, (size_t)(&jobs[job_count] - j) * sizeof(*j));
  return 0;
}

/* ---- entry ---- */

static int tpu_call(unsigned long request, void *argument) {
  node_calls++;
  if (options.break_after && node_calls > options.break_after) {
    return EBADF;
  }
  switch (request) {
  case 0x40087001:
    return submit(argument);
  case 0x40087004:
    return maintain(argument, true);
  case 0x40087005:
    return maintain(argument, false);
  case 0xC0087006:
    return wait_for(argument);
  default:
    return ENOTTY;
  }
}

static int ion_call(unsigned long request, void *argument) {
  switch (request) {
  case 0xC0184908:
    return query_heaps(argument);
  case 0xC0404900:
    return allocate(argument, false);
  case 0xC0204900:
    return allocate(argument, true);
  default:
    return ENOTTY;
  }
}

bool fake_ioctl(int fd, unsigned long request, void *argument, int *result) {
  bool found = false;
  int code = 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < node_count && !found; i++) {
    found = nodes[i] == fd || nodes[i] == ~fd;
    if (found) {
      request &= 0xFFFFFFFF;
      code = nodes[i] == fd ? tpu_call(request, argument) : ion_call(request, argument);
    }
  }
  pthread_mutex_unlock(&lock);
  *result = code ? -1 : 0;
  errno = code ? code : errno;
  return found;
}
