/* CVI_RT contexts and command buffers (api/cvi_nn.md section 7). */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "memory.h"
#include "sim/chip.h"
#include "soc/device.h"
#include "stream.h"

enum { CHIPS = 4 };

typedef struct {
  pthread_mutex_t lock; /* one job at a time */
  rt_engine *engines[CHIPS];
  uint64_t base_reg[8]; /* SetBaseReg: used where the caller gives 0 */
} context;

static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static CVI_RT_HANDLE own_handle;

static CVI_RC context_create(CVI_RT_HANDLE *handle) {
  context *c = rt_zalloc(1, sizeof(*c), "context");
  if (!c) {
    return CVI_RC_NOMEM;
  }
  pthread_mutex_init(&c->lock, NULL);
  *handle = rt_handle_new(RT_H_CONTEXT, c);
  if (!*handle) {
    pthread_mutex_destroy(&c->lock);
    rt_free(c);
    return CVI_RC_NOMEM;
  }
  return CVI_RC_SUCCESS;
}

CVI_RT_HANDLE rt_own_context(void) {
  pthread_mutex_lock(&own_lock);
  if (!own_handle && context_create(&own_handle)) {
    own_handle = NULL;
  }
  CVI_RT_HANDLE handle = own_handle;
  pthread_mutex_unlock(&own_lock);
  return handle;
}

CVI_RC CVI_RT_Init(CVI_RT_HANDLE *rt_handle) {
  if (!rt_handle) {
    return rt_fail(CVI_RC_INVALID_ARG, "CVI_RT_Init: NULL");
  }
  *rt_handle = NULL;
  return context_create(rt_handle);
}

CVI_RC CVI_RT_DeInit(CVI_RT_HANDLE rt_handle) {
  pthread_mutex_lock(&own_lock);
  bool own = own_handle && rt_handle == own_handle;
  pthread_mutex_unlock(&own_lock);
  if (own) {
    return rt_fail(CVI_RC_INVALID_ARG, "CVI_RT_DeInit: this context belongs to the runtime");
  }
  context *c = rt_handle_close(RT_H_CONTEXT, rt_handle);
  if (!c) {
    return CVI_RC_INVALID_ARG;
  }
  for (int i = 0; i < CHIPS; i++) {
    if (c->engines[i]) {
      rt_backend_get()->engine_free(c->engines[i]);
    }
  }
  pthread_mutex_destroy(&c->lock);
  rt_free(c);
  return CVI_RC_SUCCESS;
}

/* A memory handle that owns loaded code. */
static CVI_RC wrap_code(rt_code *code, const char *chip, uint64_t size, uint64_t base0,
                        uint64_t base1, CVI_RT_MEM *out) {
  rt_mem *mem = rt_zalloc(1, sizeof(*mem), "command buffer");
  if (mem) {
    mem->size = size;
    mem->code = code;
    mem->base0 = base0;
    mem->base1 = base1;
    memcpy(mem->chip, chip, 7);
    *out = rt_handle_new(RT_H_MEM, mem);
  }
  if (!mem || !*out) {
    rt_backend_get()->code_free(code);
    rt_free(mem);
    return CVI_RC_NOMEM;
  }
  return CVI_RC_SUCCESS;
}

static CVI_RC load_stream(const char *chip, const uint8_t *stream, size_t size, uint64_t base0,
                          uint64_t base1, bool counters, CVI_RT_MEM *out) {
  rt_code *code = NULL;
  CVI_RC rc = rt_backend_get()->code_load(chip, stream, size, counters, &code);
  return rc ? rc : wrap_code(code, chip, size, base0, base1, out);
}

