/* The TPU node and ION memory of a board. */
#ifndef TPUFORGE_SOC_DEVICE_H
#define TPUFORGE_SOC_DEVICE_H

#include "model/device.h"
#include "pmu.h"

/* Is there a TPU node at all (even one that may not be opened)? */
bool soc_present(void);

/* "cv181x" and so on, from TPU_CHIP or the device tree; "" if neither says. */
const char *soc_chip(void);

/* The chip for what does not name one: soc_chip, SET_CHIP_NAME, or cv181x. */
const char *soc_default_chip(void);

/* Contiguous memory, zero and flushed: fills vaddr, paddr, ddr and fd. NOMEM: the heap is full. */
CVI_RC soc_alloc(rt_block *block);
void soc_free(rt_block *block);

/* Cache lines of [offset, offset + size) of a block. */
CVI_RC soc_flush(rt_block *block, uint64_t offset, uint64_t size);
CVI_RC soc_invalidate(rt_block *block, uint64_t offset, uint64_t size);

/* Run a flushed, relocated dma buffer with these base registers and wait for its end. One job of
 * the process at a time. The area of the counters, if any, is cleared before and invalidated after
 * it. TIMEOUT: the TPU did not finish. */
CVI_RC soc_run(rt_block *buffer, const uint32_t bases[8], const soc_counters *counters);

/* Report the counters of the last job of this buffer. */
void soc_report(const rt_block *buffer, const soc_counters *counters);

#endif
