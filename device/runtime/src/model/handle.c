/* Handle table: slot number + generation, one lock, one condition for closing. */
#include "handle.h"

#include <pthread.h>

typedef struct {
  void *obj; /* NULL: free slot */
  rt_handle_type type;
  uint32_t generation;
  uint32_t pins;
  bool closing;
} slot;

enum { SLOT_BITS = 16, MAX_SLOTS = (1 << SLOT_BITS) - 1 };

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unpinned = PTHREAD_COND_INITIALIZER;
static slot *slots;
static uint32_t slot_count;
static uint32_t next_slot; /* where to look first: freed slots are reused late */
static uint32_t live_count;

static void *make_handle(uint32_t index, uint32_t generation) {
  return (void *)(((uintptr_t)generation << SLOT_BITS) | (index + 1));
}

/* The live slot of a handle, or NULL. Lock held. */
static slot *find(rt_handle_type type, void *handle) {
  uintptr_t value = (uintptr_t)handle;
  uintptr_t index = (value & MAX_SLOTS) - 1;
  if ((value & MAX_SLOTS) == 0 || index >= slot_count) {
    return NULL;
  }
  slot *s = &slots[index];
  bool known = s->obj && s->type == type && !s->closing &&
               make_handle((uint32_t)index, s->generation) == handle;
  return known ? s : NULL;
}

static const char *type_name(rt_handle_type type) {
  static const char *const names[] = {"?", "model", "context", "memory", "task", "kernel"};
  return names[type];
}

static bool grow_table(void) {
  uint32_t count = slot_count ? slot_count * 2 : 64;
  if (count > MAX_SLOTS) {
    count = MAX_SLOTS;
  }
  if (count == slot_count) {
    rt_fail(CVI_RC_NOMEM, "more than %d handles", MAX_SLOTS);
    return false;
  }
  slot *grown = rt_grow(slots, slot_count, count, sizeof(slot), "handle table");
  if (!grown) {
    return false;
  }
  slots = grown;
  next_slot = slot_count;
  slot_count = count;
  return true;
}

void *rt_handle_new(rt_handle_type type, void *obj) {
  void *handle = NULL;
  pthread_mutex_lock(&table_lock);
  if (live_count < slot_count || grow_table()) {
    while (slots[next_slot].obj) {
      next_slot = (next_slot + 1) % slot_count;
    }
    slot *s = &slots[next_slot];
    *s = (slot){.obj = obj, .type = type, .generation = s->generation + 1};
    handle = make_handle(next_slot, s->generation);
    next_slot = (next_slot + 1) % slot_count;
    live_count++;
  }
  pthread_mutex_unlock(&table_lock);
  return handle;
}

void *rt_handle_pin(rt_handle_type type, void *handle) {
  void *obj = NULL;
  pthread_mutex_lock(&table_lock);
  slot *s = find(type, handle);
  if (s) {
    s->pins++;
    obj = s->obj;
  }
  pthread_mutex_unlock(&table_lock);
  if (!obj) {
    rt_fail(CVI_RC_INVALID_ARG, "%p is not a %s handle (or it was released)", handle,
            type_name(type));
  }
  return obj;
}

void *rt_handle_find(rt_handle_type type, bool (*matches)(const void *obj, const void *wanted),
                     const void *wanted) {
  void *handle = NULL;
  pthread_mutex_lock(&table_lock);
  for (uint32_t i = 0; i < slot_count && !handle; i++) {
    const slot *s = &slots[i];
    if (s->obj && s->type == type && !s->closing && matches(s->obj, wanted)) {
      handle = make_handle(i, s->generation);
    }
  }
  pthread_mutex_unlock(&table_lock);
  return handle;
}

void rt_handle_unpin(void *handle) {
  uint32_t index = (uint32_t)(((uintptr_t)handle & MAX_SLOTS) - 1);
  pthread_mutex_lock(&table_lock);
  if (--slots[index].pins == 0 && slots[index].closing) {
    pthread_cond_broadcast(&unpinned);
  }
  pthread_mutex_unlock(&table_lock);
}

void *rt_handle_close(rt_handle_type type, void *handle) {
  void *obj = NULL;
  pthread_mutex_lock(&table_lock);
  slot *s = find(type, handle);
  if (s) {
    uint32_t index = (uint32_t)(s - slots);
    s->closing = true;
    while (slots[index].pins > 0) { /* the table may grow while we wait */
      pthread_cond_wait(&unpinned, &table_lock);
    }
    obj = slots[index].obj;
    slots[index].obj = NULL;
    slots[index].closing = false;
    live_count--;
  }
  pthread_mutex_unlock(&table_lock);
  if (!obj) {
    rt_fail(CVI_RC_INVALID_ARG, "%p is not a %s handle (or it was released)", handle,
            type_name(type));
  }
  return obj;
}
