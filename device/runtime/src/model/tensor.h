/* From a CVI_TENSOR (perhaps a copy of the caller) back to its program. */
#ifndef TPUFORGE_TENSOR_H
#define TPUFORGE_TENSOR_H

#include "model.h"

typedef struct {
  rt_instance *inst; /* pinned and locked */
  uint32_t index;
} rt_tensor_ref;

/* Find by owner and name text, among inputs, then outputs. INVALID_ARG if unknown. */
CVI_RC rt_tensor_enter(const CVI_TENSOR *tensor, rt_tensor_ref *ref);
void rt_tensor_leave(const rt_tensor_ref *ref);

/* CVI_NN_SetTensorPhysicalAddr, entered. */
CVI_RC rt_set_paddr(const rt_tensor_ref *ref, CVI_TENSOR *tensor, uint64_t paddr);

#endif
