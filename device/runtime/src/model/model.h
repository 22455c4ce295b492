/* Registered models and program instances. */
#ifndef TPUFORGE_MODEL_H
#define TPUFORGE_MODEL_H

#include <pthread.h>

#include "cpu_op/cpu_op.h"
#include "memory.h"
#include "schema.h"

typedef struct rt_worker rt_worker; /* async.c */

/* What handles of one file share; counted. Immutable after loading, except the worker. */
typedef struct {
  atomic_int refs;
  char chip[8];
  mf_model file;
  uint32_t number; /* running number of the registration, for memory names */
  rt_region weights;
  rt_code **code;       /* one per section, NULL: not a command section */
  uint64_t shared_need; /* largest shared_gmem of all programs */
  pthread_mutex_t worker_lock;
  rt_worker *worker;
} rt_model;

/* Where a model is read from: memory, or a file at a position. */
typedef struct {
  const uint8_t *data; /* NULL: use fd */
  int fd;
  uint64_t start, size;
} rt_source;

CVI_RC rt_model_load(const rt_source *source, rt_model **out);
rt_model *rt_model_ref(rt_model *model);
void rt_model_unref(rt_model *model);

typedef struct {
  const mf_tensor *info;
  rt_block *block; /* NULL: system memory, in `ptr` */
  uint64_t offset; /* inside the block */
  uint8_t *ptr;    /* own buffer */
  uint64_t paddr;  /* of the own buffer, 0: system memory */
  float qscale;
  enum { RT_CLEAN, RT_CPU_WROTE, RT_TPU_WROTE } state;
} rt_tensor;

/* A routine of the program, ready to run. */
typedef struct {
  const mf_routine *info;
  const cpu_op *op; /* NULL: TPU */
  cpu_call call;
} rt_routine;

/* An io buffer that the caller replaced; block NULL: not replaced. */
typedef struct {
  rt_block *block;
  uint64_t offset;
} rt_redirect;

/* What a model handle stands for. */
typedef struct {
  rt_model *model;
  void *self; /* the handle */
  pthread_mutex_t lock;
  /* configuration */
  uint32_t program_index;
  bool output_all;
  /* made by rt_instance_prepare */
  bool ready;
  const mf_program *program;
  rt_region regions[MF_BASES]; /* own; region 1 is the model's */
  rt_redirect redirect[MF_BASES];
  rt_tensor *tensors;
  rt_routine *routines;
  rt_engine *engine;
  uint32_t *in, *out; /* tensor indices */
  uint32_t in_count, out_count;
  CVI_TENSOR *in_tensors, *out_tensors;
  /* tasks of ForwardAsync that were not waited for; under model->worker_lock */
  struct rt_task *tasks;
} rt_instance;

CVI_RC rt_instance_create(rt_model *model, rt_instance **out);
void rt_instance_free(rt_instance *inst);

/* Memory, routines and tensor arrays of the selected program. Lock held; repeatable on failure. */
CVI_RC rt_instance_prepare(rt_instance *inst);

/* One run, lock held. */
CVI_RC rt_forward(rt_instance *inst, CVI_TENSOR *in, int32_t in_count, CVI_TENSOR *out,
                  int32_t out_count);

/* Where tensor `index` lives now (own buffer or the caller's). */
uint8_t *rt_tensor_ptr(const rt_instance *inst, uint32_t index);
uint64_t rt_tensor_paddr(const rt_instance *inst, uint32_t index);

/* The shared region of an instance, of at least `need` bytes: its own, or one of several handles
 * (shared.c). */
CVI_RC rt_shared_get(rt_instance *inst, uint64_t need, rt_region *out);
void rt_shared_put(rt_region *region);

/* Queue a run / wait for it / finish all of an instance / stop the worker of a model. */
CVI_RC rt_async_start(rt_instance *inst, CVI_TENSOR *in, int32_t in_count, CVI_TENSOR *out,
                      int32_t out_count, void **task);
CVI_RC rt_async_wait(rt_instance *inst, void *task);
void rt_async_finish(rt_instance *inst);
void rt_async_stop(rt_model *model);

#endif
