/* The TPU node: cache maintenance, jobs (hw/cv18xx-driver.md sections 2, 6, 10). */
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "os.h"

enum {
  ATTEMPTS = 3,          /* of a call, with the node opened again in between */
  JOB_LIMIT_MS = 600000, /* the driver's own limit is 60 s per segment, jobs of others come first */
  CALL_LIMIT_MS = 60000, /* of interrupted attempts of a call */
};

/* Callers use the descriptor under the read lock, so that nobody closes it meanwhile. */
static pthread_rwlock_t node_lock = PTHREAD_RWLOCK_INITIALIZER;
static int node_fd = -1;
static unsigned node_generation;

static pthread_mutex_t job_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t next_seq;
static atomic_bool job_lost; /* a job may still be running */

static const char *node_path(void) {
  const char *named = getenv("TPU_DEV");
  return named && *named ? named : TPU_NODE;
}

bool soc_present(void) {
  int fd = rt_os.open(node_path(), O_RDWR);
  if (fd >= 0) {
    rt_os.close(fd);
  }
  return fd >= 0 || (errno != ENOENT && errno != ENOTDIR);
}

CVI_RC soc_open(const char *path, const char *what, int *fd) {
  do {
    *fd = rt_os.open(path, O_RDWR);
  } while (*fd < 0 && errno == EINTR);
  if (*fd >= 0) {
    return CVI_RC_SUCCESS;
  }
  int code = errno;
  bool absent = code == ENOENT || code == ENXIO || code == ENODEV;
  return rt_fail(CVI_RC_FAILURE, "%s %s: %s: %s", what, absent ? "not loaded" : "not usable", path,
                 strerror(code));
}

/* Open the node again if it is still the one of `generation`. `code`: what the call failed with. */
static CVI_RC reopen(unsigned generation, int code) {
  CVI_RC rc = CVI_RC_SUCCESS;
  pthread_rwlock_wrlock(&node_lock);
  if (node_fd < 0 || node_generation == generation) {
    bool ours = node_fd >= 0 && code != EBADF && code != ENOTTY; /* else others closed it */
    if (ours) {
      rt_os.close(node_fd);
    }
    node_fd = -1;
    rc = soc_open(node_path(), "TPU driver", &node_fd);
    node_generation++;
  }
  pthread_rwlock_unlock(&node_lock);
  return rc;
}

/* One ioctl; interrupted ones are repeated for `limit` ms. The errno, 0 on success. */
static int call(unsigned long request, void *argument, int64_t limit, unsigned *generation) {
  int64_t end = rt_os.milliseconds() + limit;
  int code = 0;
  do {
    pthread_rwlock_rdlock(&node_lock);
    *generation = node_generation;
    code = node_fd < 0 ? EBADF : 0;
    if (!code && rt_os.ioctl(node_fd, request, argument) < 0) {
      code = errno;
    }
    pthread_rwlock_unlock(&node_lock);
  } while ((code == EINTR || code == EAGAIN) && rt_os.milliseconds() < end);
  return code;
}

/* Up to three attempts: other libraries of the process may have broken the descriptor. */
static CVI_RC call_stubbornly(unsigned long request, void *argument, const char *what) {
  CVI_RC rc = CVI_RC_SUCCESS;
  int code = 0;
  for (int i = 0; i < ATTEMPTS && !rc; i++) {
    unsigned generation;
    code = call(request, argument, CALL_LIMIT_MS, &generation);
    if (!code) {
      return CVI_RC_SUCCESS;
    }
    rc = i + 1 < ATTEMPTS ? reopen(generation, code) : CVI_RC_SUCCESS;
  }
  return rc ? rc : rt_fail(CVI_RC_FAILURE, "TPU driver: %s: %s", what, strerror(code));
}

CVI_RC soc_node_ready(void) {
  pthread_rwlock_rdlock(&node_lock);
  bool open = node_fd >= 0;
  unsigned generation = node_generation;
  pthread_rwlock_unlock(&node_lock);
  return open ? CVI_RC_SUCCESS : reopen(generation, 0);
}

/* ---- caches ---- */

/* The lines that contain the range, not one more: the next ones may be somebody's. */
static CVI_RC cache(rt_block *block, uint64_t offset, uint64_t size, unsigned long request,
                    const char *what) {
  const uint64_t line = 64;
  if (size == 0 || block->foreign) {
    return CVI_RC_SUCCESS;
  }
  uint64_t first = block->ddr + block->paddr + offset, end = rt_align(first + size, line);
  first -= first % line;
  tpu_cache argument = {.paddr = first, .size = end - first, .fd = block->fd};
  return call_stubbornly(request, &argument, what);
}

