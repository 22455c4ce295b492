#include "npy.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

#define MAGIC "\x93NUMPY"
#define FILE_MAX ((size_t)1 << 30)

void npy_free(Array *array) {
  free(array->data);
  memset(array, 0, sizeof *array);
}

/* "(1, 3, 224, 224)" -> shape; false when it is none or the product overflows. */
static bool parse_shape(Array *a, const char *text) {
  a->bytes = a->size;
  for (a->rank = 0; *text != ')';) {
    if (isdigit((unsigned char)*text)) {
      char *end;
      unsigned long long n = strtoull(text, &end, 10);
      if (a->rank == NPY_MAX_RANK || n > FILE_MAX || (n && a->bytes > FILE_MAX / n)) return false;
      a->shape[a->rank++] = (size_t)n;
      a->bytes *= (size_t)n;
      text = end;
    } else if (*text == ' ' || *text == ',') {
      text++;
    } else {
      return false;
    }
  }
  return true;
}

/* The Python dictionary of the header. */
static bool parse_header(Array *a, const char *text) {
  const char *type = strstr(text, "'descr':"), *shape = strstr(text, "'shape':");
  if (!type || !shape || strstr(text, "'fortran_order': True")) return false;
  type = strchr(type + 8, '\'');
  shape = strchr(shape, '(');
  if (!type || !shape || !strchr(shape, ')')) return false;
  if ((type[1] != '<' && type[1] != '|') || !strchr("fiu", type[2])) return false;
  a->kind = type[2];
  a->size = (size_t)(type[3] - '0');
  bool known = a->size == 1 || a->size == 2 || a->size == 4 || a->size == 8;
  return known && type[4] == '\'' && parse_shape(a, shape + 1);
}

bool npy_parse(Array *a, const unsigned char *file, size_t size, const char *name) {
  memset(a, 0, sizeof *a);
  if (size < 12 || memcmp(file, MAGIC, 6)) return fail("%s: not an .npy file", name);
  size_t wide = file[6] >= 2 ? 4 : 2, length = 0;
  for (size_t i = 0; i < wide; i++) length |= (size_t)file[8 + i] << 8 * i;
  size_t begin = 8 + wide;
  if (length > size - begin || length > 65536) return fail("%s: damaged header", name);
  char *text = malloc(length + 1);
  if (!text) return fail("%s: no memory", name);
  memcpy(text, file + begin, length);
  text[length] = 0;
  bool good = parse_header(a, text);
  free(text);
  if (!good)
    return fail("%s: only plain little-endian arrays in C order with up to %d axes are read", name,
                NPY_MAX_RANK);
  if (a->bytes > size - begin - length) return fail("%s: the data are cut off", name);
  a->data = malloc(a->bytes ? a->bytes : 1);
  if (!a->data) return fail("%s: no memory", name);
  memcpy(a->data, file + begin + length, a->bytes);
  return true;
}

bool npy_load(Array *a, const char *path) {
  memset(a, 0, sizeof *a);
  FILE *file = fopen(path, "rb");
  if (!file) return fail("%s: no such file, or not readable", path);
  long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  unsigned char *data = length > 0 && (size_t)length <= FILE_MAX ? malloc((size_t)length) : NULL;
  bool good = data && fseek(file, 0, SEEK_SET) == 0 &&
              fread(data, 1, (size_t)length, file) == (size_t)length;
  fclose(file);
  good = good ? npy_parse(a, data, (size_t)length, path) : fail("%s: could not be read", path);
  free(data);
  return good;
}

unsigned char *npy_bytes(const Array *a, size_t *size) {
  char header[256], shape[160] = "";
  size_t bytes = a->size;
  for (int i = 0, at = 0; i < a->rank; i++) {
    at += snprintf(shape + at, sizeof shape - (size_t)at, "%zu,%s", a->shape[i],
                   i + 1 < a->rank ? " " : "");
    bytes *= a->shape[i];
  }
  int n = snprintf(header, sizeof header,
                   "{'descr': '%c%c%zu', 'fortran_order': False, 'shape': (%s), }",
                   a->size == 1 ? '|' : '<', a->kind, a->size, shape);
  int padded = (n + 1 + 10 + 63) / 64 * 64 - 10; /* header and line break: a multiple of 64 */
  unsigned char *file = malloc(10 + (size_t)padded + bytes + 1);
  if (!file) return NULL;
  memcpy(file, MAGIC "\x01\x00", 8);
  file[8] = (unsigned char)(padded & 0xFF);
  file[9] = (unsigned char)(padded >> 8);
  memset(file + 10, ' ', (size_t)padded - 1);
  memcpy(file + 10, header, (size_t)n);
  file[9 + padded] = '\n';
  memcpy(file + 10 + padded, a->data, bytes);
  *size = 10 + (size_t)padded + bytes;
  return file;
}

bool npy_save(const Array *a, const char *path) {
  size_t size = 0;
  unsigned char *bytes = npy_bytes(a, &size);
  if (!bytes) return fail("%s: no memory", path);
  FILE *file = fopen(path, "wb");
  bool good = file && fwrite(bytes, 1, size, file) == size;
  free(bytes);
  if (!file) return fail("%s: can not be written", path);
  return fclose(file) == 0 && good ? true : fail("%s: could not be written completely", path);
}
