/* The shared region of a process (formats/cvimodel.md section 6.3, api/cvi_nn.md section 6.2):
 * scratch memory of one TPU routine. Where the jobs of the process follow each other, all handles
 * use the first region that is large enough; elsewhere every handle has its own. */
#include "model.h"

enum { BOUND_UNIT = 4096 };

typedef struct shared_region {
  rt_region region;
  uint32_t users;
  struct shared_region *next;
} shared_region;

static atomic_size_t lower_bound;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static shared_region *list; /* oldest first */

void CVI_NN_Global_SetSharedMemorySize(size_t size) {
  size_t wanted = (size_t)rt_align(size, BOUND_UNIT), old = atomic_load(&lower_bound);
  while (wanted > old && !atomic_compare_exchange_weak(&lower_bound, &old, wanted)) {
  }
}

static uint64_t bounded(uint64_t need) {
  uint64_t bound = atomic_load(&lower_bound);
  return need > bound ? need : bound;
}

/* Must the contents outlive a routine? Then nobody else may write there (files that keep the rule
 * of section 6.3 have no such tensor; with all tensors as outputs the caller wants to see them). */
static bool needs_own(const rt_instance *inst) {
  const mf_program *p = inst->program;
  bool own = inst->output_all || !rt_backend_get()->one_job;
  for (uint32_t i = 0; i < p->in_count + p->out_count && !own; i++) {
    int64_t code = p->tensors[i < p->in_count ? p->in[i] : p->out[i - p->in_count]].offset;
    own = code >= 0 && mf_base(code) == MF_BASE_SHARED;
  }
  for (uint32_t r = 0; r < p->routine_count && !own; r++) {
    const mf_routine *routine = &p->routines[r];
    for (uint32_t i = 0; i < routine->in_count + routine->out_count && !own; i++) {
      mf_ref ref = routine->in[i]; /* outputs follow the inputs */
      int64_t code = ref < 0 ? -1 : p->tensors[ref].offset;
      own = code >= 0 && mf_base(code) == MF_BASE_SHARED;
    }
  }
  return own;
}

/* List locked. */
static CVI_RC new_shared(uint64_t size, shared_region **out) {
  shared_region *made = rt_zalloc(1, sizeof(*made), "shared region");
  CVI_RC rc = made ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
  rc = rc ? rc : rt_region_alloc(&made->region, size, CVI_ALLOC_SHARED, "SharedMemory");
  if (rc) {
    rt_free(made);
    return rc;
  }
  shared_region **end = &list;
  while (*end) {
    end = &(*end)->next;
  }
  *end = made;
  *out = made;
  return CVI_RC_SUCCESS;
}

CVI_RC rt_shared_get(rt_instance *inst, uint64_t need, rt_region *out) {
  uint64_t size = bounded(need);
  if (needs_own(inst)) {
    return rt_region_alloc(out, size, CVI_ALLOC_SHARED, "SharedMemory");
  }
  pthread_mutex_lock(&list_lock);
  shared_region *found = list;
  while (found && found->region.size < size) {
    found = found->next;
  }
  CVI_RC rc = found ? CVI_RC_SUCCESS : new_shared(size, &found);
  if (!rc) {
    found->users++;
    *out = found->region;
    out->common = true;
  }
  pthread_mutex_unlock(&list_lock);
  return rc;
}

void rt_shared_put(rt_region *region) {
  if (!region->common) {
    rt_region_free(region);
    return;
  }
  pthread_mutex_lock(&list_lock);
  for (shared_region **at = &list; *at; at = &(*at)->next) {
    shared_region *here = *at;
    if (here->region.block == region->block && here->region.offset == region->offset) {
      if (--here->users == 0) {
        *at = here->next;
        rt_region_free(&here->region);
        rt_free(here);
      }
      break;
    }
  }
  pthread_mutex_unlock(&list_lock);
  *region = (rt_region){0};
}
