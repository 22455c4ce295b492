/* Bounds-checked reader of FlatBuffers. */
#include "fb.h"

#include <stdio.h>
#include <string.h>

static uint16_t load16(const fb_buf *b, uint32_t pos) {
  return (uint16_t)(b->data[pos] | b->data[pos + 1] << 8);
}

static uint32_t load32(const fb_buf *b, uint32_t pos) {
  return load16(b, pos) | (uint32_t)load16(b, pos + 2) << 16;
}

static uint64_t load64(const fb_buf *b, uint32_t pos) {
  return load32(b, pos) | (uint64_t)load32(b, pos + 4) << 32;
}

static float bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

static bool inside(const fb_buf *b, uint64_t pos, uint64_t size) {
  return pos <= b->size && size <= b->size - pos;
}

void fb_init(fb_buf *buf, const uint8_t *data, uint32_t size) {
  *buf = (fb_buf){.data = data, .size = size, .budget = 8 * (uint64_t)size + 1024};
}

void fb_enter(fb_buf *buf, const char *name, int64_t index) {
  if (buf->depth < FB_MAX_DEPTH) {
    buf->place[buf->depth].name = name;
    buf->place[buf->depth].index = index;
  }
  buf->depth++;
}

void fb_leave(fb_buf *buf) { buf->depth--; }

void fb_fault(fb_buf *buf, CVI_RC rc, const char *format, ...) {
  if (buf->failed) {
    return;
  }
  char place[160] = "";
  size_t used = 0;
  for (int i = 0; i < buf->depth && i < FB_MAX_DEPTH && used < sizeof(place); i++) {
    char index[24] = "";
    if (buf->place[i].index >= 0) {
      snprintf(index, sizeof(index), "[%lld]", (long long)buf->place[i].index);
    }
    int n = snprintf(place + used, sizeof(place) - used, "%s%s%s", i ? "." : "", buf->place[i].name,
                     index);
    used += n > 0 ? (size_t)n : 0;
  }
  char what[256];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof(what), format, args);
  va_end(args);
  buf->failed = true;
  buf->rc = rt_fail(rc, "damaged cvimodel: %s: %s", place, what);
}

/* The table at `pos`, with its vtable checked. */
static fb_table open_table(fb_buf *b, uint64_t pos) {
  fb_table none = {.buf = b};
  if (b->failed) {
    return none;
  }
  if (pos == 0 || !inside(b, pos, 4)) {
    fb_fault(b, CVI_RC_DATA_ERR, "table at %llu, buffer has %u bytes", (unsigned long long)pos,
             b->size);
    return none;
  }
  fb_table t = {.buf = b, .pos = (uint32_t)pos};
  int64_t vtable = (int64_t)pos - (int32_t)load32(b, t.pos);
  if (vtable < 0 || !inside(b, (uint64_t)vtable, 4)) {
    fb_fault(b, CVI_RC_DATA_ERR, "vtable at %lld, buffer has %u bytes", (long long)vtable, b->size);
    return none;
  }
  t.vtable = (uint32_t)vtable;
  t.vtable_size = load16(b, t.vtable);
  t.table_size = load16(b, t.vtable + 2);
  if (t.vtable_size < 4 || t.vtable_size % 2 || !inside(b, t.vtable, t.vtable_size) ||
      t.table_size < 4 || !inside(b, t.pos, t.table_size)) {
    fb_fault(b, CVI_RC_DATA_ERR, "vtable of %u bytes, table of %u bytes at %u", t.vtable_size,
             t.table_size, t.pos);
    return none;
  }
  return t;
}

/* Position of the inline part of a field, 0 if absent. */
static uint32_t field(const fb_table *t, int id, const char *name, uint32_t size) {
  uint32_t entry = 4 + 2 * (uint32_t)id;
  if (t->pos == 0 || t->buf->failed || entry + 2 > t->vtable_size) {
    return 0;
  }
  uint32_t offset = load16(t->buf, t->vtable + entry);
  if (offset == 0) {
    return 0;
  }
  if (offset < 4 || offset + size > t->table_size) {
    fb_fault(t->buf, CVI_RC_DATA_ERR, "field '%s' at %u in a table of %u bytes", name, offset,
             t->table_size);
    return 0;
  }
  return t->pos + offset;
}

/* Follow the offset stored at `pos`; 0 after a fault. */
static uint32_t follow(fb_buf *b, uint32_t pos, const char *name, uint32_t need) {
  uint64_t target = (uint64_t)pos + load32(b, pos);
  if (target == pos || !inside(b, target, need)) {
    fb_fault(b, CVI_RC_DATA_ERR, "'%s' points to %llu, buffer has %u bytes", name,
             (unsigned long long)target, b->size);
    return 0;
  }
  return (uint32_t)target;
}

fb_table fb_root(fb_buf *buf) {
  fb_table none = {.buf = buf};
  if (buf->size < 8) {
    fb_fault(buf, CVI_RC_DATA_ERR, "%u bytes are too few for a FlatBuffer", buf->size);
    return none;
  }
  return open_table(buf, load32(buf, 0));
}

