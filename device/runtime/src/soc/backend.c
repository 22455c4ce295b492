/* Which back-end this process uses. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "pmu.h"
#include "sim/chip.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const rt_backend *chosen;

/* CVI_NN_BACKEND=board or simulator; otherwise the board's, if there is a TPU node. */
static void choose(void) {
#ifdef TPU_HAVE_SIMULATOR
  const char *named = getenv("CVI_NN_BACKEND");
  bool board = named && *named ? strcmp(named, "board") == 0 : soc_present();
  chosen = board ? &rt_board_backend : &rt_sim_backend;
#else
  chosen = &rt_board_backend;
#endif
  rt_log(RT_LOG_INFO, "back-end: %s", chosen->name);
  if (!chosen->code_counters && pmu_wanted()) {
    rt_log(RT_LOG_WARNING, "TPU_ENABLE_PMU: the %s has no performance counters", chosen->name);
  }
}

const char *soc_default_chip(void) {
  const char *here = soc_chip(), *named = getenv("SET_CHIP_NAME");
  if (*here) {
    return here;
  }
  return (chip_find(named) ? chip_find(named) : chip_find("cv181x"))->name;
}

const rt_backend *rt_backend_get(void) {
  pthread_once(&once, choose);
  return chosen;
}
