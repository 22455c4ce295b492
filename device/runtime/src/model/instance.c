/* Program instances: memory, tensors, routines (formats/cvimodel.md sections 6, 8, 9). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { NAME_BYTES = 320 };

CVI_RC rt_instance_create(rt_model *model, rt_instance **out) {
  rt_instance *inst = rt_zalloc(1, sizeof(*inst), "model handle");
  if (!inst) {
    return CVI_RC_NOMEM;
  }
  inst->model = rt_model_ref(model);
  pthread_mutex_init(&inst->lock, NULL);
  *out = inst;
  return CVI_RC_SUCCESS;
}

/* Everything that rt_instance_prepare made. */
static void release(rt_instance *inst) {
  for (unsigned k = 0; k < MF_BASES; k++) {
    rt_block_unref(inst->redirect[k].block);
    inst->redirect[k] = (rt_redirect){0};
  }
  rt_shared_put(&inst->regions[MF_BASE_SHARED]);
  for (unsigned k = 0; k < MF_BASES; k++) {
    rt_region_free(&inst->regions[k]);
  }
  for (uint32_t i = 0; inst->tensors && i < inst->program->tensor_count; i++) {
    if (!inst->tensors[i].block) {
      rt_free_aligned(inst->tensors[i].ptr);
    }
  }
  for (uint32_t i = 0; inst->routines && i < inst->program->routine_count; i++) {
    cpu_release(&inst->routines[i].call);
    rt_free(inst->routines[i].call.in);
  }
  if (inst->engine) {
    rt_backend_get()->engine_free(inst->engine);
  }
  rt_free(inst->tensors);
  rt_free(inst->routines);
  rt_free(inst->in);
  rt_free(inst->in_tensors);
  inst->tensors = NULL;
  inst->routines = NULL;
  inst->engine = NULL;
  inst->in = inst->out = NULL;
  inst->in_tensors = inst->out_tensors = NULL;
  inst->ready = false;
}

void rt_instance_free(rt_instance *inst) {
  release(inst);
  rt_model_unref(inst->model);
  pthread_mutex_destroy(&inst->lock);
  rt_free(inst);
}

/* ---- memory ---- */

static CVI_RC alloc_regions(rt_instance *inst) {
  const mf_program *p = inst->program;
  char base[128], name[NAME_BYTES];
  snprintf(base, sizeof(base), "%.100s:%u", inst->model->file.name, inst->model->number);
  CVI_RC rc = CVI_RC_SUCCESS;
  if (!p->neuron_size && p->shared_gmem) {
    rc = rt_shared_get(inst, inst->model->shared_need, &inst->regions[MF_BASE_SHARED]);
  }
  uint64_t own = mf_region_size(&inst->model->file, p, MF_BASE_PRIVATE);
  if (!rc && own) {
    rc = rt_region_alloc(&inst->regions[MF_BASE_PRIVATE], own, CVI_ALLOC_PROGRAM, base);
  }
  for (unsigned k = MF_BASE_IO; k < MF_BASES && !rc; k++) {
    if (p->io_tensor[k] >= 0) {
      const mf_tensor *t = &p->tensors[p->io_tensor[k]];
      snprintf(name, sizeof(name), "%s:%.180s", base, t->name);
      rc = rt_region_alloc(&inst->regions[k], t->mem_size, CVI_ALLOC_NEURON, name);
    }
  }
  return rc;
}

/* The region behind a selector: old programs have one for 0 and 2. NULL: no memory. */
static const rt_region *region_of(const rt_instance *inst, unsigned base) {
  if (base == MF_BASE_WEIGHT) {
    return inst->model->weights.block ? &inst->model->weights : NULL;
  }
  if (base == MF_BASE_SHARED && inst->program->neuron_size) {
    base = MF_BASE_PRIVATE;
  }
  return inst->regions[base].block ? &inst->regions[base] : NULL;
}

static CVI_RC place_tensors(rt_instance *inst) {
  const mf_program *p = inst->program;
  inst->tensors = rt_zalloc(p->tensor_count, sizeof(rt_tensor), "tensors");
  if (!inst->tensors) {
    return CVI_RC_NOMEM;
  }
  for (uint32_t i = 0; i < p->tensor_count; i++) {
    rt_tensor *t = &inst->tensors[i];
    t->info = &p->tensors[i];
    t->qscale = t->info->qscale;
    const rt_region *r = t->info->offset < 0 ? NULL : region_of(inst, mf_base(t->info->offset));
    if (r) {
      t->block = r->block;
      t->offset = r->offset + mf_low(t->info->offset);
      t->ptr = r->block->vaddr + t->offset;
      t->paddr = r->block->paddr + t->offset;
    } else { /* system memory, or an empty tensor of an empty region */
      t->ptr = rt_zalloc_aligned((size_t)rt_align(t->info->mem_size, 64), t->info->name);
      if (!t->ptr) {
        return CVI_RC_NOMEM;
      }
    }
  }
  return CVI_RC_SUCCESS;
}

