/* Bounds-checked reader of FlatBuffers (formats/cvimodel.md section 4).
 *
 * Nothing in the buffer is trusted: every offset is checked when it is followed. The first error
 * sets the last-error text, with the place given by fb_enter, and `failed`; from then on every
 * reader answers "absent" and 0. Reading needs no alignment.
 */
#ifndef TPUFORGE_FB_H
#define TPUFORGE_FB_H

#include "rt.h"

enum { FB_MAX_DEPTH = 6 };

typedef struct {
  const uint8_t *data;
  uint32_t size;
  uint64_t budget; /* bytes of vectors and strings that may still be visited: bounded work even if
                      many offsets point to one place */
  bool failed;
  CVI_RC rc; /* why it failed */
  int depth;
  struct {
    const char *name;
    int64_t index; /* -1: not an element of a vector */
  } place[FB_MAX_DEPTH];
} fb_buf;

typedef struct {
  fb_buf *buf;
  uint32_t pos; /* 0: absent */
  uint32_t vtable;
  uint32_t vtable_size;
  uint32_t table_size;
} fb_table;

typedef struct {
  fb_buf *buf;
  uint32_t pos; /* of element 0 */
  uint32_t count;
  uint32_t elem_size;
} fb_vector;

void fb_init(fb_buf *buf, const uint8_t *data, uint32_t size);
fb_table fb_root(fb_buf *buf);

/* Where we are, for messages. index -1: no element. */
void fb_enter(fb_buf *buf, const char *name, int64_t index);
void fb_leave(fb_buf *buf);

/* Report a fault at the current place; sets failed and rc. */
void fb_fault(fb_buf *buf, CVI_RC rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fields by id; `name` is for messages. Absent fields give 0 / false / NULL / an empty vector. */
uint8_t fb_u8(const fb_table *t, int id, const char *name);
bool fb_bool(const fb_table *t, int id, const char *name);
int32_t fb_i32(const fb_table *t, int id, const char *name);
uint32_t fb_u32(const fb_table *t, int id, const char *name);
int64_t fb_i64(const fb_table *t, int id, const char *name);
float fb_f32(const fb_table *t, int id, const char *name);
const char *fb_string(const fb_table *t, int id, const char *name, bool required);
fb_table fb_sub(const fb_table *t, int id, const char *name);
fb_vector fb_vec(const fb_table *t, int id, const char *name, uint32_t elem_size, bool required);
/* Bytes of an inline struct, NULL if absent. */
const uint8_t *fb_struct(const fb_table *t, int id, const char *name, uint32_t size);

/* Elements; i < count. */
fb_table fb_vec_table(const fb_vector *v, uint32_t i);
const char *fb_vec_string(const fb_vector *v, uint32_t i);
int64_t fb_vec_i64(const fb_vector *v, uint32_t i);
int32_t fb_vec_i32(const fb_vector *v, uint32_t i);
float fb_vec_f32(const fb_vector *v, uint32_t i);

#endif
