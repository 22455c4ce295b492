/* The real system calls. */
#include "os.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int os_open(const char *path, int flags) { return open(path, flags | O_CLOEXEC); }

static int os_ioctl(int fd, unsigned long request, void *argument) {
  return ioctl(fd, request, argument);
}

static void *os_map(int fd, size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static int64_t os_milliseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

rt_os_table rt_os = {
    .open = os_open,
    .close = close,
    .read = read,
    .ioctl = os_ioctl,
    .map = os_map,
    .unmap = munmap,
    .milliseconds = os_milliseconds,
};
