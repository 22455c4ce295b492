/* Performance counters of the TPU (hw/cv18xx-driver.md section 8): records behind a dma buffer. */
#ifndef TPUFORGE_SOC_PMU_H
#define TPUFORGE_SOC_PMU_H

#include "model/rt.h"

typedef struct {
  uint32_t offset, size; /* of the area inside the dma buffer; size 0: no counters */
  const char *chip;
  bool report; /* after every run */
} soc_counters;

/* Bytes of the area for so many commands. */
uint32_t pmu_area(uint32_t commands);

/* Does the environment (TPU_ENABLE_PMU) ask for counters? */
bool pmu_wanted(void);

/* Print the summary of the records of a finished job; write them to the files that
 * TPU_PMUBUF_OUTPUT_FILE names. */
void pmu_report(const uint8_t *dmabuf, const soc_counters *counters);

#endif
