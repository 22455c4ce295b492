/* LZ4 block format: sequences of
 *   token (literal length : 4, match length - 4 : 4), more length bytes, literals,
 *   16-bit distance, more length bytes
 * where a length nibble of 15 goes on with bytes until one is not 255. The last sequence ends
 * behind its literals. */
#include "lz4.h"

#include <string.h>

typedef struct {
  const uint8_t *at;
  const uint8_t *end;
} input;

/* nibble + following bytes; false at the end of the input. */
static bool read_length(input *in, size_t *length) {
  if (*length != 15) {
    return true;
  }
  uint8_t byte;
  do {
    if (in->at == in->end || *length > SIZE_MAX - 255) {
      return false;
    }
    byte = *in->at++;
    *length += byte;
  } while (byte == 255);
  return true;
}

bool lz4_decode(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size) {
  input in = {src, src + src_size};
  size_t out = 0;
  while (in.at < in.end) {
    uint8_t token = *in.at++;
    size_t literals = token >> 4;
    if (!read_length(&in, &literals) || literals > (size_t)(in.end - in.at) ||
        literals > dst_size - out) {
      return false;
    }
    memcpy(dst + out, in.at, literals);
    in.at += literals;
    out += literals;
    if (in.at == in.end) {
      return out == dst_size;
    }
    if (in.end - in.at < 2) {
      return false;
    }
    size_t distance = in.at[0] | (size_t)in.at[1] << 8;
    in.at += 2;
    size_t match = token & 15;
    if (!read_length(&in, &match)) {
      return false;
    }
    match += 4;
    if (distance == 0 || distance > out || match > dst_size - out) {
      return false;
    }
    for (size_t i = 0; i < match; i++, out++) { /* may overlap: byte by byte */
      dst[out] = dst[out - distance];
    }
  }
  return false; /* an empty block, or one that ends inside a sequence */
}
