/* The portable kernel set, and the choice of a set. */

#include <stdlib.h>

#include "kernels_generic.h"

const kernel_set kernels_scalar = {
    .name = "scalar",
    .pack4 = generic_pack4,
    .pack2 = generic_pack2,
    .gemm8 = NULL,
    .gemm16 = generic_gemm16,
    .gemm_f32 = generic_gemm_f32,
    .sum8 = generic_sum8,
    .taps16 = generic_taps16,
    .taps_f32 = generic_taps_f32,
    .max8 = generic_max8,
    .widen8 = generic_widen8,
    .post8 = generic_post8,
    .arith_row = generic_arith_row,
    .lookup8 = generic_lookup8,
    .unpack = generic_unpack,
};
