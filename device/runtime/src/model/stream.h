/* Command streams and dma buffers (formats/cvimodel.md section 11, hw/cv18xx-driver.md section 5).
 * Framing only: the meaning of the descriptors is checked by the simulator's decoder. */
#ifndef TPUFORGE_STREAM_H
#define TPUFORGE_STREAM_H

#include "rt.h"

enum {
  TIU_BYTES = 112,
  TDMA_BYTES = 64,
  DMABUF_HEADER = 128,
  DMABUF_CPU_DESC = 224,
  DMABUF_MAGIC = 0xB5B5
};

/* Convert a command stream to an (unrelocated) dma buffer. `out` is allocated, release with
 * rt_free. DATA_ERR: damaged framing. */
CVI_RC stream_to_dmabuf(const char *chip, const uint8_t *stream, size_t size, uint8_t **out,
                        size_t *out_size);

/* Bytes of the first segment of a stream: up to and with the command whose id is 0xFFFF, behind
 * which the ids restart. Everything if there is none, or if the framing is damaged. */
size_t stream_segment(const char *chip, const uint8_t *stream, size_t size);

/* Turn the offsets of a whole, unrelocated dma buffer into addresses: it lies at `physical`, and
 * `counters` bytes for performance counters (0: none) lie behind it. */
void dmabuf_relocate(uint8_t *dmabuf, uint64_t physical, uint32_t counters);

/* Commands of both engines in a dma buffer. */
uint32_t dmabuf_commands(const uint8_t *dmabuf);

/* Back from an unrelocated dma buffer to a command stream, ordered by the waits of both engines. */
CVI_RC dmabuf_to_stream(const char *chip, const uint8_t *dmabuf, size_t size, uint8_t **out,
                        size_t *out_size);

#endif
