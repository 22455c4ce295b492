/* Arguments, checks and memory shared by the CPU functions. */
#include <stdio.h>
#include <string.h>

#include "cpu_op/cpu_op.h"
#include "model/fb.h"
#include "model/schema.h"

struct cpu_arena {
  cpu_arena *next;
};

/* Header in front of every piece, keeping the alignment of malloc. */
enum { ARENA_HEADER = 16 };

void *cpu_alloc(cpu_call *call, size_t count, size_t size) {
  if (size && count > (SIZE_MAX - ARENA_HEADER) / size) {
    rt_fail(CVI_RC_NOMEM, "%s: out of memory", call->function);
    return NULL;
  }
  cpu_arena *piece = rt_zalloc(1, ARENA_HEADER + count * size, call->function);
  if (!piece) {
    return NULL;
  }
  piece->next = call->arena;
  call->arena = piece;
  return (uint8_t *)piece + ARENA_HEADER;
}

void cpu_release(cpu_call *call) {
  while (call->arena) {
    cpu_arena *next = call->arena->next;
    rt_free(call->arena);
    call->arena = next;
  }
}

CVI_RC cpu_fail(const cpu_call *call, const char *format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  return rt_fail(CVI_RC_DATA_ERR, "CPU function '%.40s': %s", call->function, text);
}

/* Fields of the table Attribute, by type. */
typedef enum { ATTR_FLOAT, ATTR_BOOL, ATTR_INT, ATTR_STRING, ATTR_FLOATS, ATTR_INTS } attr_type;

/* The value table of an argument: *found has pos 0 if there is none of this type. *other tells
 * that the key exists with another type. */
static CVI_RC find_arg(cpu_call *call, fb_buf *buf, const char *key, attr_type type,
                       fb_table *found, bool *other) {
  fb_init(buf, call->args, call->args_size);
  fb_enter(buf, "function_args", -1);
  *found = (fb_table){.buf = buf};
  *other = false;
  if (!call->args) {
    return CVI_RC_SUCCESS;
  }
  fb_table root = fb_root(buf);
  fb_vector attributes = fb_vec(&root, 0, "attributes", 4, false);
  for (uint32_t i = 0; i < attributes.count && !buf->failed; i++) {
    fb_enter(buf, "attributes", i);
    fb_table attribute = fb_vec_table(&attributes, i);
    for (int kind = 0; kind < 6 && !buf->failed; kind++) {
      fb_table value = fb_sub(&attribute, kind, "attribute");
      const char *name = value.pos ? fb_string(&value, 0, "key", true) : NULL;
      if (name && strcmp(name, key) == 0) {
        if (kind == (int)type) {
          *found = value;
        } else {
          *other = true;
        }
      }
    }
    fb_leave(buf);
  }
  return buf->failed ? buf->rc : CVI_RC_SUCCESS;
}

static CVI_RC need_arg(cpu_call *call, fb_buf *buf, const char *key, attr_type type,
                       fb_table *found) {
  bool other;
  CVI_RC rc = find_arg(call, buf, key, type, found, &other);
  if (!rc && found->pos == 0) {
    static const char *const names[] = {"float", "bool", "int", "string", "float list", "int list"};
    return cpu_fail(call, other ? "argument '%s' is not a %s" : "argument '%s' (%s) is missing",
                    key, names[type]);
  }
  return rc;
}

CVI_RC cpu_arg_int(cpu_call *call, const char *key, int32_t *out) {
  fb_buf buf;
  fb_table t;
  CVI_RC rc = need_arg(call, &buf, key, ATTR_INT, &t);
  if (!rc) {
    *out = fb_i32(&t, 1, key);
  }
  return rc ? rc : buf.failed ? buf.rc : rc;
}

CVI_RC cpu_arg_float(cpu_call *call, const char *key, float *out) {
  fb_buf buf;
  fb_table t;
  CVI_RC rc = need_arg(call, &buf, key, ATTR_FLOAT, &t);
  if (!rc) {
    *out = fb_f32(&t, 1, key);
  }
  return rc ? rc : buf.failed ? buf.rc : rc;
}

