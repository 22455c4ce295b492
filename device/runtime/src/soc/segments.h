/* Command streams in pieces that the engines run one after another, with ids of their own
 * (hw/cv18xx.md section 6: the counters restart behind id 0xFFFF), decoded and checked. */
#ifndef TPUFORGE_SOC_SEGMENTS_H
#define TPUFORGE_SOC_SEGMENTS_H

#include "model/device.h"
#include "sim/sim.h"

typedef struct {
  uint32_t count;
  tpu_program *program[]; /* NULL: not decoded yet */
} rt_segments;

/* DATA_ERR, UNSUPPORT: commands that no compiler writes; the text names the command. */
CVI_RC rt_segments_load(const char *chip, const uint8_t *stream, size_t size, rt_segments **out);
void rt_segments_free(rt_segments *segments);

/* Do all accesses stay inside regions of these sizes? */
CVI_RC rt_segments_check(const rt_segments *segments, const uint64_t size[8]);

/* First byte behind everything that is read (write false) or written in region k. */
uint64_t rt_segments_extent(const rt_segments *segments, uint32_t k, bool write);

/* Result of a function of the simulator as one of ours, with its text. */
CVI_RC rt_segments_error(int code, const char *text);

#endif
