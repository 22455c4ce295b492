/* Ready-made kernels (api/cvi_nn.md section 11). Addresses are 64-bit device addresses. */
#ifndef CVIRUNTIME_EXTRA_H
#define CVIRUNTIME_EXTRA_H

#include "cviruntime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *CVI_KFUNC_HANDLE;

/* Not offered by this library: NULL / CVI_RC_UNSUPPORT. */
CVI_API CVI_KFUNC_HANDLE CVI_NN_PrepareMatrixMulKernelFunc(CVI_RT_HANDLE ctx, CVI_FMT fmt,
                                                           uint32_t m, uint32_t k, uint32_t n);
CVI_API CVI_KFUNC_HANDLE CVI_NN_PrepareGrayImageLightKernelFunc(CVI_RT_HANDLE ctx, uint32_t ih,
                                                                uint32_t iw, uint32_t kernel);
CVI_API CVI_RC CVI_NN_RunKernelFunc(CVI_KFUNC_HANDLE kfun, int32_t mem_num, ...);
CVI_API CVI_RC CVI_NN_DestroyKernelFunc(CVI_KFUNC_HANDLE kfun);

#ifdef __cplusplus
}
#endif

#endif