uint8_t *rt_tensor_ptr(const rt_instance *inst, uint32_t index) {
  const rt_tensor *t = &inst->tensors[index];
  if (t->info->offset >= 0) {
    const rt_redirect *r = &inst->redirect[mf_base(t->info->offset)];
    if (r->block) {
      return r->block->vaddr + r->offset + mf_low(t->info->offset);
    }
  }
  return t->ptr;
}

uint64_t rt_tensor_paddr(const rt_instance *inst, uint32_t index) {
  const rt_tensor *t = &inst->tensors[index];
  if (t->info->offset >= 0) {
    const rt_redirect *r = &inst->redirect[mf_base(t->info->offset)];
    if (r->block) {
      return r->block->paddr + r->offset + mf_low(t->info->offset);
    }
  }
  return t->paddr;
}

/* ---- routines ---- */

static void describe(const mf_tensor *info, cpu_tensor *out) {
  out->name = info->name ? info->name : "";
  out->fmt = info->fmt;
  memcpy(out->dim, info->dim, sizeof(out->dim));
  out->count = info->count;
  out->qscale = info->qscale;
}

/* CPU functions see dense tensors only. */
static CVI_RC fill_call(const rt_instance *inst, const mf_routine *info, cpu_call *call) {
  uint32_t total = info->in_count + info->out_count;
  call->in = rt_zalloc(total, sizeof(cpu_tensor), "CPU routine");
  if (!call->in) {
    return CVI_RC_NOMEM;
  }
  call->out = call->in + info->in_count;
  call->in_count = info->in_count;
  call->out_count = info->out_count;
  call->function = info->function;
  call->args = info->args;
  call->args_size = info->args_size;
  for (uint32_t i = 0; i < total; i++) {
    mf_ref ref = info->in[i]; /* outputs follow the inputs */
    const mf_tensor *t =
        ref >= 0 ? &inst->program->tensors[ref] : &inst->model->file.weights[-1 - ref];
    describe(t, &call->in[i]);
    if (t->mem_size < t->count * mf_elem_size(t->fmt)) {
      return cpu_fail(call, "tensor '%.60s' has %llu bytes for %llu elements", call->in[i].name,
                      (unsigned long long)t->mem_size, (unsigned long long)t->count);
    }
  }
  return CVI_RC_SUCCESS;
}

/* Was the function meant to come from code inside the file? */
static CVI_RC unknown_function(const rt_instance *inst, const char *name) {
  const mf_model *file = &inst->model->file;
  for (uint32_t i = 0; i < file->section_count; i++) {
    if (file->sections[i].type == MF_SECTION_FUNC_X86 ||
        file->sections[i].type == MF_SECTION_FUNC_AARCH64) {
      return rt_fail(CVI_RC_UNSUPPORT,
                     "CPU function '%.60s': code inside model files is not executed", name);
    }
  }
  return rt_fail(CVI_RC_DATA_ERR, "CPU function '%.60s' is not known", name);
}

static CVI_RC setup_cpu(rt_instance *inst, rt_routine *r) {
  r->op = cpu_op_find(r->info->function);
  if (!r->op) {
    return unknown_function(inst, r->info->function);
  }
  CVI_RC rc = fill_call(inst, r->info, &r->call);
  rc = rc ? rc : r->op->setup(&r->call);
  for (uint32_t i = 0; i < r->call.out_count && !rc; i++) {
    inst->tensors[r->info->out[i]].qscale = r->call.out[i].qscale;
  }
  return rc;
}

static CVI_RC setup_routines(rt_instance *inst) {
  const mf_program *p = inst->program;
  const rt_backend *backend = rt_backend_get();
  uint64_t sizes[MF_BASES];
  for (unsigned k = 0; k < MF_BASES; k++) {
    sizes[k] = mf_region_size(&inst->model->file, p, k);
  }
  inst->routines = rt_zalloc(p->routine_count, sizeof(rt_routine), "routines");
  CVI_RC rc = inst->routines ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
  bool tpu = false;
  for (uint32_t i = 0; i < p->routine_count && !rc; i++) {
    rt_routine *r = &inst->routines[i];
    r->info = &p->routines[i];
    if (r->info->cpu) {
      rc = setup_cpu(inst, r);
    } else {
      tpu = true;
      rc = backend->code_check(inst->model->code[r->info->section], sizes);
      if (rc == CVI_RC_DATA_ERR) {
        rt_fail(rc, "section '%.60s': %s", inst->model->file.sections[r->info->section].name,
                rt_error_text());
      }
    }
  }
  if (!rc && tpu) {
    rc = backend->engine_create(inst->model->chip, &inst->engine);
  }
  return rc;
}

