/* CVI_NN tensor functions (api/cvi_nn.md section 4). */
#include "tensor.h"

#include <string.h>

#include "handle.h"

CVI_TENSOR *CVI_NN_GetTensorByName(const char *name, CVI_TENSOR *tensors, int32_t num) {
  if (!tensors || num <= 0) {
    return NULL;
  }
  if (name == CVI_NN_DEFAULT_TENSOR) {
    return num == 1 ? tensors : NULL;
  }
  size_t length = strlen(name);
  if (length == 0) {
    return NULL;
  }
  bool prefix = name[length - 1] == '*';
  for (int32_t i = 0; i < num; i++) {
    const char *candidate = tensors[i].name ? tensors[i].name : "";
    if (prefix ? strncmp(candidate, name, length - 1) == 0 : strcmp(candidate, name) == 0) {
      return &tensors[i];
    }
  }
  return NULL;
}

/* The tensor, or a text that names the function and NULL. */
static const CVI_TENSOR *checked(const CVI_TENSOR *tensor, const char *function) {
  if (!tensor) {
    rt_fail(CVI_RC_INVALID_ARG, "%s: NULL", function);
  }
  return tensor;
}

char *CVI_NN_TensorName(CVI_TENSOR *tensor) {
  return checked(tensor, "TensorName") ? tensor->name : NULL;
}

size_t CVI_NN_TensorSize(CVI_TENSOR *tensor) {
  return checked(tensor, "TensorSize") ? tensor->mem_size : 0;
}

size_t CVI_NN_TensorCount(CVI_TENSOR *tensor) {
  return checked(tensor, "TensorCount") ? tensor->count : 0;
}

float CVI_NN_TensorQuantScale(CVI_TENSOR *tensor) {
  return checked(tensor, "TensorQuantScale") ? tensor->qscale : 0.0f;
}

int CVI_NN_TensorQuantZeroPoint(CVI_TENSOR *tensor) {
  return checked(tensor, "TensorQuantZeroPoint") ? tensor->zero_point : 0;
}

CVI_SHAPE CVI_NN_TensorShape(CVI_TENSOR *tensor) {
  return checked(tensor, "TensorShape") ? tensor->shape : (CVI_SHAPE){{0}, 0};
}

void *CVI_NN_TensorPtr(CVI_TENSOR *tensor) {
  if (!checked(tensor, "TensorPtr")) {
    return NULL;
  }
  if (tensor->mem_type != CVI_MEM_SYSTEM) {
    rt_fail(CVI_RC_INVALID_ARG, "TensorPtr: tensor '%.60s' is in device memory",
            tensor->name ? tensor->name : "");
    return NULL;
  }
  return tensor->sys_mem;
}

CVI_RC CVI_NN_SetTensorPtr(CVI_TENSOR *tensor, void *mem) {
  if (!tensor || !mem) {
    return rt_fail(CVI_RC_INVALID_ARG, "SetTensorPtr: NULL");
  }
  tensor->sys_mem = mem;
  tensor->mem_type = CVI_MEM_SYSTEM;
  return CVI_RC_SUCCESS;
}

/* ---- device addresses ---- */

static bool find_in(const rt_instance *inst, const uint32_t *indices, uint32_t count,
                    const char *name, uint32_t *index) {
  for (uint32_t i = 0; i < count; i++) {
    if (strcmp(inst->tensors[indices[i]].info->name, name) == 0) {
      *index = indices[i];
      return true;
    }
  }
  return false;
}

CVI_RC rt_tensor_enter(const CVI_TENSOR *tensor, rt_tensor_ref *ref) {
  if (!tensor || !tensor->name) {
    return rt_fail(CVI_RC_INVALID_ARG, "tensor or its name is NULL");
  }
  rt_instance *inst = rt_handle_pin(RT_H_MODEL, tensor->owner);
  if (!inst) {
    return rt_fail(CVI_RC_INVALID_ARG, "the model of tensor '%.60s' was released", tensor->name);
  }
  pthread_mutex_lock(&inst->lock);
  ref->inst = inst;
  if (inst->ready && (find_in(inst, inst->in, inst->in_count, tensor->name, &ref->index) ||
                      find_in(inst, inst->out, inst->out_count, tensor->name, &ref->index))) {
    return CVI_RC_SUCCESS;
  }
  rt_tensor_leave(ref);
  return rt_fail(CVI_RC_INVALID_ARG, "'%.60s' is neither input nor output of its program",
                 tensor->name);
}

void rt_tensor_leave(const rt_tensor_ref *ref) {
  void *handle = ref->inst->self;
  pthread_mutex_unlock(&ref->inst->lock);
  rt_handle_unpin(handle);
}

/* Does a CPU function read or write tensors of the buffer? */
static bool cpu_uses(const rt_instance *inst, unsigned base) {
  for (uint32_t i = 0; i < inst->program->routine_count; i++) {
    const mf_routine *r = &inst->program->routines[i];
    for (uint32_t k = 0; r->cpu && k < r->in_count + r->out_count; k++) {
      mf_ref ref = r->in[k]; /* outputs follow the inputs */
      int64_t offset = ref < 0 ? -1 : inst->program->tensors[ref].offset;
      if (offset >= 0 && mf_base(offset) == base) {
        return true;
      }
    }
  }
  return false;
}

/* Replace the io buffer `base` by the caller's memory, or go back to our own. */
static CVI_RC redirect(rt_instance *inst, unsigned base, uint64_t paddr) {
  rt_redirect *r = &inst->redirect[base];
  const rt_region *own = &inst->regions[base];
  rt_block *block = NULL;
  uint64_t offset = 0;
  if (paddr != rt_region_paddr(own)) {
    block = rt_block_at(paddr, own->size, &offset);
    if (!block) {
      return rt_fail(CVI_RC_INVALID_ARG, "no device memory of %llu bytes at 0x%llx",
                     (unsigned long long)own->size, (unsigned long long)paddr);
    }
  }
  if (block && block->foreign && cpu_uses(inst, base)) { /* every Forward copies */
    rt_block_unref(block);
    block = NULL;
  }
  rt_block_unref(r->block);
  *r = (rt_redirect){block, offset};
  return CVI_RC_SUCCESS;
}

CVI_RC rt_set_paddr(const rt_tensor_ref *ref, CVI_TENSOR *tensor, uint64_t paddr) {
  const mf_tensor *info = ref->inst->tensors[ref->index].info;
  CVI_RC rc = CVI_RC_SUCCESS;
  if (info->offset >= 0 && mf_base(info->offset) >= MF_BASE_IO && mf_low(info->offset) == 0) {
    rc = redirect(ref->inst, mf_base(info->offset), paddr);
  } /* other tensors: every Forward copies */
  if (!rc) {
    tensor->paddr = paddr;
    tensor->mem_type = CVI_MEM_DEVICE;
  }
  return rc;
}

CVI_RC CVI_NN_SetTensorPhysicalAddr(CVI_TENSOR *tensor, uint64_t paddr) {
  rt_tensor_ref ref;
  CVI_RC rc = rt_tensor_enter(tensor, &ref);
  if (!rc) {
    rc = rt_set_paddr(&ref, tensor, paddr);
    rt_tensor_leave(&ref);
  }
  return rc;
}
