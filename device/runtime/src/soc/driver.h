/* The kernel's interface: numbers and structures (hw/cv18xx-driver.md sections 2, 3, 5). */
#ifndef TPUFORGE_SOC_DRIVER_H
#define TPUFORGE_SOC_DRIVER_H

#include <stdint.h>

#define TPU_NODE "/dev/cvi-tpu0"
#define ION_NODE "/dev/ion"
#define CHIP_NODE "/proc/device-tree/model"

enum {
  TPU_SUBMIT = 0x40087001,
  TPU_FLUSH = 0x40087004,
  TPU_INVALIDATE = 0x40087005,
};
#define TPU_WAIT 0xC0087006u
#define ION_ALLOC 0xC0404900u
#define ION_ALLOC_OLD 0xC0204900u
#define ION_HEAPS 0xC0184908u

typedef struct {
  int32_t fd;
  uint32_t seq;
} tpu_submit;

typedef struct {
  uint32_t seq;
  int32_t ret;
} tpu_wait;

typedef struct {
  uint64_t paddr, size;
  int32_t fd;
  uint32_t unused; /* 24 bytes also where u64 is aligned to 4 */
} tpu_cache;

/* Old kernels know it without the name. */
typedef struct {
  uint64_t len;
  uint32_t heap_mask, flags;
  uint32_t fd, unused;
  uint64_t paddr;
  char name[32];
} ion_alloc;

typedef struct {
  uint32_t count, unused;
  uint64_t heaps;
  uint32_t unused2[2];
} ion_query;

enum { ION_CARVEOUT = 2, ION_CACHED = 1, ION_MOST_HEAPS = 5 };

typedef struct {
  char name[32];
  uint32_t type, id, unused[3];
} ion_heap;

_Static_assert(sizeof(tpu_submit) == 8 && sizeof(tpu_wait) == 8 && sizeof(tpu_cache) == 24, "");
_Static_assert(sizeof(ion_alloc) == 64 && sizeof(ion_query) == 24 && sizeof(ion_heap) == 52, "");

/* DDR of cv183x begins here, that of the others at 0: physical = device address + begin. */
#define DDR_CV183X (UINT64_C(1) << 32)

#endif
