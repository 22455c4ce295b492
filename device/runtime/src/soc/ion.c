/* Contiguous memory from ION (hw/cv18xx-driver.md sections 3, 4). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "node.h"
#include "os.h"

enum { PAGE = 4096 };

static pthread_mutex_t ion_lock = PTHREAD_MUTEX_INITIALIZER;
static int ion_fd = -1;
static uint32_t heap_mask;
static bool old_kernel;
static atomic_ullong bytes_held;

/* An ioctl repeated after signals; 0 or the errno. */
static int ion_call(unsigned long request, void *argument) {
  while (rt_os.ioctl(ion_fd, request, argument) < 0) {
    if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

static CVI_RC find_heap(void) {
  ion_heap heaps[ION_MOST_HEAPS];
  memset(heaps, 0, sizeof(heaps));
  ion_query query = {.count = ION_MOST_HEAPS, .heaps = (uintptr_t)heaps};
  int code = ion_call(ION_HEAPS, &query);
  if (code) {
    return rt_fail(CVI_RC_FAILURE, "%s: heap query: %s", ION_NODE, strerror(code));
  }
  for (uint32_t i = 0; i < query.count && i < ION_MOST_HEAPS; i++) {
    if (heaps[i].type == ION_CARVEOUT && heaps[i].id < 32) {
      heap_mask = UINT32_C(1) << heaps[i].id;
      return CVI_RC_SUCCESS;
    }
  }
  return rt_fail(CVI_RC_FAILURE, "%s: no carveout heap among %u", ION_NODE, query.count);
}

/* Lock held. */
static CVI_RC open_ion(void) {
  if (ion_fd >= 0) {
    return CVI_RC_SUCCESS;
  }
  CVI_RC rc = soc_open(ION_NODE, "ION driver", &ion_fd);
  rc = rc ? rc : find_heap();
  if (rc && ion_fd >= 0) {
    rt_os.close(ion_fd);
    ion_fd = -1;
  }
  return rc;
}

/* Lock held. An old kernel refuses the number of the new structure. */
static int allocate(ion_alloc *a) {
  if (!old_kernel) {
    int code = ion_call(ION_ALLOC, a);
    if (code != EINVAL && code != ENOTTY) {
      return code;
    }
  }
  int code = ion_call(ION_ALLOC_OLD, a);
  old_kernel = old_kernel || code == 0;
  return code;
}

static CVI_RC get_buffer(uint64_t size, ion_alloc *a) {
  *a = (ion_alloc){.len = size, .heap_mask = heap_mask, .flags = ION_CACHED, .name = "tpu"};
  pthread_mutex_lock(&ion_lock);
  CVI_RC rc = open_ion();
  a->heap_mask = heap_mask;
  int code = rc ? 0 : allocate(a);
  if (code == EBADF || code == ENOTTY) { /* closed by others of the process: never close it */
    ion_fd = -1;
    rc = open_ion();
    code = rc ? 0 : allocate(a);
  }
  pthread_mutex_unlock(&ion_lock);
  if (code) {
    rc = rt_fail(code == ENOMEM ? CVI_RC_NOMEM : CVI_RC_FAILURE,
                 "ION memory: %llu bytes: %s (this process holds %llu)", (unsigned long long)size,
                 strerror(code), (unsigned long long)atomic_load(&bytes_held));
  }
  return rc;
}

static uint64_t pages(const rt_block *block) {
  return rt_align(block->size ? block->size : 1, PAGE);
}

/* Nothing cached may be written over what the memory gets now: invalidate, clear, flush. */
static CVI_RC clear(rt_block *block) {
  CVI_RC rc = soc_invalidate(block, 0, pages(block));
  if (!rc) {
    memset(block->vaddr, 0, (size_t)pages(block));
    rc = soc_flush(block, 0, pages(block));
  }
  return rc;
}

CVI_RC soc_alloc(rt_block *block) {
  ion_alloc a;
  CVI_RC rc = soc_node_ready();
  rc = rc ? rc : get_buffer(pages(block), &a);
  if (rc) {
    return rc;
  }
  block->fd = (int)a.fd;
  block->ddr = a.paddr >= DDR_CV183X ? DDR_CV183X : 0;
  block->paddr = a.paddr - block->ddr;
  if (block->paddr > UINT32_MAX || pages(block) > DDR_CV183X - block->paddr) {
    rc = rt_fail(CVI_RC_FAILURE, "ION memory at 0x%llx: out of reach of the TPU",
                 (unsigned long long)a.paddr);
  }
  block->vaddr = rc ? NULL : rt_os.map(block->fd, (size_t)pages(block));
  if (!rc && !block->vaddr) {
    rc = rt_fail(CVI_RC_NOMEM, "ION memory: map %llu bytes: %s", (unsigned long long)pages(block),
                 strerror(errno));
  }
  atomic_fetch_add(&bytes_held, pages(block));
  rc = rc ? rc : clear(block);
  if (rc) {
    soc_free(block);
  }
  return rc;
}

void soc_free(rt_block *block) {
  if (block->vaddr) {
    rt_os.unmap(block->vaddr, (size_t)pages(block));
  }
  if (!soc_job_lost()) { /* else the TPU may still write there: never give it back */
    rt_os.close(block->fd);
  }
  atomic_fetch_sub(&bytes_held, pages(block));
}

/* ---- which chip ---- */

static pthread_once_t chip_once = PTHREAD_ONCE_INIT;
static char chip[8];

/* "Cvitek. CV181X ASIC. C906." -> "cv181x" */
static void read_chip(void) {
  char text[128] = "";
  const char *named = getenv("TPU_CHIP");
  if (named) {
    strncpy(text, named, sizeof(text) - 1);
  } else {
    int fd = rt_os.open(CHIP_NODE, O_RDONLY);
    if (fd >= 0) {
      ssize_t got = rt_os.read(fd, text, sizeof(text) - 1);
      text[got > 0 ? got : 0] = '\0';
      rt_os.close(fd);
    }
  }
  for (char *c = text; *c; c++) {
    *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
  }
  const char *at = strstr(text, "cv18");
  if (at && strlen(at) >= 6 && at[4] >= '0' && at[4] <= '3' && at[5] == 'x') {
    memcpy(chip, at, 6);
  }
}

const char *soc_chip(void) {
  pthread_once(&chip_once, read_chip);
  return chip;
}
