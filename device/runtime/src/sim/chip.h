/* The chips: the one table of the C code, out of host/compiler/chip.py (CV_CHIPS). */
#ifndef TPUFORGE_CHIP_H
#define TPUFORGE_CHIP_H

#include <stdint.h>

#define LANE_BYTES 32768u /* local memory of a lane */

typedef struct {
  const char *name; /* a constant */
  uint32_t lanes;
  uint8_t magic; /* of the packets of its command streams */
  uint8_t gen_b; /* layout of the TIU word: 0 as cv183x, 1 as the others */
} chip_info;

/* The chip of that name, or whose packets have that magic; NULL: there is none. */
const chip_info *chip_find(const char *name);
const chip_info *chip_of_magic(uint8_t magic);

#endif
