/* Transfers inside DDR (hw/cv18xx-tdma.md sections 1, 4.1, 4.2). */
#include "copy.h"

#include <string.h>

#include "model/stream.h"
#include "sim/chip.h"

enum { WORDS = TDMA_BYTES / 4, PACKET = 8 + TDMA_BYTES, MOST = 0xFFFF };

/* One transfer of `rows` rows; as one row it may have any length. */
static void put_transfer(uint8_t *at, const char *chip, uint32_t id, uint64_t src, uint64_t dst,
                         uint64_t rows, uint64_t row_bytes, uint64_t src_stride) {
  bool bytes = rows == 1;
  uint32_t high = !chip_find(chip)->gen_b ? 0x01010000 : 0; /* where its DDR begins */
  uint32_t w = bytes ? 1 : (uint32_t)row_bytes, c = (uint32_t)rows;
  uint32_t from = (uint32_t)src_stride, to = (uint32_t)row_bytes;
  uint32_t words[WORDS] = {
      [0] = 1 | 2 << 6 | (uint32_t)bytes << 10 | id << 16, /* DDR to DDR */
      [1] = 0x28,
      [3] = 2 << 16 | 3 << 20, /* base registers */
      [4] = (w & 0xFFFF) | to << 16,
      [5] = 1,
      [6] = (w & 0xFFFF) | from << 16,
      [7] = bytes ? (uint32_t)row_bytes : 1,
      [8] = c | c << 16,
      [9] = w | 1 << 16,
      [10] = w | 1 << 16,
      [11] = (uint32_t)dst,
      [12] = (uint32_t)src,
      [13] = 1 | high,
      [14] = from >> 16 | (to >> 16) << 16,
  };
  memcpy(at, (uint8_t[8]){chip_find(chip)->magic, TDMA_BYTES, 2}, 8);
  for (int i = 0; i < TDMA_BYTES; i++) {
    at[8 + i] = (uint8_t)(words[i / 4] >> (i % 4 * 8));
  }
}

CVI_RC copy_commands(const char *chip, uint64_t rows, uint64_t row_bytes, uint64_t src_stride,
                     uint8_t **out, size_t *out_size) {
  if (src_stride == row_bytes) {
    row_bytes *= rows;
    rows = 1;
  }
  uint64_t at_once = row_bytes > MOST ? 1 : MOST, count = (rows + at_once - 1) / at_once;
  if (count >= MOST || rows * row_bytes > UINT32_MAX || rows * src_stride > UINT32_MAX) {
    return rt_fail(CVI_RC_INVALID_ARG, "copy of %llu rows of %llu bytes", (unsigned long long)rows,
                   (unsigned long long)row_bytes);
  }
  uint8_t *stream = rt_zalloc((size_t)count, PACKET, "copy commands");
  if (!stream) {
    return CVI_RC_NOMEM;
  }
  for (uint64_t i = 0; i < count; i++) {
    uint64_t first = i * at_once, here = rows - first < at_once ? rows - first : at_once;
    put_transfer(stream + i * PACKET, chip, (uint32_t)i + 1, first * src_stride, first * row_bytes,
                 here, row_bytes, src_stride);
  }
  *out = stream;
  *out_size = (size_t)count * PACKET;
  return CVI_RC_SUCCESS;
}
