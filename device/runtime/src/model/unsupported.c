/* Functions that exist so that programs link, but that this library does not offer:
 * the secure path of cv183x, command building through cvikernel, one ready-made kernel. */
#include "cviruntime_extra.h"
#include "rt.h"

CVI_RC CVI_RT_LoadCmdbufTee(CVI_RT_HANDLE rt_handle, uint8_t *cmdbuf, size_t sz,
                            uint64_t neuron_gaddr, uint64_t weight_gaddr, uint32_t weight_len,
                            CVI_RT_MEM *cmdbuf_mem) {
  (void)rt_handle, (void)cmdbuf, (void)sz, (void)neuron_gaddr, (void)weight_gaddr;
  (void)weight_len;
  if (cmdbuf_mem) {
    *cmdbuf_mem = NULL;
  }
  return rt_fail(CVI_RC_UNSUPPORT, "LoadCmdbufTee: encrypted models are not supported");
}

CVI_RC CVI_RT_RunCmdbufTee(CVI_RT_HANDLE rt_handle, CVI_RT_MEM cmdbuf_mem,
                           CVI_RT_ARRAYBASE *p_array_base) {
  (void)rt_handle, (void)cmdbuf_mem, (void)p_array_base;
  return rt_fail(CVI_RC_UNSUPPORT, "RunCmdbufTee: encrypted models are not supported");
}

CVI_RT_KHANDLE CVI_RT_RegisterKernel(CVI_RT_HANDLE rt_handle, uint32_t cmdbuf_size) {
  (void)rt_handle, (void)cmdbuf_size;
  rt_fail(CVI_RC_UNSUPPORT, "RegisterKernel: use CVI_RT_LoadCmdbuf with finished commands");
  return NULL;
}

CVI_RC CVI_RT_UnRegisterKernel(CVI_RT_KHANDLE rt_khandle) {
  (void)rt_khandle;
  return rt_fail(CVI_RC_UNSUPPORT, "UnRegisterKernel: no kernel handles in this library");
}

CVI_RC CVI_RT_Submit(CVI_RT_KHANDLE rt_khandle) {
  (void)rt_khandle;
  return rt_fail(CVI_RC_UNSUPPORT, "Submit: no kernel handles in this library");
}

CVI_RC CVI_RT_SubmitAsync(CVI_RT_KHANDLE rt_khandle, uint8_t submit_previous) {
  (void)rt_khandle, (void)submit_previous;
  return rt_fail(CVI_RC_UNSUPPORT, "SubmitAsync: no kernel handles in this library");
}

CVI_RC CVI_RT_WaitForAsync(CVI_RT_KHANDLE rt_khandle) {
  (void)rt_khandle;
  return rt_fail(CVI_RC_UNSUPPORT, "WaitForAsync: no kernel handles in this library");
}

CVI_KFUNC_HANDLE CVI_NN_PrepareGrayImageLightKernelFunc(CVI_RT_HANDLE ctx, uint32_t ih, uint32_t iw,
                                                        uint32_t kernel) {
  (void)ctx, (void)ih, (void)iw, (void)kernel;
  rt_fail(CVI_RC_UNSUPPORT, "PrepareGrayImageLightKernelFunc is not offered");
  return NULL;
}
