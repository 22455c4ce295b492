/* Blocks of sums of products, see gemm.h. */

#include "gemm.h"

#include "bf16.h"

int gemm_range_is_large(uint32_t max_a, uint32_t max_b, uint64_t terms) {
  const uint32_t ea = max_a >> 23, eb = max_b >> 23;
  uint32_t bits = 2;
  while ((UINT64_C(1) << bits) < terms) {
    bits++;
  }
  return ea == 255 || eb == 255 || ea + eb + bits > 254 + 120;
}

static void gemm_f32_exact(const gemm_job *j) {
  for (uint32_t r = 0; r < j->rows; r++) {
    for (uint32_t i = 0; i < j->cols; i++) {
      float acc = bits_f32((uint32_t)j->acc[r][i]);
      for (uint32_t k = 0; k < j->k; k++) {
        const float w = bits_f32(load32(j->w[r] + 4 * (size_t)k));
        acc = f32_add(acc, f32_mul(bits_f32(j->b[j->offs[k] + i]), w));
      }
      j->acc[r][i] = (int32_t)f32_bits(acc);
    }
  }
}

void gemm_run(const kernel_set *k, const gemm_job *j, uint32_t per_unit, int exact) {
  if (per_unit == 4) {
    k->gemm8(j);
  } else if (per_unit == 2) {
    k->gemm16(j);
  } else if (exact) {
    gemm_f32_exact(j);
  } else {
    k->gemm_f32(j);
  }
}
