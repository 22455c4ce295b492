/* Back-end "simulator": device memory is host memory, commands run in src/sim. */
#include "model/device.h"

#ifdef TPU_HAVE_SIMULATOR

#include <pthread.h>
#include <string.h>

#include "segments.h"

static CVI_RC mem_alloc(rt_block *block) {
  block->vaddr =
      block->size > SIZE_MAX ? NULL : rt_zalloc_aligned((size_t)block->size, "device memory");
  return block->vaddr ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
}

static void mem_free(rt_block *block) { rt_free_aligned(block->vaddr); }

static CVI_RC no_cache(rt_block *block, uint64_t offset, uint64_t size) {
  (void)block, (void)offset, (void)size;
  return CVI_RC_SUCCESS;
}

static CVI_RC code_load(const char *chip, const uint8_t *stream, size_t size, bool counters,
                        rt_code **out) {
  if (counters) {
    return rt_fail(CVI_RC_UNSUPPORT, "the simulator has no performance counters");
  }
  return rt_segments_load(chip, stream, size, (rt_segments **)out);
}

static void code_free(rt_code *code) { rt_segments_free((rt_segments *)code); }

static CVI_RC code_check(const rt_code *code, const uint64_t size[8]) {
  return rt_segments_check((const rt_segments *)code, size);
}

/* Simulated TPUs of one chip, shared by the program instances: there are as many as have run at the
 * same time. Like on the chip, nothing is left in local memory for the next run of an instance. */
typedef struct parked {
  struct parked *next;
  tpu_sim *sim;
} parked;

typedef struct {
  const char *chip;
  uint32_t engines; /* handles of instances */
  parked *idle;
} pool;

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static pool pools[] = {
    {.chip = "cv183x"}, {.chip = "cv182x"}, {.chip = "cv181x"}, {.chip = "cv180x"}};

/* An idle simulator, or a new one. */
static parked *take(pool *pool) {
  pthread_mutex_lock(&pool_lock);
  parked *p = pool->idle;
  if (p) {
    pool->idle = p->next;
  }
  pthread_mutex_unlock(&pool_lock);
  if (!p) {
    p = rt_zalloc(1, sizeof(*p), "simulator");
    if (p && tpu_sim_create(pool->chip, &p->sim) != TPU_SIM_OK) {
      rt_free(p);
      p = NULL;
    }
  }
  return p;
}

static void give_back(pool *pool, parked *p) {
  pthread_mutex_lock(&pool_lock);
  p->next = pool->idle;
  pool->idle = p;
  pthread_mutex_unlock(&pool_lock);
}

/* No more idle ones than handles: an instance runs on one at a time. */
static void engine_free(rt_engine *engine) {
  pool *of = (pool *)engine;
  parked *surplus;
  pthread_mutex_lock(&pool_lock);
  of->engines--;
  parked **end = &of->idle;
  for (uint32_t i = 0; i < of->engines && *end; i++) {
    end = &(*end)->next;
  }
  surplus = *end;
  *end = NULL;
  pthread_mutex_unlock(&pool_lock);
  while (surplus) {
    parked *next = surplus->next;
    tpu_sim_destroy(surplus->sim);
    rt_free(surplus);
    surplus = next;
  }
}

static CVI_RC engine_create(const char *chip, rt_engine **out) {
  pool *of = pools;
  while (of < pools + sizeof pools / sizeof *pools && strcmp(of->chip, chip) != 0) {
    of++;
  }
  if (of == pools + sizeof pools / sizeof *pools) {
    return rt_segments_error(TPU_SIM_UNSUPPORTED, "no simulator for this chip");
  }
  pthread_mutex_lock(&pool_lock);
  of->engines++;
  pthread_mutex_unlock(&pool_lock);
  parked *p = take(of); /* now, so that a run finds one unless several run at once */
  if (!p) {
    engine_free((rt_engine *)of);
    return rt_segments_error(TPU_SIM_NOMEM, "no memory for a simulator");
  }
  give_back(of, p);
  *out = (rt_engine *)of;
  return CVI_RC_SUCCESS;
}

static CVI_RC run(rt_engine *engine, const rt_code *code, const rt_base bases[8]) {
  tpu_region regions[8] = {{0}};
  for (int k = 0; k < 8; k++) {
    if (bases[k].block) {
      regions[k].data = bases[k].block->vaddr + bases[k].offset;
      regions[k].size = bases[k].size;
      regions[k].writable = !bases[k].block->read_only;
    }
  }
  const rt_segments *segments = (const rt_segments *)code;
  parked *p = take((pool *)engine);
  if (!p) {
    return rt_segments_error(TPU_SIM_NOMEM, "no memory for a simulator");
  }
  char text[256] = "";
  int result = TPU_SIM_OK;
  for (uint32_t i = 0; i < segments->count && result == TPU_SIM_OK; i++) {
    result = tpu_sim_run(p->sim, segments->program[i], regions, text, sizeof(text));
  }
  give_back((pool *)engine, p);
  return result == TPU_SIM_OK ? CVI_RC_SUCCESS : rt_segments_error(result, text);
}

const rt_backend rt_sim_backend = {
    .name = "simulator",
    .mem_alloc = mem_alloc,
    .mem_free = mem_free,
    .flush = no_cache,
    .invalidate = no_cache,
    .code_load = code_load,
    .code_free = code_free,
    .code_check = code_check,
    .engine_create = engine_create,
    .engine_free = engine_free,
    .run = run,
};

#endif
