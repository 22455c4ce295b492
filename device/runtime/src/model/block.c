/* Blocks of device memory and the map of their addresses. */
#include <pthread.h>
#include <string.h>

#include "device.h"

enum { PAGE = 4096 };

/* Simulated addresses: above the command areas of every chip, below 4 GiB. */
static const uint64_t POOL_START = 0x2800000, POOL_END = UINT64_C(1) << 32;
static const uint64_t FOREIGN_START = 0x100000; /* below it: rather a mistake */

static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;
static rt_block **map; /* sorted by address */
static size_t map_count, map_capacity;

/* Number of blocks that start at or below `paddr`. Lock held. */
static size_t upper_bound(uint64_t paddr) {
  size_t low = 0, high = map_count;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (map[mid]->paddr <= paddr) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  return low;
}

/* Pages a block occupies: one unused page behind it separates neighbours. */
static uint64_t footprint(uint64_t size) { return rt_align(size ? size : 1, PAGE) + PAGE; }

/* First gap that is large enough; false if there is none. Lock held. */
static bool find_gap(uint64_t size, uint64_t *paddr) {
  uint64_t at = POOL_START, need = footprint(size);
  for (size_t i = 0; i < map_count; i++) {
    if (map[i]->paddr - at >= need) {
      break;
    }
    at = map[i]->paddr + footprint(map[i]->size);
  }
  *paddr = at;
  return need <= POOL_END - at;
}

/* Put the block into the map, giving it an address if the device did not. */
static CVI_RC insert(rt_block *block, bool needs_address) {
  CVI_RC rc = CVI_RC_SUCCESS;
  pthread_mutex_lock(&map_lock);
  if (map_count == map_capacity) {
    size_t capacity = map_capacity ? 2 * map_capacity : 64;
    rt_block **grown = rt_grow(map, map_count, capacity, sizeof(*map), "address map");
    if (grown) {
      map = grown;
      map_capacity = capacity;
    } else {
      rc = CVI_RC_NOMEM;
    }
  }
  if (!rc && needs_address && !find_gap(block->size, &block->paddr)) {
    rc = rt_fail(CVI_RC_NOMEM, "device memory: no room for %llu bytes below 4 GiB",
                 (unsigned long long)block->size);
  }
  if (!rc) {
    size_t at = upper_bound(block->paddr);
    memmove(map + at + 1, map + at, (map_count - at) * sizeof(*map));
    map[at] = block;
    map_count++;
  }
  pthread_mutex_unlock(&map_lock);
  return rc;
}

CVI_RC rt_block_alloc(uint64_t size, const char *what, rt_block **out) {
  const rt_backend *backend = rt_backend_get();
  *out = NULL;
  if (size > POOL_END) {
    return rt_fail(CVI_RC_NOMEM, "device memory: %llu bytes for %s", (unsigned long long)size,
                   what);
  }
  rt_block *block = rt_zalloc(1, sizeof(*block), what);
  if (!block) {
    return CVI_RC_NOMEM;
  }
  atomic_init(&block->refs, 1);
  block->size = size;
  block->fd = -1;
  CVI_RC rc = backend->mem_alloc(block);
  if (!rc) {
    rc = insert(block, !backend->device_addresses);
    if (rc) {
      backend->mem_free(block);
    }
  }
  if (rc) {
    rt_free(block);
    return rc;
  }
  *out = block;
  return CVI_RC_SUCCESS;
}

rt_block *rt_block_ref(rt_block *block) {
  atomic_fetch_add(&block->refs, 1);
  return block;
}

void rt_block_unref(rt_block *block) {
  if (!block) {
    return;
  }
  if (block->foreign) { /* not in the map */
    if (atomic_fetch_sub(&block->refs, 1) == 1) {
      rt_free(block);
    }
    return;
  }
  pthread_mutex_lock(&map_lock);
  bool last = atomic_fetch_sub(&block->refs, 1) == 1;
  if (last) {
    size_t at = upper_bound(block->paddr) - 1;
    map_count--;
    memmove(map + at, map + at + 1, (map_count - at) * sizeof(*map));
    if (map_count == 0) {
      rt_free(map);
      map = NULL;
      map_capacity = 0;
    }
  }
  pthread_mutex_unlock(&map_lock);
  if (last) {
    rt_backend_get()->mem_free(block);
    rt_free(block);
  }
}

rt_block *rt_block_find(uint64_t paddr, uint64_t *offset) {
  rt_block *block = NULL;
  pthread_mutex_lock(&map_lock);
  size_t count = upper_bound(paddr);
  if (count > 0) {
    rt_block *candidate = map[count - 1];
    uint64_t size = candidate->size ? candidate->size : 1;
    if (paddr - candidate->paddr < size) {
      block = rt_block_ref(candidate);
      *offset = paddr - candidate->paddr;
    }
  }
  pthread_mutex_unlock(&map_lock);
  return block;
}

/* Memory of the video hardware, for example; nobody can tell whether it exists. */
static rt_block *foreign_block(uint64_t paddr, uint64_t size) {
  if (!rt_backend_get()->copy || paddr < FOREIGN_START || paddr >= POOL_END ||
      size > POOL_END - paddr) {
    return NULL;
  }
  rt_block *block = rt_zalloc(1, sizeof(*block), "foreign memory");
  if (block) {
    atomic_init(&block->refs, 1);
    block->paddr = paddr;
    block->size = size;
    block->fd = -1;
    block->foreign = true;
  }
  return block;
}

rt_block *rt_block_at(uint64_t paddr, uint64_t size, uint64_t *offset) {
  *offset = 0;
  rt_block *block = rt_block_find(paddr, offset);
  if (!block) {
    return foreign_block(paddr, size);
  }
  if (size <= block->size - *offset) {
    return block;
  }
  rt_block_unref(block);
  return NULL;
}

CVI_RC rt_block_copy(const char *chip, rt_base dst, rt_base src, uint64_t rows, uint64_t row_bytes,
                     uint64_t src_stride) {
  const rt_backend *backend = rt_backend_get();
  if (rows == 0 || row_bytes == 0) {
    return CVI_RC_SUCCESS;
  }
  if (dst.block->foreign || src.block->foreign) {
    return backend->copy(chip, dst, src, rows, row_bytes, src_stride);
  }
  CVI_RC rc = backend->invalidate(src.block, src.offset, (rows - 1) * src_stride + row_bytes);
  for (uint64_t row = 0; row < rows && !rc; row++) {
    memmove(dst.block->vaddr + dst.offset + row * row_bytes,
            src.block->vaddr + src.offset + row * src_stride, (size_t)row_bytes);
  }
  return rc ? rc : backend->flush(dst.block, dst.offset, rows * row_bytes);
}
