/* Shared by the files of the fake driver. */
#ifndef FAKE_RUN_H
#define FAKE_RUN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct fake_buffer {
  struct fake_buffer *next;
  int fd;
  bool closed;
  unsigned jobs;
  uint64_t physical, size;
  uint8_t *cpu, *device; /* the two views */
  uint8_t *clean;        /* what both had in common last: a line that differs is dirty */
} fake_buffer;

void fake_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The live buffer that contains an address, or NULL. */
fake_buffer *fake_find(uint64_t physical);

/* Where the DDR of the chip begins. */
uint64_t fake_ddr(void);

/* What the kernel's worker and the TPU do with a dma buffer: the result of the job. */
int fake_run(const char *chip, fake_buffer *buffer, unsigned *segments);

#endif
