/* Back-end "simulator": device memory is host memory, commands run in src/sim. */
#include "model/device.h"

#ifdef TPU_HAVE_SIMULATOR

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

static CVI_RC code_load(const char *chip, const uint8_t *stream, size_t size, rt_code **out) {
  return rt_segments_load(chip, stream, size, (rt_segments **)out);
}

static void code_free(rt_code *code) { rt_segments_free((rt_segments *)code); }

static CVI_RC code_check(const rt_code *code, const uint64_t size[8]) {
  return rt_segments_check((const rt_segments *)code, size);
}

static CVI_RC engine_create(const char *chip, rt_engine **out) {
  tpu_sim *sim = NULL;
  int code = tpu_sim_create(chip, &sim);
  *out = (rt_engine *)sim;
  return code == TPU_SIM_OK ? CVI_RC_SUCCESS
                            : rt_segments_error(code, "no simulator for this chip");
}

static void engine_free(rt_engine *engine) { tpu_sim_destroy((tpu_sim *)engine); }

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
  char text[256] = "";
  int result = TPU_SIM_OK;
  for (uint32_t i = 0; i < segments->count && result == TPU_SIM_OK; i++) {
    result = tpu_sim_run((tpu_sim *)engine, segments->program[i], regions, text, sizeof(text));
  }
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
