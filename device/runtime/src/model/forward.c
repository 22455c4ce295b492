/* One run of a program instance (formats/cvimodel.md section 8, api/cvi_nn.md section 3.5). */
#include <string.h>

#include "model.h"

/* Block and offset where a tensor lives now; NULL block: system memory. */
static rt_block *place_of(const rt_instance *inst, uint32_t index, uint64_t *offset) {
  const rt_tensor *t = &inst->tensors[index];
  if (!t->block) {
    return NULL;
  }
  const rt_redirect *r = &inst->redirect[mf_base(t->info->offset)];
  *offset = r->block ? r->offset + mf_low(t->info->offset) : t->offset;
  return r->block ? r->block : t->block;
}

/* Make what the CPU wrote visible to the TPU. */
static CVI_RC sync_to_device(rt_instance *inst, uint32_t index) {
  rt_tensor *t = &inst->tensors[index];
  uint64_t offset;
  rt_block *block = place_of(inst, index, &offset);
  if (t->state != RT_CPU_WROTE || !block) {
    return CVI_RC_SUCCESS;
  }
  t->state = RT_CLEAN;
  return rt_backend_get()->flush(block, offset, t->info->mem_size);
}

/* Make what the TPU wrote visible to the CPU. */
static CVI_RC sync_to_host(rt_instance *inst, uint32_t index) {
  rt_tensor *t = &inst->tensors[index];
  uint64_t offset;
  rt_block *block = place_of(inst, index, &offset);
  if (t->state == RT_CPU_WROTE || !block) {
    return CVI_RC_SUCCESS;
  }
  t->state = RT_CLEAN;
  return rt_backend_get()->invalidate(block, offset, t->info->mem_size);
}

/* ---- arguments ---- */

static CVI_RC check_list(const rt_instance *inst, const CVI_TENSOR *list, int32_t count,
                         const uint32_t *indices, uint32_t expected, const char *what) {
  if (count < 0 || (uint32_t)count != expected) {
    return rt_fail(CVI_RC_INVALID_ARG, "Forward: %d %s, the program has %u", count, what, expected);
  }
  if (!list && count > 0) {
    return rt_fail(CVI_RC_INVALID_ARG, "Forward: %s are NULL", what);
  }
  for (int32_t i = 0; i < count; i++) {
    bool system = list[i].mem_type == CVI_MEM_SYSTEM;
    if (!system && list[i].mem_type != CVI_MEM_DEVICE) {
      return rt_fail(CVI_RC_INVALID_ARG, "Forward: %s[%d].mem_type is %d", what, i,
                     list[i].mem_type);
    }
    if (system && !list[i].sys_mem && inst->tensors[indices[i]].info->mem_size) {
      return rt_fail(CVI_RC_INVALID_ARG, "Forward: %s[%d].sys_mem is NULL", what, i);
    }
  }
  return CVI_RC_SUCCESS;
}

/* A replaced io buffer stays only as long as one of the tensors given still points to it. */
static void mark_used(const rt_instance *inst, const uint32_t *indices, const CVI_TENSOR *list,
                      uint32_t count, bool used[MF_BASES]) {
  for (uint32_t i = 0; i < count; i++) {
    const mf_tensor *info = inst->tensors[indices[i]].info;
    if (info->offset >= 0 && list[i].mem_type == CVI_MEM_DEVICE &&
        list[i].paddr == rt_tensor_paddr(inst, indices[i])) {
      used[mf_base(info->offset)] = true;
    }
  }
}

static void restore_buffers(rt_instance *inst, const CVI_TENSOR *in, const CVI_TENSOR *out) {
  bool used[MF_BASES] = {false};
  mark_used(inst, inst->in, in, inst->in_count, used);
  mark_used(inst, inst->out, out, inst->out_count, used);
  for (unsigned k = MF_BASE_IO; k < MF_BASES; k++) {
    if (inst->redirect[k].block && !used[k]) {
      rt_block_unref(inst->redirect[k].block);
      inst->redirect[k] = (rt_redirect){0};
    }
  }
}

/* ---- inputs and outputs ---- */

