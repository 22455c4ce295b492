/* A board's kernel in user space (hw/cv18xx-driver.md section 12): TPU node, ION, one worker that
 * runs submitted dma buffers in the simulator.
 *
 * Every buffer has a CPU view (what the program maps) and a device view (what the TPU sees); data
 * moves between them only by flush and invalidate, 64 bytes at a time, so that a forgotten one
 * shows as wrong data. What would harm a real kernel or other processes is a violation: it is
 * printed and counted. */
#ifndef FAKE_TPU_H
#define FAKE_TPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Options separated by ';':
 *   chip=cv181x      which TPU (also what the device tree says; model=TEXT overrides that)
 *   size=BYTES       of the carveout heap
 *   absent, denied   the nodes do not exist, may not be opened
 *   old_ion          only the old number for allocations
 *   no_carveout      other heaps only
 *   coherent         flush and invalidate are not needed (programs that forget them)
 *   evict            dirty lines are written back right after every job
 *   break=N          the descriptor of the TPU node goes bad after N calls
 *   fault=CALL:N:ERRNO[:COUNT]   the N-th call (from 1) and COUNT - 1 more fail (0: all); CALL is
 *                    one of open, heaps, alloc, map, flush, invalidate, submit, wait, job (its
 *                    ERRNO becomes the result of the job). SKIP instead of a name: flush or
 *                    invalidate does nothing and succeeds
 * False: not understood. Forgets everything that was before. */
bool fake_configure(const char *options);

typedef struct {
  unsigned jobs, segments, violations;
  unsigned buffers, nodes; /* open now */
  uint64_t bytes, peak;    /* of buffers */
  unsigned calls[16];      /* by kind, see the order above */
} fake_stats;

fake_stats fake_get_stats(void);

/* -2: not a path of ours. */
int fake_open(const char *path);
/* Is the descriptor ours? Then *result and errno are set. */
bool fake_ioctl(int fd, unsigned long request, void *argument, int *result);
/* To be called before the descriptor is closed. */
void fake_closing(int fd);
/* 0, or the errno that a mapping is to fail with. */
int fake_map_fault(void);

#endif
