/* CVI_RT memory functions (api/cvi_nn.md sections 6.3 and 7). */
#include "memory.h"

#include <pthread.h>
#include <string.h>

#include "handle.h"

static pthread_mutex_t callback_lock = PTHREAD_MUTEX_INITIALIZER;
static CVI_MEM_ALLOC_CB alloc_callback;
static CVI_MEM_FREE_CB free_callback;

CVI_RC CVI_RT_Global_SetMemAllocCallback(CVI_MEM_ALLOC_CB alloc_cb, CVI_MEM_FREE_CB free_cb) {
  if (!alloc_cb || !free_cb) {
    return rt_fail(CVI_RC_FAILURE, "SetMemAllocCallback: both callbacks are needed");
  }
  pthread_mutex_lock(&callback_lock);
  alloc_callback = alloc_cb;
  free_callback = free_cb;
  pthread_mutex_unlock(&callback_lock);
  return CVI_RC_SUCCESS;
}

void CVI_RT_Global_ResetMemAllocCallback(void) {
  pthread_mutex_lock(&callback_lock);
  alloc_callback = NULL;
  free_callback = NULL;
  pthread_mutex_unlock(&callback_lock);
}

/* A new handle for [offset, offset + size) of a block; takes over the reference. */
static CVI_RT_MEM new_mem(rt_block *block, uint64_t offset, uint64_t size, bool view) {
  rt_mem *mem = rt_zalloc(1, sizeof(*mem), "memory handle");
  CVI_RT_MEM handle = NULL;
  if (mem) {
    mem->block = block;
    mem->offset = offset;
    mem->size = size;
    mem->view = view;
    handle = rt_handle_new(RT_H_MEM, mem);
  }
  if (!handle) {
    rt_block_unref(block);
    rt_free(mem);
  }
  return handle;
}

CVI_RT_MEM CVI_RT_MemAlloc(CVI_RT_HANDLE rt_handle, uint64_t size) {
  (void)rt_handle; /* all contexts share one memory */
  rt_block *block;
  return rt_block_alloc(size, "CVI_RT_MemAlloc", &block) ? NULL : new_mem(block, 0, size, false);
}

CVI_RT_MEM CVI_RT_MemPreAlloc(CVI_RT_MEM handle, uint64_t offset, uint64_t size) {
  rt_mem *mem = rt_handle_pin(RT_H_MEM, handle);
  if (!mem) {
    return NULL;
  }
  CVI_RT_MEM view = NULL;
  if (!mem->block || offset > mem->size || size > mem->size - offset) {
    rt_fail(CVI_RC_INVALID_ARG, "MemPreAlloc: %llu bytes at %llu of a buffer of %llu",
            (unsigned long long)size, (unsigned long long)offset, (unsigned long long)mem->size);
  } else {
    view = new_mem(rt_block_ref(mem->block), mem->offset + offset, size, true);
  }
  rt_handle_unpin(handle);
  return view;
}

static void free_mem(rt_mem *mem) {
  if (mem->code) {
    rt_backend_get()->code_free(mem->code);
  }
  rt_block_unref(mem->block);
  rt_free(mem);
}

void CVI_RT_MemFree(CVI_RT_HANDLE rt_handle, CVI_RT_MEM handle) {
  (void)rt_handle;
  rt_mem *mem = handle ? rt_handle_close(RT_H_MEM, handle) : NULL;
  if (mem) {
    free_mem(mem);
  }
}

static bool begins_at(const void *obj, const void *wanted) {
  const rt_mem *mem = obj;
  return mem->block && !mem->view && mem->block->paddr == *(const uint64_t *)wanted;
}

void CVI_RT_MemFreeEx(uint64_t p_addr) {
  void *handle = rt_handle_find(RT_H_MEM, begins_at, &p_addr);
  if (handle) {
    CVI_RT_MemFree(NULL, handle);
  } else {
    rt_fail(CVI_RC_INVALID_ARG, "MemFreeEx: no memory was allocated at 0x%llx",
            (unsigned long long)p_addr);
  }
}

uint64_t CVI_RT_MemGetSize(CVI_RT_MEM handle) {
  rt_mem *mem = handle ? rt_handle_pin(RT_H_MEM, handle) : NULL;
  if (!mem) {
    return 0;
  }
  uint64_t size = mem->size;
  rt_handle_unpin(handle);
  return size;
}

uint64_t CVI_RT_MemGetPAddr(CVI_RT_MEM handle) {
  rt_mem *mem = handle ? rt_handle_pin(RT_H_MEM, handle) : NULL;
  if (!mem) {
    return 0;
  }
  uint64_t paddr = mem->block ? mem->block->paddr + mem->offset : 0;
  rt_handle_unpin(handle);
  return paddr;
}

uint8_t *CVI_RT_MemGetVAddr(CVI_RT_MEM handle) {
  rt_mem *mem = handle ? rt_handle_pin(RT_H_MEM, handle) : NULL;
  if (!mem) {
    return NULL;
  }
  uint8_t *vaddr = mem->block ? mem->block->vaddr + mem->offset : NULL;
  rt_handle_unpin(handle);
  return vaddr;
}

static int32_t change_user_refs(CVI_RT_MEM handle, int delta) {
  rt_mem *mem = handle ? rt_handle_pin(RT_H_MEM, handle) : NULL;
  if (!mem) {
    return 0;
  }
  int value = atomic_fetch_add(&mem->user_refs, delta) + delta;
  rt_handle_unpin(handle);
  return value;
}