CVI_RC CVI_RT_LoadCmdbuf(CVI_RT_HANDLE rt_handle, uint8_t *cmdbuf, uint64_t sz,
                         uint64_t gaddr_base0, uint64_t gaddr_base1, bool enable_pmu,
                         CVI_RT_MEM *cmdbuf_mem) {
  (void)rt_handle;
  if (!cmdbuf_mem || (!cmdbuf && sz) || sz > INT32_MAX) {
    return rt_fail(CVI_RC_INVALID_ARG, "LoadCmdbuf: NULL or %llu bytes", (unsigned long long)sz);
  }
  *cmdbuf_mem = NULL;
  const chip_info *chip = sz ? chip_of_magic(cmdbuf[0]) : chip_find("cv183x");
  if (!chip) {
    return rt_fail(CVI_RC_DATA_ERR, "LoadCmdbuf: first byte 0x%02x is no packet magic", cmdbuf[0]);
  }
  return load_stream(chip->name, cmdbuf, (size_t)sz, gaddr_base0, gaddr_base1, enable_pmu,
                     cmdbuf_mem);
}

/* The chip a dma buffer is for: its header only tells cv183x from the others; which of those is the
 * board's, or in the environment variable SET_CHIP_NAME, as for the vendor's library. */
static const char *dmabuf_chip(const uint8_t *bytes, size_t size) {
  if (size >= 4 && bytes[2] == 0x35 && bytes[3] == 0x18) {
    return "cv183x";
  }
  const char *chip = soc_default_chip();
  return strcmp(chip, "cv183x") == 0 ? "cv181x" : chip;
}

static CVI_RC load_dmabuf_bytes(const uint8_t *bytes, size_t size, uint64_t base0, uint64_t base1,
                                bool counters, CVI_RT_MEM *out) {
  const char *chip = dmabuf_chip(bytes, size);
  uint8_t *stream = NULL;
  size_t stream_size = 0;
  CVI_RC rc = dmabuf_to_stream(chip, bytes, size, &stream, &stream_size);
  rc = rc ? rc : load_stream(chip, stream, stream_size, base0, base1, counters, out);
  rt_free(stream);
  return rc;
}

CVI_RC CVI_RT_LoadDmabuf(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dmabuf, uint64_t sz,
                         uint64_t gaddr_base0, uint64_t gaddr_base1, bool enable_pmu,
                         CVI_RT_MEM *dmabuf_mem) {
  (void)rt_handle;
  if (!dmabuf_mem) {
    return rt_fail(CVI_RC_INVALID_ARG, "LoadDmabuf: NULL");
  }
  rt_mem *mem = rt_handle_pin(RT_H_MEM, dmabuf);
  if (!mem) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RT_MEM loaded = NULL;
  CVI_RC rc;
  if (!mem->block || sz > mem->size) {
    rc = rt_fail(CVI_RC_INVALID_ARG, "LoadDmabuf: %llu bytes of a buffer of %llu",
                 (unsigned long long)sz, (unsigned long long)mem->size);
  } else {
    rc = load_dmabuf_bytes(mem->block->vaddr + mem->offset, (size_t)sz, gaddr_base0, gaddr_base1,
                           enable_pmu, &loaded);
  }
  rt_handle_unpin(dmabuf);
  if (!rc) {
    *dmabuf_mem = loaded;
  }
  return rc;
}

/* Engine of a chip, made on first use. Context locked. */
static CVI_RC get_engine(context *c, const char *chip, rt_engine **engine) {
  int index = chip_find(chip)->magic - 0xA5;
  if (!c->engines[index]) {
    CVI_RC rc = rt_backend_get()->engine_create(chip, &c->engines[index]);
    if (rc) {
      return rc;
    }
  }
  *engine = c->engines[index];
  return CVI_RC_SUCCESS;
}

static CVI_RC run_with_bases(context *c, const rt_mem *mem, const uint64_t addresses[8]) {
  rt_base bases[8] = {{0}};
  pthread_mutex_lock(&c->lock);
  for (int k = 0; k < 8; k++) {
    uint64_t address = addresses[k] ? addresses[k] : c->base_reg[k];
    bases[k].block = address ? rt_block_find(address, &bases[k].offset) : NULL;
    if (address && !bases[k].block && address <= UINT32_MAX) { /* its size is not known */
      bases[k].block = rt_block_at(address, (UINT64_C(1) << 32) - address, &bases[k].offset);
    }
    if (bases[k].block) {
      bases[k].size = bases[k].block->size - bases[k].offset;
    }
  }
  rt_engine *engine = NULL;
  CVI_RC rc = get_engine(c, mem->chip, &engine);
  rc = rc ? rc : rt_backend_get()->run(engine, mem->code, bases);
  pthread_mutex_unlock(&c->lock);
  for (int k = 0; k < 8; k++) {
    rt_block_unref(bases[k].block);
  }
  return rc;
}

