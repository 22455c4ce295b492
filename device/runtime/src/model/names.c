/* Hash index over the names of tensors, weights or sections. */
#include <string.h>

#include "schema.h"

static uint32_t hash(const char *text) {
  uint32_t h = 2166136261u; /* FNV-1a */
  for (; *text; text++) {
    h = (h ^ (uint8_t)*text) * 16777619u;
  }
  return h ^ (h >> 15);
}

static const char *name_at(const mf_names *names, uint32_t index) {
  const char *name;
  memcpy(&name, (const char *)names->list + (size_t)index * names->stride, sizeof(name));
  return name;
}

CVI_RC mf_names_build(mf_names *names, const void *list, size_t stride, uint32_t count,
                      int64_t *duplicate) {
  uint32_t capacity = 8;
  while (capacity < 2 * (uint64_t)count) {
    capacity *= 2;
  }
  *names = (mf_names){.list = list, .stride = stride, .mask = capacity - 1};
  names->slots = rt_zalloc(capacity, sizeof(uint32_t), "name index");
  if (!names->slots) {
    return CVI_RC_NOMEM;
  }
  if (duplicate) {
    *duplicate = -1;
  }
  for (uint32_t i = 0; i < count; i++) {
    const char *name = name_at(names, i);
    if (!name) {
      continue;
    }
    uint32_t at = hash(name) & names->mask;
    while (names->slots[at] && strcmp(name_at(names, names->slots[at] - 1), name) != 0) {
      at = (at + 1) & names->mask;
    }
    if (!names->slots[at]) {
      names->slots[at] = i + 1;
    } else if (duplicate) {
      *duplicate = i;
    }
  }
  return CVI_RC_SUCCESS;
}

int64_t mf_names_find(const mf_names *names, const char *name) {
  for (uint32_t at = hash(name) & names->mask; names->slots[at]; at = (at + 1) & names->mask) {
    if (strcmp(name_at(names, names->slots[at] - 1), name) == 0) {
      return names->slots[at] - 1;
    }
  }
  return -1;
}

void mf_names_free(mf_names *names) {
  rt_free(names->slots);
  names->slots = NULL;
}
