/* Commands of the ready-made matrix product. */
#ifndef TPUFORGE_SOC_MATMUL_H
#define TPUFORGE_SOC_MATMUL_H

#include "model/rt.h"

enum { MATMUL_MOST = 4095 };

/* Commands of `chip` for Y = L * R, exact in 32 bits: L [m, k] and R [k, n] of bytes (signed or
 * not) behind base registers 2 and 3, Y [m, n] of int32 behind 4, all dense. m, k, n: 1 to
 * MATMUL_MOST. INVALID_ARG: more commands than ids. `out` is released with rt_free. */
CVI_RC matmul_commands(const char *chip, bool is_signed, uint32_t m, uint32_t k, uint32_t n,
                       uint8_t **out, size_t *out_size);

#endif
