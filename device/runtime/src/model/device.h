/* Device memory, and what a back-end (simulator, board) offers. */
#ifndef TPUFORGE_DEVICE_H
#define TPUFORGE_DEVICE_H

#include <stdatomic.h>

#include "rt.h"

/* One allocation of device memory, mapped for the CPU, counted. */
typedef struct {
  atomic_int refs;
  uint8_t *vaddr;
  uint64_t paddr; /* device address */
  uint64_t ddr;   /* boards: physical address = device address + ddr */
  uint64_t size;
  bool read_only; /* the TPU may not store here (weights) */
  int fd;         /* boards: dma-buf */
  bool foreign;   /* boards: somebody else's memory; vaddr is NULL, its caches are the owner's */
} rt_block;

/* What a base register points to. block NULL: nothing may be accessed through it. */
typedef struct {
  rt_block *block;
  uint64_t offset;
  uint64_t size;
} rt_base;

typedef struct rt_code rt_code;     /* a loaded command section, immutable */
typedef struct rt_engine rt_engine; /* executes commands, one at a time */

typedef struct {
  const char *name;
  bool device_addresses; /* addresses come from the device (boards) instead of from memory.c */
  bool one_job;          /* runs of this process follow each other, whatever the engine */
  /* Fill vaddr and fd (and paddr with device_addresses) of a new block; memory is zero. */
  CVI_RC (*mem_alloc)(rt_block *block);
  void (*mem_free)(rt_block *block);
  CVI_RC (*flush)(rt_block *block, uint64_t offset, uint64_t size);
  CVI_RC (*invalidate)(rt_block *block, uint64_t offset, uint64_t size);
  /* `counters`: with room for performance counters (UNSUPPORT where there are none). */
  CVI_RC (*code_load)(const char *chip, const uint8_t *stream, size_t size, bool counters,
                      rt_code **out);
  void (*code_free)(rt_code *code);
  /* Does every access stay inside regions of these sizes? */
  CVI_RC (*code_check)(const rt_code *code, const uint64_t size[8]);
  /* Print the counters of the last run; the dma buffer with their area. NULL: has none. */
  CVI_RC (*code_counters)(const rt_code *code, uint8_t **start, uint32_t *size);
  CVI_RC (*engine_create)(const char *chip, rt_engine **out);
  void (*engine_free)(rt_engine *engine);
  CVI_RC (*run)(rt_engine *engine, const rt_code *code, const rt_base bases[8]);
  /* Copy rows of row_bytes that are src_stride apart to dst, without gaps, on the device; what the
   * CPU wrote there before is lost. NULL: there is no foreign memory. */
  CVI_RC (*copy)(const char *chip, rt_base dst, rt_base src, uint64_t rows, uint64_t row_bytes,
                 uint64_t src_stride);
} rt_backend;

extern const rt_backend rt_sim_backend;   /* src/soc/sim_backend.c */
extern const rt_backend rt_board_backend; /* src/soc/board_backend.c */

/* The back-end of this process (src/soc/backend.c), never NULL. */
const rt_backend *rt_backend_get(void);

/* New zeroed block with one reference. */
CVI_RC rt_block_alloc(uint64_t size, const char *what, rt_block **out);
rt_block *rt_block_ref(rt_block *block);
void rt_block_unref(rt_block *block);

/* The block that contains a device address, referenced, and the offset inside it; NULL if none. */
rt_block *rt_block_find(uint64_t paddr, uint64_t *offset);

/* The block that has `size` bytes at a device address; with a back-end that copies also memory of
 * other owners, as a block of its own. NULL: neither (no text). */
rt_block *rt_block_at(uint64_t paddr, uint64_t size, uint64_t *offset);

/* rt_backend.copy for blocks of which one is foreign, memmove with cache maintenance for others. */
CVI_RC rt_block_copy(const char *chip, rt_base dst, rt_base src, uint64_t rows, uint64_t row_bytes,
                     uint64_t src_stride);

#endif
