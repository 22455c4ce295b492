#include "npz.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inflate.h"
#include "message.h"

#define LOCAL 0x04034B50u
#define CENTRAL 0x02014B50u
#define END 0x06054B50u
#define FILE_MAX ((size_t)1 << 30)
#define MAX_MEMBERS 65535

typedef struct {
  const uint8_t *data;
  size_t size;
} View;

/* Little-endian number of 2, 4 or 8 bytes; 0 outside of the file. */
static uint64_t number(View v, size_t at, size_t bytes) {
  uint64_t value = 0;
  if (at > v.size || bytes > v.size - at) return 0;
  for (size_t i = 0; i < bytes; i++) value |= (uint64_t)v.data[at + i] << 8 * i;
  return value;
}

static uint32_t crc32_of(const uint8_t *data, size_t size) {
  static uint32_t table[256];
  if (!table[1])
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t c = i;
      for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
      table[i] = c;
    }
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; i++) crc = table[(crc ^ data[i]) & 0xFF] ^ crc >> 8;
  return ~crc;
}

void npz_free(Npz *npz) {
  for (size_t i = 0; i < npz->count; i++) {
    free(npz->members[i].name);
    npy_free(&npz->members[i].array);
  }
  free(npz->members);
  memset(npz, 0, sizeof *npz);
}

const Array *npz_find(const Npz *npz, const char *name) {
  for (size_t i = 0; i < npz->count; i++)
    if (!strcmp(npz->members[i].name, name)) return &npz->members[i].array;
  return NULL;
}

/* ---- reading */

/* The plain bytes of a member: a copy of `stored`, inflated if it is compressed (malloc). NULL:
 * damaged or no memory. */
static uint8_t *plain_bytes(const uint8_t *stored, size_t stored_size, size_t size, bool deflated) {
  if (deflated ? size / 1032 > stored_size : size != stored_size) return NULL;
  uint8_t *plain = malloc(size ? size : 1);
  if (plain && !deflated) memcpy(plain, stored, size);
  if (plain && deflated && !inflate_bytes(stored, stored_size, plain, size)) {
    free(plain);
    return NULL;
  }
  return plain;
}

/* The data of the entry at `at` of the central directory (malloc), NULL after a message. */
static uint8_t *member_data(View v, size_t at, size_t *size, const char *path) {
  size_t local = number(v, at + 42, 4), stored = number(v, at + 20, 4);
  uint64_t method = number(v, at + 10, 2);
  size_t begin = local + 30 + number(v, local + 26, 2) + number(v, local + 28, 2);
  *size = number(v, at + 24, 4);
  uint8_t *plain = NULL;
  if (method != 0 && method != 8)
    return fail("%s: compressed by method %d: write it with np.savez", path, (int)method), NULL;
  if (*size <= FILE_MAX && begin <= v.size && stored <= v.size - begin)
    plain = plain_bytes(v.data + begin, stored, *size, method == 8);
  if (plain && crc32_of(plain, *size) == number(v, at + 16, 4)) return plain;
  free(plain);
  return fail("%s: damaged archive", path), NULL;
}

/* One entry of the central directory at `at`; its length, or 0 after a message. */
static size_t read_member(Npz *npz, View v, size_t at, const char *path) {
  size_t name_length = number(v, at + 28, 2), extra = number(v, at + 30, 2);
  size_t comment = number(v, at + 32, 2), local = number(v, at + 42, 4), size;
  if (number(v, at, 4) != CENTRAL || at + 46 + name_length > v.size || name_length < 5 ||
      number(v, local, 4) != LOCAL)
    return fail("%s: damaged archive", path), 0;
  uint8_t *data = member_data(v, at, &size, path);
  if (!data) return 0;
  Member *m = &npz->members[npz->count];
  m->name = calloc(1, name_length + 1);
  if (!m->name) return free(data), fail("%s: no memory", path), 0;
  memcpy(m->name, v.data + at + 46, name_length);
  npz->count++;
  if (strcmp(m->name + name_length - 4, ".npy") == 0) m->name[name_length - 4] = 0;
  bool good = npy_parse(&m->array, data, size, m->name);
  free(data);
  return good ? 46 + name_length + extra + comment : 0;
}

