/* Shared by the whole runtime: error text, log, host memory. */
#ifndef TPUFORGE_RT_H
#define TPUFORGE_RT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cviruntime.h"

enum {
  RT_LOG_FATAL = 0,
  RT_LOG_ERROR = 3,
  RT_LOG_WARNING = 4,
  RT_LOG_NOTICE = 5,
  RT_LOG_INFO = 6,
  RT_LOG_DEBUG = 7
};

/* Write one line to the log (stderr or the callback) if `level` is enabled. */
void rt_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line the caller asked for, whatever the level: to the callback (as a notice) or to stderr. */
void rt_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Set the last-error text of this thread, log it, return `rc`. */
CVI_RC rt_fail(CVI_RC rc, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last-error text (never NULL). rt_set_error stores one without logging (async tasks). */
const char *rt_error_text(void);
void rt_set_error(const char *text);

/* All host memory of the runtime goes through these. The contents are zero. `what` names the
 * object for the error text. NULL: the text is set, the caller returns CVI_RC_NOMEM. */
void *rt_zalloc(size_t count, size_t size, const char *what);
void *rt_grow(void *old, size_t old_count, size_t new_count, size_t size, const char *what);
char *rt_strdup(const char *text, const char *what);
void rt_free(void *p);

/* Zeroed memory aligned to 64 bytes, for tensors and device memory. Release with rt_free_aligned.
 */
void *rt_zalloc_aligned(size_t size, const char *what);
void rt_free_aligned(void *p);

static inline uint64_t rt_align(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

#endif