CVI_RC cpu_arg_bool(cpu_call *call, const char *key, bool *out) {
  fb_buf buf;
  fb_table t;
  CVI_RC rc = need_arg(call, &buf, key, ATTR_BOOL, &t);
  if (!rc) {
    *out = fb_bool(&t, 1, key);
  }
  return rc ? rc : buf.failed ? buf.rc : rc;
}

CVI_RC cpu_arg_string(cpu_call *call, const char *key, const char **out) {
  fb_buf buf;
  fb_table t;
  CVI_RC rc = need_arg(call, &buf, key, ATTR_STRING, &t);
  if (!rc) {
    *out = fb_string(&t, 1, key, true);
  }
  return rc ? rc : buf.failed ? buf.rc : rc;
}

CVI_RC cpu_arg_ints(cpu_call *call, const char *key, const int32_t **out, uint32_t *count) {
  fb_buf buf;
  fb_table t;
  CVI_RC rc = need_arg(call, &buf, key, ATTR_INTS, &t);
  if (rc) {
    return rc;
  }
  fb_vector v = fb_vec(&t, 1, key, 4, true);
  if (buf.failed) {
    return buf.rc;
  }
  int32_t *list = cpu_alloc(call, v.count, sizeof(*list));
  if (!list) {
    return CVI_RC_NOMEM;
  }
  for (uint32_t i = 0; i < v.count; i++) {
    list[i] = fb_vec_i32(&v, i);
  }
  *out = list;
  *count = v.count;
  return CVI_RC_SUCCESS;
}

CVI_RC cpu_arg_floats(cpu_call *call, const char *key, const float **out, uint32_t *count) {
  fb_buf buf;
  fb_table t;
  CVI_RC rc = need_arg(call, &buf, key, ATTR_FLOATS, &t);
  if (rc) {
    return rc;
  }
  fb_vector v = fb_vec(&t, 1, key, 4, true);
  if (buf.failed) {
    return buf.rc;
  }
  float *list = cpu_alloc(call, v.count, sizeof(*list));
  if (!list) {
    return CVI_RC_NOMEM;
  }
  for (uint32_t i = 0; i < v.count; i++) {
    list[i] = fb_vec_f32(&v, i);
  }
  *out = list;
  *count = v.count;
  return CVI_RC_SUCCESS;
}

bool cpu_arg_exists(cpu_call *call, const char *key) {
  fb_buf buf;
  fb_table t;
  bool other = false;
  CVI_RC rc = find_arg(call, &buf, key, ATTR_INT, &t, &other);
  return !rc && (t.pos != 0 || other);
}

CVI_RC cpu_need(const cpu_call *call, uint32_t inputs, uint32_t outputs) {
  if (call->in_count < inputs || call->out_count < outputs) {
    return cpu_fail(call, "%u inputs and %u outputs, needs %u and %u", call->in_count,
                    call->out_count, inputs, outputs);
  }
  return CVI_RC_SUCCESS;
}

CVI_RC cpu_need_fmt(const cpu_call *call, const cpu_tensor *t, CVI_FMT fmt, const char *what) {
  if (t->fmt != fmt) {
    return cpu_fail(call, "%s has data type %d, needs %d", what, t->fmt, fmt);
  }
  return CVI_RC_SUCCESS;
}

CVI_RC cpu_need_count(const cpu_call *call, const cpu_tensor *t, uint64_t count, const char *what) {
  if (t->count < count) {
    return cpu_fail(call, "%s has %llu elements, needs %llu", what, (unsigned long long)t->count,
                    (unsigned long long)count);
  }
  return CVI_RC_SUCCESS;
}

CVI_RC cpu_axis(const cpu_call *call, int32_t axis, unsigned *out) {
  if (axis < -4 || axis >= 4) {
    return cpu_fail(call, "axis %d of 4 dimensions", axis);
  }
  *out = (unsigned)(axis < 0 ? axis + 4 : axis);
  return CVI_RC_SUCCESS;
}

cpu_split cpu_split_at(const cpu_tensor *t, unsigned axis) {
  cpu_split s = {1, (size_t)t->dim[axis], 1};
  for (unsigned i = 0; i < 4; i++) {
    if (i < axis) {
      s.outer *= (size_t)t->dim[i];
    } else if (i > axis) {
      s.inner *= (size_t)t->dim[i];
    }
  }
  return s;
}

uint32_t cpu_elem_size(CVI_FMT fmt) { return mf_elem_size(fmt); }
