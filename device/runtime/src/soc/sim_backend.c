/* Back-end "simulator": device memory is host memory, commands run in src/sim. */
#include "model/device.h"

#ifdef TPU_HAVE_SIMULATOR

#include "sim/sim.h"

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

/* Codes of the simulator: at load time everything wrong is wrong content of the file. */
static CVI_RC load_error(int code, const char *text) {
  static const CVI_RC codes[] = {
      [TPU_SIM_NOMEM] = CVI_RC_NOMEM,       [TPU_SIM_BAD_STREAM] = CVI_RC_DATA_ERR,
      [TPU_SIM_RANGE] = CVI_RC_DATA_ERR,    [TPU_SIM_UNSUPPORTED] = CVI_RC_UNSUPPORT,
      [TPU_SIM_DEADLOCK] = CVI_RC_DATA_ERR,
  };
  CVI_RC rc = code > 0 && code <= TPU_SIM_DEADLOCK ? codes[code] : CVI_RC_FAILURE;
  return rt_fail(rc, "commands: %s", *text ? text : "out of memory");
}

static CVI_RC code_load(const char *chip, const uint8_t *stream, size_t size, rt_code **out) {
  char text[256] = "";
  tpu_program *program = NULL;
  int code = tpu_program_create(chip, stream, size, &program, text, sizeof(text));
  *out = (rt_code *)program;
  return code == TPU_SIM_OK ? CVI_RC_SUCCESS : load_error(code, text);
}

static void code_free(rt_code *code) { tpu_program_destroy((tpu_program *)code); }

static CVI_RC code_check(const rt_code *code, const uint64_t size[8]) {
  char text[256] = "";
  int result = tpu_program_check((const tpu_program *)code, size, text, sizeof(text));
  return result == TPU_SIM_OK ? CVI_RC_SUCCESS : load_error(result, text);
}

static CVI_RC engine_create(const char *chip, rt_engine **out) {
  tpu_sim *sim = NULL;
  int code = tpu_sim_create(chip, &sim);
  *out = (rt_engine *)sim;
  return code == TPU_SIM_OK ? CVI_RC_SUCCESS : load_error(code, "no simulator for this chip");
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
  char text[256] = "";
  int result =
      tpu_sim_run((tpu_sim *)engine, (const tpu_program *)code, regions, text, sizeof(text));
  if (result == TPU_SIM_DEADLOCK) {
    return rt_fail(CVI_RC_TIMEOUT, "commands: %s", text);
  }
  return result == TPU_SIM_OK ? CVI_RC_SUCCESS : load_error(result, text);
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
