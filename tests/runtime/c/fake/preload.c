/* The fake driver under unmodified programs: LD_PRELOAD=libfake_tpu.so FAKE_TPU="chip=cv181x".
 * FAKE_TPU_REPORT names a file that gets the counts at the end of the process. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_tpu.h"

#define EXPORT __attribute__((visibility("default")))

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_ioctl)(int, unsigned long, ...);

static void *find(const char *name) {
  void *symbol = dlsym(RTLD_NEXT, name);
  if (!symbol) {
    abort();
  }
  return symbol;
}

__attribute__((constructor)) static void start(void) {
  *(void **)&real_open = find("open");
  *(void **)&real_close = find("close");
  *(void **)&real_ioctl = find("ioctl");
  const char *options = getenv("FAKE_TPU");
  if (!fake_configure(options ? options : "")) {
    fprintf(stderr, "FAKE_TPU=%s: not understood\n", options);
    abort();
  }
}

__attribute__((destructor)) static void stop(void) {
  const char *path = getenv("FAKE_TPU_REPORT");
  FILE *f = path ? fopen(path, "a") : NULL;
  if (f) {
    fake_stats s = fake_get_stats();
    fprintf(f, "jobs %u segments %u violations %u buffers %u nodes %u peak %llu\n", s.jobs,
            s.segments, s.violations, s.buffers, s.nodes, (unsigned long long)s.peak);
    fclose(f);
  }
}

static int open_any(const char *path, int flags, mode_t mode) {
  if (!real_open) {
    start();
  }
  int fd = fake_open(path);
  return fd == -2 ? real_open(path, flags, mode) : fd;
}

EXPORT int open(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
  va_end(args);
  return open_any(path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
  va_end(args);
  return open_any(path, flags, mode);
}

EXPORT int close(int fd) {
  if (!real_close) {
    start();
  }
  fake_closing(fd);
  return real_close(fd);
}

EXPORT int ioctl(int fd, unsigned long request, ...) {
  va_list args;
  va_start(args, request);
  void *argument = va_arg(args, void *);
  va_end(args);
  if (!real_ioctl) {
    start();
  }
  int result;
  return fake_ioctl(fd, request, argument, &result) ? result : real_ioctl(fd, request, argument);
}
