/* Ready-made kernels (api/cvi_nn.md section 11): commands built for given sizes, run on addresses.
 */
#include <string.h>

#include "cviruntime_extra.h"
#include "handle.h"
#include "memory.h"
#include "soc/device.h"
#include "soc/matmul.h"

enum { MOST_ADDRESSES = 6 };

typedef struct {
  CVI_RT_HANDLE context;
  CVI_RT_MEM commands;
  int addresses;
} kernel;

static CVI_KFUNC_HANDLE wrap(CVI_RT_HANDLE context, uint8_t *stream, size_t size, int addresses) {
  kernel *made = rt_zalloc(1, sizeof(*made), "kernel");
  CVI_KFUNC_HANDLE handle = NULL;
  if (made && CVI_RT_LoadCmdbuf(context, stream, size, 0, 0, false, &made->commands) == 0) {
    made->context = context;
    made->addresses = addresses;
    handle = rt_handle_new(RT_H_KERNEL, made);
  }
  if (!handle && made) {
    CVI_RT_MemFree(context, made->commands);
    rt_free(made);
  }
  return handle;
}

CVI_KFUNC_HANDLE CVI_NN_PrepareMatrixMulKernelFunc(CVI_RT_HANDLE ctx, CVI_FMT fmt, uint32_t m,
                                                   uint32_t k, uint32_t n) {
  if (fmt != CVI_FMT_INT8 && fmt != CVI_FMT_UINT8) {
    rt_fail(CVI_RC_UNSUPPORT, "PrepareMatrixMulKernelFunc: format %d is neither INT8 nor UINT8",
            fmt);
    return NULL;
  }
  if (!rt_handle_pin(RT_H_CONTEXT, ctx)) {
    return NULL;
  }
  uint8_t *stream = NULL;
  size_t size = 0;
  CVI_KFUNC_HANDLE handle = NULL;
  if (matmul_commands(soc_default_chip(), fmt == CVI_FMT_INT8, m, k, n, &stream, &size) == 0) {
    handle = wrap(ctx, stream, size, 3);
  }
  rt_free(stream);
  rt_handle_unpin(ctx);
  return handle;
}

CVI_RC CVI_NN_RunKernelFunc(CVI_KFUNC_HANDLE kfun, int32_t mem_num, ...) {
  kernel *k = rt_handle_pin(RT_H_KERNEL, kfun);
  if (!k) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RC rc;
  if (mem_num != k->addresses) {
    rc = rt_fail(CVI_RC_INVALID_ARG, "RunKernelFunc: %d addresses, the kernel takes %d", mem_num,
                 k->addresses);
  } else {
    uint64_t bases[2 + MOST_ADDRESSES] = {0};
    va_list args;
    va_start(args, mem_num);
    for (int32_t i = 0; i < mem_num; i++) {
      bases[2 + i] = va_arg(args, uint64_t);
    }
    va_end(args);
    CVI_RT_ARRAYBASE registers;
    memcpy(&registers, bases, sizeof(registers));
    rc = CVI_RT_RunCmdbufEx(k->context, k->commands, &registers);
  }
  rt_handle_unpin(kfun);
  return rc;
}

CVI_RC CVI_NN_DestroyKernelFunc(CVI_KFUNC_HANDLE kfun) {
  kernel *k = rt_handle_close(RT_H_KERNEL, kfun);
  if (!k) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RT_MemFree(k->context, k->commands);
  rt_free(k);
  return CVI_RC_SUCCESS;
}
