/* The CVI_RT layer: contexts, device memory, command buffers (api/cvi_nn.md sections 1, 2, 6, 7).
 *
 * Every function may be called from any thread. No function ends the process: wrong arguments and
 * failures come back as a code (or NULL / 0) and leave a text, see CVI_NN_GetLastError().
 */
#ifndef CVIRUNTIME_CONTEXT_H
#define CVIRUNTIME_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CVI_API __attribute__((visibility("default")))
#else
#define CVI_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef int CVI_RC;

/* 0xC0000000 | module 0x77 << 16 | level 4 << 13 | id, as a negative int */
#define CVI_RC_CODE(id) ((CVI_RC)(-0x3FFFFFFF - 1 + (0x77 << 16) + (4 << 13) + (id)))

#define CVI_RC_SUCCESS 0
#define CVI_RC_FAILURE (-1)
#define CVI_RC_INVALID_ARG CVI_RC_CODE(3)
#define CVI_RC_UNINIT CVI_RC_CODE(7)
#define CVI_RC_UNSUPPORT CVI_RC_CODE(8)
#define CVI_RC_NOMEM CVI_RC_CODE(12)
#define CVI_RC_AGAIN CVI_RC_CODE(16)
#define CVI_RC_BUSY CVI_RC_CODE(18)
#define CVI_RC_TIMEOUT CVI_RC_CODE(21)
#define CVI_RC_DATA_ERR CVI_RC_CODE(22)
#define CVI_SUCCESS CVI_RC_SUCCESS
#define CVI_FAILURE CVI_RC_FAILURE

typedef void *CVI_RT_HANDLE;
typedef void *CVI_RT_SHANDLE;
typedef void *CVI_RT_KHANDLE;
typedef void *CVI_RT_MEM;

typedef struct {
  uint64_t gaddr_base0;
  uint64_t gaddr_base1;
  uint64_t gaddr_base2;
  uint64_t gaddr_base3;
  uint64_t gaddr_base4;
  uint64_t gaddr_base5;
  uint64_t gaddr_base6;
  uint64_t gaddr_base7;
} CVI_RT_ARRAYBASE;

typedef enum {
  CVI_ALLOC_WEIGHT = 0,
  CVI_ALLOC_PROGRAM = 1,
  CVI_ALLOC_NEURON = 2,
  CVI_ALLOC_SHARED = 3,
  CVI_ALLOC_DMABUF = 4,
  CVI_ALLOC_UNKNOWN = 5,
} CVI_ALLOC_TYPE;

typedef CVI_RT_MEM (*CVI_MEM_ALLOC_CB)(CVI_RT_HANDLE, uint64_t size, CVI_ALLOC_TYPE type,
                                       const char *name);
typedef void (*CVI_MEM_FREE_CB)(CVI_RT_HANDLE, CVI_RT_MEM);

/* ---- contexts ---- */
CVI_API CVI_RC CVI_RT_Init(CVI_RT_HANDLE *rt_handle);
CVI_API CVI_RC CVI_RT_DeInit(CVI_RT_HANDLE rt_handle);

/* ---- device memory ----
 * Memory is zeroed, mapped for the CPU, addresses are multiples of 4096. PreAlloc makes a view that
 * keeps the parent alive and is freed by itself. FreeEx frees what MemAlloc gave at an address.
 * NULL answers 0 / NULL / INVALID_ARG. */
CVI_API CVI_RT_MEM CVI_RT_MemAlloc(CVI_RT_HANDLE rt_handle, uint64_t size);
CVI_API CVI_RT_MEM CVI_RT_MemPreAlloc(CVI_RT_MEM mem, uint64_t offset, uint64_t size);
CVI_API void CVI_RT_MemFree(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem);
CVI_API void CVI_RT_MemFreeEx(uint64_t p_addr);
CVI_API uint64_t CVI_RT_MemGetSize(CVI_RT_MEM mem);
CVI_API uint64_t CVI_RT_MemGetPAddr(CVI_RT_MEM mem);
CVI_API uint8_t *CVI_RT_MemGetVAddr(CVI_RT_MEM mem);
CVI_API int32_t CVI_RT_MemIncRef(CVI_RT_MEM mem);
CVI_API int32_t CVI_RT_MemDecRef(CVI_RT_MEM mem);
CVI_API CVI_RC CVI_RT_MemFlush(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem);
CVI_API CVI_RC CVI_RT_MemInvld(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem);
CVI_API CVI_RC CVI_RT_MemFlushEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem, uint64_t len);
CVI_API CVI_RC CVI_RT_MemInvldEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem, uint64_t len);
CVI_API CVI_RC CVI_RT_MemCopyS2D(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dst, uint8_t *src);
CVI_API CVI_RC CVI_RT_MemCopyS2DEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dst, uint64_t offset,
                                   uint64_t len, uint8_t *src);