/* ---- tensor arrays ---- */

static int by_name(const void *a, const void *b) {
  const rt_tensor *const *x = a, *const *y = b;
  return strcmp((*x)->info->name, (*y)->info->name);
}

/* Indices of inputs and outputs; with output_all: every tensor that keeps its contents. */
static CVI_RC list_tensors(rt_instance *inst) {
  const mf_program *p = inst->program;
  uint32_t most = inst->output_all ? p->tensor_count : p->out_count;
  inst->in = rt_zalloc((size_t)p->in_count + most, sizeof(uint32_t), "tensor lists");
  if (!inst->in) {
    return CVI_RC_NOMEM;
  }
  inst->out = inst->in + p->in_count;
  inst->in_count = p->in_count;
  inst->out_count = 0;
  memcpy(inst->in, p->in, p->in_count * sizeof(uint32_t));
  if (!inst->output_all) {
    memcpy(inst->out, p->out, p->out_count * sizeof(uint32_t));
    inst->out_count = p->out_count;
    return CVI_RC_SUCCESS;
  }
  const rt_tensor **sorted = rt_zalloc(p->tensor_count, sizeof(*sorted), "tensor lists");
  if (!sorted) {
    return CVI_RC_NOMEM;
  }
  for (uint32_t i = 0; i < p->tensor_count; i++) {
    if (!p->tensors[i].overwrote) {
      sorted[inst->out_count++] = &inst->tensors[i];
    }
  }
  qsort(sorted, inst->out_count, sizeof(*sorted), by_name);
  for (uint32_t i = 0; i < inst->out_count; i++) {
    inst->out[i] = (uint32_t)(sorted[i] - inst->tensors);
  }
  rt_free(sorted);
  return CVI_RC_SUCCESS;
}

static void fill_tensor(const rt_instance *inst, uint32_t index, CVI_TENSOR *out) {
  const rt_tensor *t = &inst->tensors[index];
  const mf_tensor *info = t->info;
  *out = (CVI_TENSOR){0};
  out->name = (char *)(uintptr_t)info->name; /* the public struct has no const */
  for (int i = 0; i < CVI_DIM_MAX; i++) {
    out->shape.dim[i] = i < 4 ? info->dim[i] : 1;
  }
  out->shape.dim_size = 4;
  out->fmt = info->fmt;
  out->count = (size_t)info->count;
  out->mem_size = (size_t)info->mem_size;
  out->sys_mem = t->ptr;
  out->paddr = t->paddr;
  out->mem_type = CVI_MEM_SYSTEM;
  out->qscale = t->qscale;
  out->zero_point = info->zero_point;
  out->pixel_format = info->pixel_format;
  out->aligned = info->aligned;
  memcpy(out->mean, info->mean, sizeof(out->mean));
  memcpy(out->scale, info->scale, sizeof(out->scale));
  out->owner = inst->self;
}

static CVI_RC make_arrays(rt_instance *inst) {
  size_t total = (size_t)inst->in_count + inst->out_count;
  inst->in_tensors = rt_zalloc(total, sizeof(CVI_TENSOR), "tensor arrays");
  if (!inst->in_tensors) {
    return CVI_RC_NOMEM;
  }
  inst->out_tensors = inst->in_tensors + inst->in_count;
  for (size_t i = 0; i < total; i++) { /* the lists follow each other, too */
    fill_tensor(inst, inst->in[i], &inst->in_tensors[i]);
  }
  return CVI_RC_SUCCESS;
}

CVI_RC rt_instance_prepare(rt_instance *inst) {
  if (inst->ready) {
    return CVI_RC_SUCCESS;
  }
  inst->program = &inst->model->file.programs[inst->program_index];
  CVI_RC rc = alloc_regions(inst);
  rc = rc ? rc : place_tensors(inst);
  rc = rc ? rc : setup_routines(inst);
  rc = rc ? rc : list_tensors(inst);
  rc = rc ? rc : make_arrays(inst);
  if (rc) {
    release(inst);
  }
  inst->ready = rc == CVI_RC_SUCCESS;
  return rc;
}
