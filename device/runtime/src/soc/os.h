/* Every system call of the board back-end, behind one table that tests replace. */
#ifndef TPUFORGE_SOC_OS_H
#define TPUFORGE_SOC_OS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As the calls of the same name: -1 and errno on failure. */
typedef struct {
  int (*open)(const char *path, int flags);
  int (*close)(int fd);
  ssize_t (*read)(int fd, void *data, size_t size);
  int (*ioctl)(int fd, unsigned long request, void *argument);
  void *(*map)(int fd, size_t size); /* shared, read and write, from the start; NULL on failure */
  int (*unmap)(void *memory, size_t size);
  int64_t (*milliseconds)(void); /* a clock that only goes forward */
} rt_os_table;

/* The kernel's calls. To be replaced before the first use of the runtime only. */
extern rt_os_table rt_os;

#endif
