/* Back-end "board": commands are checked, converted to a dma buffer and run by the kernel's driver
 * (hw/cv18xx-driver.md sections 5 and 11). */
#include <string.h>

#include "copy.h"
#include "device.h"
#include "model/stream.h"
#include "segments.h"

typedef struct {
  rt_block *buffer;                   /* relocated dma buffer; NULL: no commands */
  uint64_t read_end[8], write_end[8]; /* what the commands touch of each region */
  soc_counters counters;
  char chip[8];
} board_code;

/* A model for another chip would be misread by the TPU. */
static CVI_RC check_chip(const char *chip) {
  const char *here = soc_chip();
  if (*here && strcmp(here, chip) != 0) {
    return rt_fail(CVI_RC_UNSUPPORT,
                   "commands for %s, this board has a %s (environment TPU_CHIP overrides)", chip,
                   here);
  }
  return CVI_RC_SUCCESS;
}

static CVI_RC fill_buffer(board_code *c, const uint8_t *dmabuf, size_t size) {
  c->counters.offset = (uint32_t)size;
  c->counters.size = c->counters.size ? pmu_area(dmabuf_commands(dmabuf)) : 0;
  CVI_RC rc = rt_block_alloc((uint64_t)size + c->counters.size, "dma buffer", &c->buffer);
  if (rc) {
    return rc;
  }
  memcpy(c->buffer->vaddr, dmabuf, size);
  dmabuf_relocate(c->buffer->vaddr, c->buffer->ddr + c->buffer->paddr, c->counters.size);
  return soc_flush(c->buffer, 0, size);
}

static void code_free(rt_code *code) {
  board_code *c = (board_code *)code;
  rt_block_unref(c->buffer);
  rt_free(c);
}

static CVI_RC convert(const char *chip, const uint8_t *stream, size_t size, board_code *c) {
  uint8_t *dmabuf = NULL;
  size_t dmabuf_size = 0;
  CVI_RC rc = stream_to_dmabuf(chip, stream, size, &dmabuf, &dmabuf_size);
  rc = rc ? rc : fill_buffer(c, dmabuf, dmabuf_size);
  rt_free(dmabuf);
  return rc;
}

static CVI_RC code_load(const char *chip, const uint8_t *stream, size_t size, bool counters,
                        rt_code **out) {
  rt_segments *segments = NULL;
  CVI_RC rc = check_chip(chip);
  rc = rc ? rc : rt_segments_load(chip, stream, size, &segments);
  if (rc) {
    return rc;
  }
  board_code *c = rt_zalloc(1, sizeof(*c), "commands");
  for (uint32_t k = 0; k < 8 && c; k++) {
    c->read_end[k] = rt_segments_extent(segments, k, false);
    c->write_end[k] = rt_segments_extent(segments, k, true);
  }
  rt_segments_free(segments);
  if (!c) {
    return CVI_RC_NOMEM;
  }
  memcpy(c->chip, chip, 7);
  c->counters.chip = c->chip;
  c->counters.report = pmu_wanted();
  c->counters.size = counters || c->counters.report; /* the real size follows */
  rc = size ? convert(chip, stream, size, c) : CVI_RC_SUCCESS;
  if (rc) {
    code_free((rt_code *)c);
    return rc;
  }
  *out = (rt_code *)c;
  return CVI_RC_SUCCESS;
}

static CVI_RC check_region(const board_code *c, int k, uint64_t size) {
  uint64_t end = c->read_end[k] > c->write_end[k] ? c->read_end[k] : c->write_end[k];
  if (end > size) {
    return rt_fail(CVI_RC_DATA_ERR, "commands: access up to byte %llu of region %d, which has %llu",
                   (unsigned long long)end, k, (unsigned long long)size);
  }
  return CVI_RC_SUCCESS;
}

static CVI_RC code_check(const rt_code *code, const uint64_t size[8]) {
  CVI_RC rc = CVI_RC_SUCCESS;
  for (int k = 0; k < 8 && !rc; k++) {
    rc = check_region((const board_code *)code, k, size[k]);
  }
  return rc;
}

static CVI_RC code_counters(const rt_code *code, uint8_t **start, uint32_t *size) {
  const board_code *c = (const board_code *)code;
  if (!c->buffer || !c->counters.size) {
    return rt_fail(CVI_RC_INVALID_ARG, "this command buffer was loaded without counters");
  }
  soc_report(c->buffer, &c->counters);
  *start = c->buffer->vaddr;
  *size = (uint32_t)c->buffer->size;
  return CVI_RC_SUCCESS;
}

/* The TPU keeps nothing between runs. */
static CVI_RC engine_create(const char *chip, rt_engine **out) {
  static char any;
  *out = (rt_engine *)&any;
  return check_chip(chip);
}

static void engine_free(rt_engine *engine) { (void)engine; }

static CVI_RC run(rt_engine *engine, const rt_code *code, const rt_base bases[8]) {
  (void)engine;
  const board_code *c = (const board_code *)code;
  uint32_t address[8] = {0};
  for (int k = 0; k < 8; k++) {
    const rt_block *block = bases[k].block;
    CVI_RC rc = check_region(c, k, block ? bases[k].size : 0);
    if (!rc && block && block->read_only && c->write_end[k]) {
      rc = rt_fail(CVI_RC_DATA_ERR, "commands: store into region %d, which is read-only", k);
    }
    if (rc) {
      return rc;
    }
    address[k] = block ? (uint32_t)(block->paddr + bases[k].offset) : 0;
  }
  return c->buffer ? soc_run(c->buffer, address, &c->counters) : CVI_RC_SUCCESS;
}

static CVI_RC copy(const char *chip, rt_base dst, rt_base src, uint64_t rows, uint64_t row_bytes,
                   uint64_t src_stride) {
  uint8_t *stream = NULL;
  size_t size = 0;
  rt_code *code = NULL;
  CVI_RC rc = copy_commands(chip, rows, row_bytes, src_stride, &stream, &size);
  rc = rc ? rc : code_load(chip, stream, size, false, &code);
  rt_free(stream);
  /* lines that are written back later must not hit what the TPU stores */
  rc = rc ? rc : soc_flush(dst.block, dst.offset, rows * row_bytes);
  if (!rc) {
    const rt_base bases[8] = {[2] = src, [3] = dst};
    rc = run(NULL, code, bases);
  }
  if (code) {
    code_free(code);
  }
  return rc;
}

const rt_backend rt_board_backend = {
    .name = "board",
    .device_addresses = true,
    .one_job = true,
    .mem_alloc = soc_alloc,
    .mem_free = soc_free,
    .flush = soc_flush,
    .invalidate = soc_invalidate,
    .code_load = code_load,
    .code_free = code_free,
    .code_check = code_check,
    .code_counters = code_counters,
    .engine_create = engine_create,
    .engine_free = engine_free,
    .run = run,
    .copy = copy,
};