/* The caller's device memory, referenced; NULL (text set) if it is not `size` bytes of a block. */
static rt_block *caller_block(uint64_t paddr, uint64_t size, uint64_t *offset) {
  rt_block *block = rt_block_at(paddr, size, offset);
  if (block) {
    return block;
  }
  rt_fail(CVI_RC_INVALID_ARG, "Forward: no device memory of %llu bytes at 0x%llx",
          (unsigned long long)size, (unsigned long long)paddr);
  return NULL;
}

/* Between the caller's device memory and the tensor, which may be in system memory. */
static CVI_RC copy_tensor(rt_instance *inst, uint32_t index, uint64_t paddr, bool in) {
  rt_tensor *t = &inst->tensors[index];
  size_t size = (size_t)t->info->mem_size;
  rt_base own = {.size = size}, other = {.size = size};
  other.block = caller_block(paddr, size, &other.offset);
  if (!other.block) {
    return CVI_RC_INVALID_ARG;
  }
  own.block = place_of(inst, index, &own.offset);
  CVI_RC rc;
  if (own.block) {
    rc = rt_block_copy(inst->model->chip, in ? own : other, in ? other : own, 1, size, size);
    t->state = RT_TPU_WROTE;
  } else if (other.block->foreign) {
    rc = rt_fail(CVI_RC_UNSUPPORT, "Forward: '%.60s' is in system memory, 0x%llx is not ours",
                 t->info->name, (unsigned long long)paddr);
  } else if (in) {
    rc = rt_backend_get()->invalidate(other.block, other.offset, size);
    memmove(t->ptr, other.block->vaddr + other.offset, size);
  } else {
    memmove(other.block->vaddr + other.offset, t->ptr, size);
    rc = rt_backend_get()->flush(other.block, other.offset, size);
  }
  rt_block_unref(other.block);
  return rc;
}

/* Can the CPU reach the tensor where it lives now? */
static CVI_RC reachable(const rt_instance *inst, uint32_t index) {
  uint64_t offset;
  const rt_block *block = place_of(inst, index, &offset);
  if (block && block->foreign) {
    return rt_fail(CVI_RC_UNSUPPORT, "Forward: '%.60s' shares a buffer that is not ours",
                   inst->tensors[index].info->name);
  }
  return CVI_RC_SUCCESS;
}

static CVI_RC feed(rt_instance *inst, uint32_t index, const CVI_TENSOR *given) {
  rt_tensor *t = &inst->tensors[index];
  uint8_t *own = rt_tensor_ptr(inst, index);
  size_t size = (size_t)t->info->mem_size;
  CVI_RC rc = CVI_RC_SUCCESS;
  if (given->mem_type == CVI_MEM_SYSTEM) {
    rc = reachable(inst, index);
    if (!rc && given->sys_mem != own && size) {
      memmove(own, given->sys_mem, size);
    }
    t->state = RT_CPU_WROTE;
  } else if (given->paddr != rt_tensor_paddr(inst, index)) {
    rc = copy_tensor(inst, index, given->paddr, true);
  } else {
    t->state = RT_TPU_WROTE; /* in device memory: a CPU routine has to invalidate */
  }
  return rc ? rc : sync_to_device(inst, index);
}

static CVI_RC fetch(rt_instance *inst, uint32_t index, const CVI_TENSOR *given) {
  const rt_tensor *t = &inst->tensors[index];
  uint8_t *own = rt_tensor_ptr(inst, index);
  size_t size = (size_t)t->info->mem_size;
  bool system = given->mem_type == CVI_MEM_SYSTEM;
  if (!system && given->paddr == rt_tensor_paddr(inst, index)) {
    return sync_to_device(inst, index); /* a CPU routine may have written it */
  }
  if (!system) {
    CVI_RC rc = sync_to_device(inst, index);
    return rc ? rc : copy_tensor(inst, index, given->paddr, false);
  }
  CVI_RC rc = reachable(inst, index);
  rc = rc ? rc : sync_to_host(inst, index);
  if (!rc && given->sys_mem != own && size) {
    memmove(given->sys_mem, own, size);
  }
  return rc;
}

/* ---- routines ---- */

static void set_base(rt_base *base, const rt_region *region) {
  if (region->block) {
    *base = (rt_base){region->block, region->offset, region->size};
  }
}

