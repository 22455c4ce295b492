/* 32-bit partial sums in local memory (hw/cv18xx-tiu.md sections 4 and 6). */
#ifndef TPUFORGE_SIM_PARTIAL_H
#define TPUFORGE_SIM_PARTIAL_H

#include "bf16.h"
#include "internal.h"

/* The stored 32 bits: four byte planes, or the high and low halves of an fp32. */
static inline uint32_t load_partial(const tiu_cmd *t, const uint8_t *p) {
  const size_t bs = t->res.bs;
  if (t->bf16) {
    return (uint32_t)load16(p) << 16 | load16(p + bs);
  }
  return p[0] | (uint32_t)p[bs] << 8 | (uint32_t)p[2 * bs] << 16 | (uint32_t)p[3 * bs] << 24;
}

/* Start value of a convolution's sum. */
static inline uint32_t conv_partial(const tiu_cmd *t, const uint8_t *p) {
  const uint32_t u = load_partial(t, p), exponent = u >> 23 & 255;
  return !t->bf16 ? u : exponent == 0 ? 0 : exponent == 255 ? F32_MAX : u;
}

static inline void store_partial(const tiu_cmd *t, uint8_t *p, uint32_t v) {
  const size_t bs = t->res.bs;
  if (t->bf16) {
    v = (v & 0x7F800000) == 0x7F800000 ? F32_MAX : f32_bits(f32_flush(bits_f32(v)));
    store16(p, v >> 16);
    store16(p + bs, v);
    return;
  }
  for (uint32_t i = 0; i < 4; i++) {
    p[i * bs] = (uint8_t)(v >> 8 * i);
  }
}

#endif