CVI_RC soc_flush(rt_block *block, uint64_t offset, uint64_t size) {
  return cache(block, offset, size, TPU_FLUSH, "flush");
}

CVI_RC soc_invalidate(rt_block *block, uint64_t offset, uint64_t size) {
  return cache(block, offset, size, TPU_INVALIDATE, "invalidate");
}

/* ---- jobs ---- */

bool soc_job_lost(void) { return atomic_load(&job_lost); }

/* A descriptor that is not the node's can not have queued the job: then once more. */
static CVI_RC submit(int fd, uint32_t seq) {
  tpu_submit job = {fd, seq};
  unsigned generation;
  int code = call(TPU_SUBMIT, &job, CALL_LIMIT_MS, &generation);
  if (code) {
    CVI_RC rc = reopen(generation, code);
    if (rc) {
      return rc;
    }
    if (code == EBADF || code == ENOTTY) {
      code = call(TPU_SUBMIT, &job, CALL_LIMIT_MS, &generation);
    }
  }
  return code ? rt_fail(CVI_RC_FAILURE, "TPU driver: submit: %s", strerror(code)) : CVI_RC_SUCCESS;
}

static CVI_RC job_result(int ret) {
  if (ret == 0) {
    return CVI_RC_SUCCESS;
  }
  if (ret == -ETIMEDOUT) {
    return rt_fail(CVI_RC_TIMEOUT, "the TPU did not finish a segment within 60 s");
  }
  return rt_fail(CVI_RC_FAILURE, "the TPU driver ended the job with code %d (%s)", ret,
                 ret == -1 ? "dma buffer refused" : strerror(ret < 0 && ret > -4096 ? -ret : 0));
}

/* Jobs are found by the thread that submitted them, not by the descriptor. */
static CVI_RC wait_for(uint32_t seq) {
  int64_t end = rt_os.milliseconds() + JOB_LIMIT_MS;
  int code = 0;
  for (int i = 0; i < ATTEMPTS; i++) {
    tpu_wait job = {.seq = seq};
    unsigned generation;
    int64_t left = end - rt_os.milliseconds();
    code = call(TPU_WAIT, &job, left, &generation);
    if (!code) {
      return job_result(job.ret);
    }
    if (code == EINTR || code == EAGAIN || reopen(generation, code)) {
      break;
    }
  }
  atomic_store(&job_lost, true);
  if (code == EINTR || code == EAGAIN) {
    return rt_fail(CVI_RC_TIMEOUT, "the TPU driver did not end the job within %d s",
                   JOB_LIMIT_MS / 1000);
  }
  return rt_fail(CVI_RC_FAILURE, "TPU driver: wait: %s", strerror(code));
}

static CVI_RC clear_counters(rt_block *buffer, const soc_counters *counters) {
  memset(buffer->vaddr + counters->offset, 0, counters->size);
  return soc_flush(buffer, counters->offset, counters->size);
}

static CVI_RC read_counters(rt_block *buffer, const soc_counters *counters) {
  CVI_RC rc = soc_invalidate(buffer, counters->offset, counters->size);
  if (!rc && counters->size && counters->report) {
    pmu_report(buffer->vaddr, counters);
  }
  return rc;
}

void soc_report(const rt_block *buffer, const soc_counters *counters) {
  pthread_mutex_lock(&job_lock);
  pmu_report(buffer->vaddr, counters);
  pthread_mutex_unlock(&job_lock);
}

CVI_RC soc_run(rt_block *buffer, const uint32_t bases[8], const soc_counters *counters) {
  enum { BASES_AT = 32 };
  if (soc_job_lost()) {
    return rt_fail(CVI_RC_FAILURE, "an earlier job never ended: restart the program");
  }
  pthread_mutex_lock(&job_lock);
  for (int k = 0; k < 8; k++) { /* read by the kernel through the cache: needs no flush */
    uint32_t words[2] = {bases[k], 0};
    memcpy(buffer->vaddr + BASES_AT + 8 * k, words, sizeof(words));
  }
  uint32_t seq = next_seq;
  CVI_RC rc = clear_counters(buffer, counters);
  rc = rc ? rc : submit(buffer->fd, seq);
  if (!rc) {
    next_seq = (next_seq + 1) & 0xFFFF;
    rc = wait_for(seq);
    rc = rc ? rc : read_counters(buffer, counters);
  }
  pthread_mutex_unlock(&job_lock);
  return rc;
}
