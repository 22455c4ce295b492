/* Ready-made kernels (api/cvi_nn.md section 11). Addresses are 64-bit device addresses. */
#ifndef CVIRUNTIME_EXTRA_H
#define CVIRUNTIME_EXTRA_H

#include "cviruntime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *CVI_KFUNC_HANDLE;

/* Y [m, n] int32 = L [m, k] * R [k, n] of fmt INT8 or UINT8, exactly; run on the addresses of L, R
 * and Y. The chip is the board's; on a host that of SET_CHIP_NAME (default cv181x). NULL: wrong
 * arguments, or too large (dimensions below 4096; cv180x: fewer). */
CVI_API CVI_KFUNC_HANDLE CVI_NN_PrepareMatrixMulKernelFunc(CVI_RT_HANDLE ctx, CVI_FMT fmt,
                                                           uint32_t m, uint32_t k, uint32_t n);
/* Not offered by this library: NULL. */
CVI_API CVI_KFUNC_HANDLE CVI_NN_PrepareGrayImageLightKernelFunc(CVI_RT_HANDLE ctx, uint32_t ih,
                                                                uint32_t iw, uint32_t kernel);
/* Run and wait; one uint64_t address for each of the kernel's buffers. */
CVI_API CVI_RC CVI_NN_RunKernelFunc(CVI_KFUNC_HANDLE kfun, int32_t mem_num, ...);
CVI_API CVI_RC CVI_NN_DestroyKernelFunc(CVI_KFUNC_HANDLE kfun);

#ifdef __cplusplus
}
#endif

#endif
