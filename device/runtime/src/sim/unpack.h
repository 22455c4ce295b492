/* Blocks of compressed streams (hw/cv18xx-tdma.md section 6.3), portable. */
#ifndef TPUFORGE_SIM_UNPACK_H
#define TPUFORGE_SIM_UNPACK_H

#include "kernels.h"

#define BLOCK 16

/* At least 56 bits from the current position, zeros behind the end. */
static inline uint64_t peek_bits(const bit_reader *r) {
  const uint64_t byte = r->at >> 3, size = r->bits >> 3;
  uint64_t v = 0;
  if (byte + 8 <= size) {
    v = load32(r->p + byte) | (uint64_t)load32(r->p + byte + 4) << 32;
  } else {
    for (uint64_t i = 0; i < 8 && byte + i < size; i++) {
      v |= (uint64_t)r->p[byte + i] << 8 * i;
    }
  }
  return v >> (r->at & 7);
}

/* Bytes 0 or 1 from 8 bits. */
static inline uint64_t spread_bits(uint64_t bits8) {
  const uint64_t v = (bits8 * UINT64_C(0x0101010101010101)) & UINT64_C(0x8040201008040201);
  return (v + UINT64_C(0x7F7F7F7F7F7F7F7F)) >> 7 & UINT64_C(0x0101010101010101);
}

static inline unsigned trailing_zeros(uint64_t v) {
#if defined(__GNUC__)
  return (unsigned)__builtin_ctzll(v);
#else
  unsigned n = 0;
  while (!(v & 1)) {
    v >>= 1;
    n++;
  }
  return n;
#endif
}

static inline void unpack_raw(bit_reader *r, uint8_t sym[BLOCK]) {
  for (unsigned i = 0; i < BLOCK; i += 4, r->at += 32) {
    const uint32_t v = (uint32_t)peek_bits(r);
    for (unsigned q = 0; q < 4; q++) {
      sym[i + q] = (uint8_t)(v >> 8 * q);
    }
  }
}

/* 16 symbols of one block with block map byte `map`. */
static inline void unpack_block(bit_reader *r, unsigned map, int guarded, uint8_t sym[BLOCK]) {
  const unsigned k = map >> 5, unary = 16 + (map & 31);
  uint64_t lo = 0, hi = 0;
  if (k >= 6) {
    unpack_raw(r, sym);
    return;
  }
  for (unsigned p = 0; p < k; p++, r->at += 16) {
    const uint64_t v = peek_bits(r);
    lo |= spread_bits(v & 255) << p;
    hi |= spread_bits(v >> 8 & 255) << p;
  }
  r->at += guarded && k > 0 ? 4 : 0;
  uint64_t v = peek_bits(r) & ((UINT64_C(1) << unary) - 1);
  for (unsigned i = 0; i < BLOCK; i++) {
    const unsigned q = v ? trailing_zeros(v) : 0;
    v = v >> q >> 1;
    const uint64_t low = (i < 8 ? lo : hi) >> 8 * (i & 7);
    sym[i] = (uint8_t)(low | q << k);
  }
  r->at += unary;
}

#endif
