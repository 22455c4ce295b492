/* Memory objects behind CVI_RT_MEM, and the regions a model owns. */
#ifndef TPUFORGE_MEMORY_H
#define TPUFORGE_MEMORY_H

#include "device.h"

/* A view of a block, or a loaded command buffer. */
typedef struct {
  rt_block *block; /* NULL for command buffers on the simulator */
  uint64_t offset, size;
  bool view;            /* made by MemPreAlloc */
  atomic_int user_refs; /* MemIncRef, MemDecRef */
  rt_code *code;        /* command buffers */
  char chip[8];
  uint64_t base0, base1;
} rt_mem;

/* Memory of a model: made by the callback of CVI_RT_Global_SetMemAllocCallback, if there is one. */
typedef struct {
  rt_block *block;
  uint64_t offset; /* the callback may return a view */
  uint64_t size;
  CVI_RT_MEM from_callback; /* NULL: our own */
  CVI_MEM_FREE_CB free_cb;
  bool common; /* a shared region of several handles: put back, never freed */
} rt_region;

CVI_RC rt_region_alloc(rt_region *region, uint64_t size, CVI_ALLOC_TYPE type, const char *name);
void rt_region_free(rt_region *region);

static inline uint8_t *rt_region_ptr(const rt_region *r) { return r->block->vaddr + r->offset; }
static inline uint64_t rt_region_paddr(const rt_region *r) { return r->block->paddr + r->offset; }

/* The context that the runtime itself passes to allocation callbacks. */
CVI_RT_HANDLE rt_own_context(void);

#endif