CVI_API CVI_RC CVI_RT_MemCopyD2S(CVI_RT_HANDLE rt_handle, uint8_t *dst, CVI_RT_MEM src);

/* Memory of models comes from alloc_cb, which returns what CVI_RT_MemAlloc gave it (NULL: NOMEM);
 * free_cb gets exactly that back. They must not call CVI_NN functions. */
CVI_API CVI_RC CVI_RT_Global_SetMemAllocCallback(CVI_MEM_ALLOC_CB alloc_cb,
                                                 CVI_MEM_FREE_CB free_cb);
CVI_API void CVI_RT_Global_ResetMemAllocCallback(void);

/* ---- command buffers ----
 * enable_pmu: boards only, UNSUPPORT on the simulator. ParsePmuBuf prints the counters of the last
 * run and gives the dma buffer; its words 6 and 7 are size and offset of the records. */
CVI_API CVI_RC CVI_RT_LoadCmdbuf(CVI_RT_HANDLE rt_handle, uint8_t *cmdbuf, uint64_t sz,
                                 uint64_t gaddr_base0, uint64_t gaddr_base1, bool enable_pmu,
                                 CVI_RT_MEM *cmdbuf_mem);
CVI_API CVI_RC CVI_RT_LoadDmabuf(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dmabuf, uint64_t sz,
                                 uint64_t gaddr_base0, uint64_t gaddr_base1, bool enable_pmu,
                                 CVI_RT_MEM *dmabuf_mem);
CVI_API CVI_RC CVI_RT_RunCmdbuf(CVI_RT_HANDLE rt_handle, CVI_RT_MEM cmdbuf_mem,
                                uint64_t gaddr_base2, uint64_t gaddr_base3);
CVI_API CVI_RC CVI_RT_RunCmdbufEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM cmdbuf_mem,
                                  CVI_RT_ARRAYBASE *p_array_base);
CVI_API CVI_RC CVI_RT_LoadCmdbufTee(CVI_RT_HANDLE rt_handle, uint8_t *cmdbuf, size_t sz,
                                    uint64_t neuron_gaddr, uint64_t weight_gaddr,
                                    uint32_t weight_len, CVI_RT_MEM *cmdbuf_mem);
CVI_API CVI_RC CVI_RT_RunCmdbufTee(CVI_RT_HANDLE rt_handle, CVI_RT_MEM cmdbuf_mem,
                                   CVI_RT_ARRAYBASE *p_array_base);
CVI_API CVI_RC CVI_RT_SetBaseReg(CVI_RT_HANDLE rt_handle, uint32_t inx, uint64_t base_addr);
CVI_API CVI_RC CVI_RT_ParsePmuBuf(CVI_RT_MEM cmdbuf_mem, uint8_t **buf_start, uint32_t *buf_len);

/* ---- command building through cvikernel: not offered, NULL / CVI_RC_UNSUPPORT ---- */
CVI_API CVI_RT_KHANDLE CVI_RT_RegisterKernel(CVI_RT_HANDLE rt_handle, uint32_t cmdbuf_size);
CVI_API CVI_RC CVI_RT_UnRegisterKernel(CVI_RT_KHANDLE rt_khandle);
CVI_API CVI_RC CVI_RT_Submit(CVI_RT_KHANDLE rt_khandle);
CVI_API CVI_RC CVI_RT_SubmitAsync(CVI_RT_KHANDLE rt_khandle, uint8_t submit_previous);
CVI_API CVI_RC CVI_RT_WaitForAsync(CVI_RT_KHANDLE rt_khandle);

#ifdef __cplusplus
}
#endif

#endif