static CVI_RC run(CVI_RT_HANDLE rt_handle, CVI_RT_MEM handle, uint64_t addresses[8],
                  bool own_first_two) {
  context *c = rt_handle_pin(RT_H_CONTEXT, rt_handle);
  rt_mem *mem = c ? rt_handle_pin(RT_H_MEM, handle) : NULL;
  CVI_RC rc = CVI_RC_INVALID_ARG;
  if (mem && !mem->code) {
    rt_fail(rc, "RunCmdbuf: not a command buffer");
  } else if (mem) {
    addresses[0] = own_first_two ? mem->base0 : addresses[0];
    addresses[1] = own_first_two ? mem->base1 : addresses[1];
    rc = run_with_bases(c, mem, addresses);
  }
  if (mem) {
    rt_handle_unpin(handle);
  }
  if (c) {
    rt_handle_unpin(rt_handle);
  }
  return rc;
}

CVI_RC CVI_RT_RunCmdbuf(CVI_RT_HANDLE rt_handle, CVI_RT_MEM cmdbuf_mem, uint64_t gaddr_base2,
                        uint64_t gaddr_base3) {
  uint64_t addresses[8] = {0, 0, gaddr_base2, gaddr_base3};
  return run(rt_handle, cmdbuf_mem, addresses, true);
}

CVI_RC CVI_RT_RunCmdbufEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM cmdbuf_mem, CVI_RT_ARRAYBASE *b) {
  if (!b) {
    return rt_fail(CVI_RC_INVALID_ARG, "RunCmdbufEx: NULL");
  }
  uint64_t addresses[8] = {b->gaddr_base0, b->gaddr_base1, b->gaddr_base2, b->gaddr_base3,
                           b->gaddr_base4, b->gaddr_base5, b->gaddr_base6, b->gaddr_base7};
  return run(rt_handle, cmdbuf_mem, addresses, false);
}

CVI_RC CVI_RT_ParsePmuBuf(CVI_RT_MEM cmdbuf_mem, uint8_t **buf_start, uint32_t *buf_len) {
  uint8_t *start = NULL;
  uint32_t size = 0;
  const rt_backend *backend = rt_backend_get();
  CVI_RC rc = CVI_RC_INVALID_ARG;
  rt_mem *mem = rt_handle_pin(RT_H_MEM, cmdbuf_mem);
  if (mem && !mem->code) {
    rt_fail(rc, "ParsePmuBuf: not a command buffer");
  } else if (mem) {
    rc = backend->code_counters
             ? backend->code_counters(mem->code, &start, &size)
             : rt_fail(CVI_RC_UNSUPPORT, "ParsePmuBuf: the %s has no counters", backend->name);
  }
  if (mem) {
    rt_handle_unpin(cmdbuf_mem);
  }
  if (buf_start) {
    *buf_start = start;
  }
  if (buf_len) {
    *buf_len = size;
  }
  return rc;
}

CVI_RC CVI_RT_SetBaseReg(CVI_RT_HANDLE rt_handle, uint32_t inx, uint64_t base_addr) {
  context *c = rt_handle_pin(RT_H_CONTEXT, rt_handle);
  if (!c) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RC rc = CVI_RC_SUCCESS;
  if (inx < 8) {
    pthread_mutex_lock(&c->lock);
    c->base_reg[inx] = base_addr;
    pthread_mutex_unlock(&c->lock);
  } else {
    rc = rt_fail(CVI_RC_INVALID_ARG, "SetBaseReg: register %u of 8", inx);
  }
  rt_handle_unpin(rt_handle);
  return rc;
}
