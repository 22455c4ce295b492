/* Log, last-error text and host memory. */
#include "rt.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_BYTES = 512 };

static _Thread_local char error_text[ERROR_BYTES];
static pthread_once_t log_once = PTHREAD_ONCE_INIT;
static atomic_int log_level = RT_LOG_WARNING;
static _Atomic(CVI_NN_LOG_CB) log_callback;

static void read_log_level(void) {
  const char *text = getenv("CVI_NN_LOG");
  if (text && text[0] >= '0' && text[0] <= '7' && text[1] == '\0') {
    atomic_store(&log_level, text[0] - '0');
  }
}

void CVI_NN_Global_SetLogLevel(int level) {
  pthread_once(&log_once, read_log_level);
  atomic_store(&log_level, level);
}

void CVI_NN_Global_SetLogCallback(CVI_NN_LOG_CB callback) { atomic_store(&log_callback, callback); }

const char *CVI_NN_GetLastError(void) { return error_text; }

const char *rt_error_text(void) { return error_text; }

void rt_set_error(const char *text) { snprintf(error_text, sizeof(error_text), "%s", text); }

static void emit_line(int level, const char *message) {
  pthread_once(&log_once, read_log_level);
  if (level > atomic_load(&log_level)) {
    return;
  }
  CVI_NN_LOG_CB callback = atomic_load(&log_callback);
  if (callback) {
    callback(level, message);
  } else {
    static const char *const names[] = {"fatal",   "fatal",  "fatal", "error",
                                        "warning", "notice", "info",  "debug"};
    fprintf(stderr, "cviruntime %s: %s\n", names[level & 7], message);
  }
}

void rt_print(const char *format, ...) {
  char line[ERROR_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof(line), format, args);
  va_end(args);
  CVI_NN_LOG_CB callback = atomic_load(&log_callback);
  if (callback) {
    callback(RT_LOG_NOTICE, line);
  } else {
    fprintf(stderr, "%s\n", line);
  }
}

void rt_log(int level, const char *format, ...) {
  char line[ERROR_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof(line), format, args);
  va_end(args);
  emit_line(level, line);
}

CVI_RC rt_fail(CVI_RC rc, const char *format, ...) {
  char line[ERROR_BYTES]; /* the arguments may point into error_text */
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof(line), format, args);
  va_end(args);
  memcpy(error_text, line, sizeof(error_text));
  emit_line(RT_LOG_ERROR, error_text);
  return rc;
}

void *rt_zalloc(size_t count, size_t size, const char *what) {
  void *p = calloc(count ? count : 1, size ? size : 1);
  if (!p) {
    rt_fail(CVI_RC_NOMEM, "out of memory: %zu x %zu bytes for %s", count, size, what);
  }
  return p;
}

void *rt_grow(void *old, size_t old_count, size_t new_count, size_t size, const char *what) {
  void *p = rt_zalloc(new_count, size, what);
  if (p && old) {
    memcpy(p, old, old_count * size);
    rt_free(old);
  }
  return p;
}

char *rt_strdup(const char *text, const char *what) {
  size_t n = strlen(text) + 1;
  char *copy = rt_zalloc(n, 1, what);
  if (copy) {
    memcpy(copy, text, n);
  }
  return copy;
}

void rt_free(void *p) { free(p); }

/* The pointer of the block lies just in front of the aligned address. */
void *rt_zalloc_aligned(size_t size, const char *what) {
  const size_t align = 64;
  if (size > SIZE_MAX - align - sizeof(void *)) {
    rt_fail(CVI_RC_NOMEM, "out of memory: %zu bytes for %s", size, what);
    return NULL;
  }
  uint8_t *raw = rt_zalloc(size + align + sizeof(void *), 1, what);
  if (!raw) {
    return NULL;
  }
  uintptr_t start = ((uintptr_t)raw + sizeof(void *) + align - 1) / align * align;
  memcpy((void *)(start - sizeof(void *)), &raw, sizeof(raw));
  return (void *)start;
}

void rt_free_aligned(void *p) {
  if (p) {
    void *raw;
    memcpy(&raw, (uint8_t *)p - sizeof(void *), sizeof(raw));
    rt_free(raw);
  }
}
