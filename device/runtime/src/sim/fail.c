/* Why a command stream is refused. */

#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

int sim_fail(const err_ctx *e, int code, const char *fmt, ...) {
  if (e && e->buf && e->len) {
    int at = 0;
    if (e->engine) {
      at = snprintf(e->buf, e->len, "command %u (%s): ", e->index, e->engine);
    }
    if (at >= 0 && (size_t)at < e->len) {
      va_list args;
      va_start(args, fmt);
      vsnprintf(e->buf + at, e->len - (size_t)at, fmt, args);
      va_end(args);
    }
  }
  return code;
}
