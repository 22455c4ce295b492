/* bf16 arithmetic of the TIU (hw/cv18xx-tiu.md section 4), portable.
 *
 * An fp32 accumulator is "invalid" (sticky) when it is a NaN. "small" variants demand finite
 * operands whose sums and products stay below 2^127; they still flush and truncate exactly.
 */
#ifndef TPUFORGE_SIM_BF16_H
#define TPUFORGE_SIM_BF16_H

#include <stdint.h>
#include <string.h>

static inline float bits_f32(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

static inline uint32_t f32_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

#define F32_INVALID UINT32_C(0x7FC00000)
#define F32_MAX UINT32_C(0x7F7FFFFF)

/* Operand: exponent 0 reads as +0, exponent 255 is invalid. */
static inline float bf16_read(uint32_t pattern) {
  const uint32_t exponent = pattern >> 7 & 255;
  return bits_f32(exponent == 0 ? 0 : exponent == 255 ? F32_INVALID : pattern << 16);
}

/* Flush results below 2^-126 to +0. */
static inline float f32_flush(float x) {
  const uint32_t u = f32_bits(x);
  return bits_f32((u & 0x7F800000) == 0 ? 0 : u);
}

/* Sum truncated towards zero: round to nearest, then step back if the rounding went outwards
 * (the error of the rounded sum is computed exactly). */
static inline float f32_add_small(float a, float b) {
  const float r = a + b, t = r - a;
  const float err = (a - (r - t)) + (b - t);
  const uint32_t u = f32_bits(r);
  const uint32_t outward = (err < 0 && r > 0) | (err > 0 && r < 0);
  return f32_flush(bits_f32(u - outward));
}

static inline float f32_mul_small(float a, float b) { return f32_flush(a * b); }

static inline float f32_mul(float a, float b) {
  const float p = a * b;
  return (f32_bits(p) & 0x7F800000) == 0x7F800000 ? bits_f32(F32_INVALID) : f32_flush(p);
}

static inline float f32_add(float a, float b) {
  const float r = a + b;
  if ((f32_bits(r) & 0x7F800000) == 0x7F800000) {
    return bits_f32(F32_INVALID);
  }
  const float x = f32_add_small(a, b);
  return (f32_bits(x) & 0x7FFFFFFF) == F32_MAX ? bits_f32(F32_INVALID) : x;
}

/* Result: round to nearest even; invalid and overflow become 0x7F7F, exponent 0 becomes 0. */
static inline uint16_t bf16_result(float x) {
  const uint32_t u = f32_bits(x);
  if ((u & 0x7F800000) == 0x7F800000) {
    return 0x7F7F;
  }
  const uint32_t r = (u + 0x7FFF + (u >> 16 & 1)) >> 16;
  const uint32_t exponent = r >> 7 & 255;
  return exponent == 255 ? 0x7F7F : exponent == 0 ? 0 : (uint16_t)r;
}

/* Same with relu: a set sign bit gives 0. */
static inline uint16_t bf16_result_relu(float x, int relu) {
  const uint16_t r = bf16_result(x);
  return relu && (r & 0x8000) ? 0 : r;
}

/* fp32 bias from memory: denormals read as +0, Inf and NaN are invalid. */
static inline float f32_bias(uint32_t u) {
  return (u & 0x7F800000) == 0x7F800000 ? bits_f32(F32_INVALID) : f32_flush(bits_f32(u));
}

#endif