static bool read_archive(Npz *npz, View v, const char *path) {
  size_t end = v.size; /* the end record: 22 bytes and a comment of at most 65535 */
  if (v.size < 22) return fail("%s: not an .npz file", path);
  for (size_t i = v.size - 22;; i--) {
    if (number(v, i, 4) == END) end = i;
    if (end != v.size || i == 0 || v.size - i > 65557) break;
  }
  if (end == v.size) return fail("%s: not an .npz file", path);
  size_t count = number(v, end + 10, 2), at = number(v, end + 16, 4);
  npz->members = calloc(count ? count : 1, sizeof *npz->members);
  if (!npz->members) return fail("%s: no memory", path);
  for (size_t i = 0, length; i < count; i++, at += length)
    if ((length = read_member(npz, v, at, path)) == 0) return false;
  return true;
}

bool npz_load(Npz *npz, const char *path) {
  memset(npz, 0, sizeof *npz);
  FILE *file = fopen(path, "rb");
  if (!file) return fail("%s: no such file, or not readable", path);
  long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  uint8_t *data = length > 0 && (size_t)length <= FILE_MAX ? malloc((size_t)length) : NULL;
  bool good = data && fseek(file, 0, SEEK_SET) == 0 &&
              fread(data, 1, (size_t)length, file) == (size_t)length;
  fclose(file);
  good = good ? read_archive(npz, (View){data, (size_t)length}, path)
              : fail("%s: could not be read", path);
  free(data);
  if (!good) npz_free(npz);
  return good;
}

/* ---- writing */

static void put(FILE *file, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) fputc(i < 8 ? (int)(value >> 8 * i & 0xFF) : 0, file);
}

/* The fields that the local header and the central directory have in common. */
static void put_common(FILE *file, const char *name, uint32_t crc, size_t size) {
  put(file, 20, 2); /* version, flags, method, time; date: 1 January 1980 */
  put(file, 0, 6);
  put(file, 0x21, 2);
  put(file, crc, 4);
  put(file, size, 4);
  put(file, size, 4);
  put(file, strlen(name) + 4, 2);
  put(file, 0, 2);
}

typedef struct {
  uint32_t crc;
  size_t size, offset;
} Entry;

static bool write_member(FILE *file, const Member *m, Entry *e) {
  uint8_t *bytes = npy_bytes(&m->array, &e->size);
  long at = ftell(file);
  if (!bytes || at < 0) return free(bytes), false;
  e->offset = (size_t)at;
  e->crc = crc32_of(bytes, e->size);
  put(file, LOCAL, 4);
  put_common(file, m->name, e->crc, e->size);
  fprintf(file, "%s.npy", m->name);
  fwrite(bytes, 1, e->size, file);
  free(bytes);
  return !ferror(file);
}

static void write_directory(FILE *file, const Npz *npz, const Entry *entries) {
  long begin = ftell(file);
  for (size_t i = 0; i < npz->count; i++) {
    put(file, CENTRAL, 4);
    put(file, 20, 2);
    put_common(file, npz->members[i].name, entries[i].crc, entries[i].size);
    put(file, 0, 2 + 2 + 2 + 4); /* comment, disk, attributes */
    put(file, entries[i].offset, 4);
    fprintf(file, "%s.npy", npz->members[i].name);
  }
  long end = ftell(file);
  put(file, END, 4);
  put(file, 0, 4);
  put(file, npz->count, 2);
  put(file, npz->count, 2);
  put(file, (uint64_t)(end - begin), 4);
  put(file, (uint64_t)begin, 4);
  put(file, 0, 2);
}

bool npz_save(const Npz *npz, const char *path) {
  if (npz->count > MAX_MEMBERS) return fail("%s: too many arrays", path);
  FILE *file = fopen(path, "wb");
  if (!file) return fail("%s: can not be written", path);
  Entry *entries = calloc(npz->count ? npz->count : 1, sizeof *entries);
  bool good = entries != NULL;
  for (size_t i = 0; good && i < npz->count; i++)
    good = write_member(file, &npz->members[i], &entries[i]);
  if (good) write_directory(file, npz, entries);
  good = good && !ferror(file);
  free(entries);
  return fclose(file) == 0 && good ? true : fail("%s: could not be written completely", path);
}