int32_t CVI_RT_MemIncRef(CVI_RT_MEM mem) { return change_user_refs(mem, 1); }

int32_t CVI_RT_MemDecRef(CVI_RT_MEM mem) { return change_user_refs(mem, -1); }

typedef enum { TO_DEVICE, TO_HOST } direction;

/* Copy (if `host`) and synchronise the cache for [offset, offset + len); len UINT64_MAX: all. */
static CVI_RC transfer(CVI_RT_MEM handle, uint64_t offset, uint64_t len, uint8_t *host,
                       direction way) {
  rt_mem *mem = rt_handle_pin(RT_H_MEM, handle);
  if (!mem) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RC rc = CVI_RC_SUCCESS;
  if (len == UINT64_MAX) {
    len = mem->size;
  }
  if (!mem->block || offset > mem->size || len > mem->size - offset) {
    rc =
        rt_fail(CVI_RC_INVALID_ARG, "%llu bytes at %llu of a buffer of %llu",
                (unsigned long long)len, (unsigned long long)offset, (unsigned long long)mem->size);
  } else {
    const rt_backend *backend = rt_backend_get();
    uint64_t start = mem->offset + offset;
    uint8_t *device = mem->block->vaddr + start;
    if (way == TO_DEVICE) {
      if (host) {
        memcpy(device, host, (size_t)len);
      }
      rc = backend->flush(mem->block, start, len);
    } else {
      rc = backend->invalidate(mem->block, start, len);
      if (host && !rc) {
        memcpy(host, device, (size_t)len);
      }
    }
  }
  rt_handle_unpin(handle);
  return rc;
}

CVI_RC CVI_RT_MemFlush(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem) {
  (void)rt_handle;
  return transfer(mem, 0, UINT64_MAX, NULL, TO_DEVICE);
}

CVI_RC CVI_RT_MemInvld(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem) {
  (void)rt_handle;
  return transfer(mem, 0, UINT64_MAX, NULL, TO_HOST);
}

CVI_RC CVI_RT_MemFlushEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem, uint64_t len) {
  (void)rt_handle;
  return transfer(mem, 0, len, NULL, TO_DEVICE);
}

CVI_RC CVI_RT_MemInvldEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem, uint64_t len) {
  (void)rt_handle;
  return transfer(mem, 0, len, NULL, TO_HOST);
}

static CVI_RC copy(CVI_RT_MEM mem, uint64_t offset, uint64_t len, uint8_t *host, direction way) {
  if (!host) {
    return rt_fail(CVI_RC_INVALID_ARG, "memory copy: NULL host address");
  }
  return transfer(mem, offset, len, host, way);
}

CVI_RC CVI_RT_MemCopyS2D(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dst, uint8_t *src) {
  (void)rt_handle;
  return copy(dst, 0, UINT64_MAX, src, TO_DEVICE);
}

CVI_RC CVI_RT_MemCopyS2DEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dst, uint64_t offset, uint64_t len,
                           uint8_t *src) {
  (void)rt_handle;
  return copy(dst, offset, len, src, TO_DEVICE);
}

CVI_RC CVI_RT_MemCopyD2S(CVI_RT_HANDLE rt_handle, uint8_t *dst, CVI_RT_MEM src) {
  (void)rt_handle;
  return copy(src, 0, UINT64_MAX, dst, TO_HOST);
}

/* ---- memory of models ---- */

static CVI_RC region_from_callback(rt_region *region, uint64_t size, CVI_ALLOC_TYPE type,
                                   const char *name, CVI_MEM_ALLOC_CB alloc_cb) {
  CVI_RT_MEM handle = alloc_cb(rt_own_context(), size, type, name);
  rt_mem *mem = handle ? rt_handle_pin(RT_H_MEM, handle) : NULL;
  if (!mem) {
    return rt_fail(CVI_RC_NOMEM, "allocation callback: no memory of %llu bytes for '%.80s'",
                   (unsigned long long)size, name);
  }
  bool good = mem->block && mem->size >= size;
  if (good) {
    region->block = rt_block_ref(mem->block);
    region->offset = mem->offset;
    region->from_callback = handle;
  }
  rt_handle_unpin(handle);
  if (!good) {
    region->free_cb(rt_own_context(), handle);
    return rt_fail(CVI_RC_NOMEM, "allocation callback: less than %llu bytes for '%.80s'",
                   (unsigned long long)size, name);
  }
  return CVI_RC_SUCCESS;
}

CVI_RC rt_region_alloc(rt_region *region, uint64_t size, CVI_ALLOC_TYPE type, const char *name) {
  *region = (rt_region){.size = size};
  pthread_mutex_lock(&callback_lock);
  CVI_MEM_ALLOC_CB alloc_cb = alloc_callback;
  region->free_cb = free_callback;
  pthread_mutex_unlock(&callback_lock);
  if (alloc_cb) {
    return region_from_callback(region, size, type, name, alloc_cb);
  }
  return rt_block_alloc(size, name, &region->block);
}

void rt_region_free(rt_region *region) {
  if (region->from_callback) {
    region->free_cb(rt_own_context(), region->from_callback);
  }
  rt_block_unref(region->block);
  *region = (rt_region){0};
}