uint8_t fb_u8(const fb_table *t, int id, const char *name) {
  uint32_t pos = field(t, id, name, 1);
  return pos ? t->buf->data[pos] : 0;
}

bool fb_bool(const fb_table *t, int id, const char *name) { return fb_u8(t, id, name) != 0; }

uint32_t fb_u32(const fb_table *t, int id, const char *name) {
  uint32_t pos = field(t, id, name, 4);
  return pos ? load32(t->buf, pos) : 0;
}

int32_t fb_i32(const fb_table *t, int id, const char *name) { return (int32_t)fb_u32(t, id, name); }

int64_t fb_i64(const fb_table *t, int id, const char *name) {
  uint32_t pos = field(t, id, name, 8);
  return pos ? (int64_t)load64(t->buf, pos) : 0;
}

float fb_f32(const fb_table *t, int id, const char *name) {
  return bits_to_float(fb_u32(t, id, name));
}

const uint8_t *fb_struct(const fb_table *t, int id, const char *name, uint32_t size) {
  uint32_t pos = field(t, id, name, size);
  return pos ? t->buf->data + pos : NULL;
}

static bool spend(fb_buf *b, uint64_t bytes, const char *name) {
  if (bytes > b->budget) {
    fb_fault(b, CVI_RC_DATA_ERR, "'%s': more content than the buffer can hold", name);
    return false;
  }
  b->budget -= bytes;
  return true;
}

/* The string whose length word is at `pos`: inside, terminated, without inner zero bytes. */
static const char *string_at(fb_buf *b, uint32_t pos, const char *name) {
  uint32_t length = load32(b, pos);
  if (!inside(b, (uint64_t)pos + 4, (uint64_t)length + 1)) {
    fb_fault(b, CVI_RC_DATA_ERR, "string '%s' of %u bytes leaves the buffer", name, length);
    return NULL;
  }
  if (!spend(b, (uint64_t)length + 1, name)) {
    return NULL;
  }
  const char *text = (const char *)b->data + pos + 4;
  if (memchr(text, 0, (size_t)length + 1) != text + length) {
    fb_fault(b, CVI_RC_DATA_ERR, "string '%s' is not terminated or contains zero bytes", name);
    return NULL;
  }
  return text;
}

const char *fb_string(const fb_table *t, int id, const char *name, bool required) {
  uint32_t pos = field(t, id, name, 4);
  if (pos == 0) {
    if (required) {
      fb_fault(t->buf, CVI_RC_DATA_ERR, "'%s' is missing", name);
    }
    return NULL;
  }
  pos = follow(t->buf, pos, name, 4);
  return pos ? string_at(t->buf, pos, name) : NULL;
}

fb_table fb_sub(const fb_table *t, int id, const char *name) {
  uint32_t pos = field(t, id, name, 4);
  pos = pos ? follow(t->buf, pos, name, 4) : 0;
  return pos ? open_table(t->buf, pos) : (fb_table){.buf = t->buf};
}

fb_vector fb_vec(const fb_table *t, int id, const char *name, uint32_t elem_size, bool required) {
  fb_buf *b = t->buf;
  fb_vector none = {.buf = b};
  uint32_t pos = field(t, id, name, 4);
  if (pos == 0) {
    if (required) {
      fb_fault(b, CVI_RC_DATA_ERR, "'%s' is missing", name);
    }
    return none;
  }
  pos = follow(b, pos, name, 4);
  if (pos == 0) {
    return none;
  }
  uint32_t count = load32(b, pos);
  if (!inside(b, (uint64_t)pos + 4, (uint64_t)count * elem_size)) {
    fb_fault(b, CVI_RC_DATA_ERR, "vector '%s' of %u elements leaves the buffer", name, count);
    return none;
  }
  if (!spend(b, (uint64_t)count * elem_size, name)) {
    return none;
  }
  return (fb_vector){.buf = b, .pos = pos + 4, .count = count, .elem_size = elem_size};
}

fb_table fb_vec_table(const fb_vector *v, uint32_t i) {
  uint32_t pos = follow(v->buf, v->pos + 4 * i, "element", 4);
  return pos ? open_table(v->buf, pos) : (fb_table){.buf = v->buf};
}

const char *fb_vec_string(const fb_vector *v, uint32_t i) {
  uint32_t pos = follow(v->buf, v->pos + 4 * i, "element", 4);
  return pos ? string_at(v->buf, pos, "element") : NULL;
}

int64_t fb_vec_i64(const fb_vector *v, uint32_t i) {
  return (int64_t)load64(v->buf, v->pos + 8 * i);
}

int32_t fb_vec_i32(const fb_vector *v, uint32_t i) {
  return (int32_t)load32(v->buf, v->pos + 4 * i);
}

float fb_vec_f32(const fb_vector *v, uint32_t i) {
  return bits_to_float(load32(v->buf, v->pos + 4 * i));
}