static CVI_RC run_tpu(rt_instance *inst, const rt_routine *r) {
  rt_base bases[MF_BASES] = {{0}};
  for (unsigned k = 0; k < MF_BASES; k++) {
    const rt_redirect *redirect = &inst->redirect[k];
    set_base(&bases[k], &inst->regions[k]);
    if (redirect->block) {
      bases[k] =
          (rt_base){redirect->block, redirect->offset, redirect->block->size - redirect->offset};
    }
  }
  set_base(&bases[MF_BASE_WEIGHT], &inst->model->weights);
  if (inst->program->neuron_size) {
    bases[MF_BASE_SHARED] = bases[MF_BASE_PRIVATE];
  }
  for (uint32_t i = 0; i < r->info->in_count; i++) {
    CVI_RC rc = r->info->in[i] < 0 ? 0 : sync_to_device(inst, (uint32_t)r->info->in[i]);
    if (rc) {
      return rc;
    }
  }
  const rt_code *code = inst->model->code[r->info->section];
  CVI_RC rc = rt_backend_get()->run(inst->engine, code, bases);
  for (uint32_t i = 0; i < r->info->out_count; i++) {
    inst->tensors[r->info->out[i]].state = RT_TPU_WROTE;
  }
  return rc;
}

static CVI_RC run_cpu(rt_instance *inst, rt_routine *r) {
  uint32_t total = r->call.in_count + r->call.out_count;
  for (uint32_t i = 0; i < total; i++) {
    mf_ref ref = r->info->in[i];
    if (ref < 0) {
      const mf_tensor *w = &inst->model->file.weights[-1 - ref];
      r->call.in[i].data = rt_region_ptr(&inst->model->weights) + mf_low(w->offset);
      continue;
    }
    CVI_RC rc = i < r->call.in_count ? sync_to_host(inst, (uint32_t)ref) : CVI_RC_SUCCESS;
    if (rc) {
      return rc;
    }
    r->call.in[i].data = rt_tensor_ptr(inst, (uint32_t)ref);
  }
  CVI_RC rc = r->op->run(&r->call);
  for (uint32_t i = 0; i < r->call.out_count; i++) {
    inst->tensors[r->info->out[i]].state = RT_CPU_WROTE;
  }
  /* also what no TPU routine reads: lines written back later could hit what the TPU put there */
  for (uint32_t i = 0; i < r->call.out_count && !rc; i++) {
    rc = sync_to_device(inst, r->info->out[i]);
  }
  return rc;
}

static CVI_RC run_routines(rt_instance *inst) {
  for (uint32_t i = 0; i < inst->program->routine_count; i++) {
    rt_routine *r = &inst->routines[i];
    CVI_RC rc = r->op ? run_cpu(inst, r) : run_tpu(inst, r);
    if (rc) {
      return rt_fail(rc, "routine %u (%s): %s", i,
                     r->op ? r->info->function : inst->model->file.sections[r->info->section].name,
                     rt_error_text());
    }
  }
  return CVI_RC_SUCCESS;
}

CVI_RC rt_forward(rt_instance *inst, CVI_TENSOR *in, int32_t in_count, CVI_TENSOR *out,
                  int32_t out_count) {
  if (!inst->ready) {
    return rt_fail(CVI_RC_UNINIT, "Forward before GetInputOutputTensors");
  }
  CVI_RC rc = check_list(inst, in, in_count, inst->in, inst->in_count, "inputs");
  rc = rc ? rc : check_list(inst, out, out_count, inst->out, inst->out_count, "outputs");
  if (rc) {
    return rc;
  }
  restore_buffers(inst, in, out);
  for (uint32_t i = 0; i < inst->program->tensor_count; i++) {
    inst->tensors[i].state = RT_TPU_WROTE;
  }
  for (uint32_t i = 0; i < inst->in_count && !rc; i++) {
    rc = feed(inst, inst->in[i], &in[i]);
  }
  rc = rc ? rc : run_routines(inst);
  for (uint32_t i = 0; i < inst->out_count && !rc; i++) {
    rc = fetch(inst, inst->out[i], &out[i]);
  }
  return rc;
}
