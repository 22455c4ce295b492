/* CVI_NN model functions (api/cvi_nn.md section 3). */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "model.h"
#include "sim/chip.h"

/* ---- registration ---- */

static CVI_RC new_handle(rt_model *model, CVI_MODEL_HANDLE *handle) {
  rt_instance *inst = NULL;
  CVI_RC rc = rt_instance_create(model, &inst);
  if (rc) {
    return rc;
  }
  pthread_mutex_lock(&inst->lock); /* `self` is set before others can use it */
  void *made = rt_handle_new(RT_H_MODEL, inst);
  inst->self = made;
  pthread_mutex_unlock(&inst->lock);
  if (!made) {
    rt_instance_free(inst);
    return CVI_RC_NOMEM;
  }
  *handle = made;
  return CVI_RC_SUCCESS;
}

static CVI_RC register_source(const rt_source *source, CVI_MODEL_HANDLE *handle) {
  rt_model *model = NULL;
  CVI_RC rc = rt_model_load(source, &model);
  if (rc) {
    return rc;
  }
  rc = new_handle(model, handle);
  rt_model_unref(model); /* the instance holds its own reference */
  return rc;
}

CVI_RC CVI_NN_RegisterModelFromFd(const int fd, const size_t ud_offset, CVI_MODEL_HANDLE *model) {
  if (!model) {
    return rt_fail(CVI_RC_INVALID_ARG, "RegisterModelFromFd: NULL");
  }
  *model = NULL;
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return rt_fail(CVI_RC_INVALID_ARG, "RegisterModelFromFd: descriptor %d is not a file", fd);
  }
  if (ud_offset > (uint64_t)info.st_size) {
    return rt_fail(CVI_RC_INVALID_ARG, "RegisterModelFromFd: offset %zu, file has %lld bytes",
                   ud_offset, (long long)info.st_size);
  }
  rt_source source = {.fd = fd, .start = ud_offset, .size = (uint64_t)info.st_size - ud_offset};
  return register_source(&source, model);
}

CVI_RC CVI_NN_RegisterModelFromBuffer(const int8_t *buf, uint32_t size, CVI_MODEL_HANDLE *model) {
  if (!model || !buf) {
    return rt_fail(CVI_RC_INVALID_ARG, "RegisterModelFromBuffer: NULL");
  }
  *model = NULL;
  rt_source source = {.data = (const uint8_t *)buf, .fd = -1, .size = size};
  return register_source(&source, model);
}

CVI_RC CVI_NN_RegisterModel(const char *model_file, CVI_MODEL_HANDLE *model) {
  if (!model || !model_file) {
    return rt_fail(CVI_RC_INVALID_ARG, "RegisterModel: NULL");
  }
  *model = NULL;
  int fd = open(model_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return rt_fail(CVI_RC_INVALID_ARG, "can not open '%.200s': %s", model_file, strerror(errno));
  }
  CVI_RC rc = CVI_NN_RegisterModelFromFd(fd, 0, model);
  close(fd);
  return rc ? rt_fail(rc, "'%.120s': %s", model_file, rt_error_text()) : rc;
}

CVI_RC CVI_NN_CloneModel(CVI_MODEL_HANDLE model, CVI_MODEL_HANDLE *cloned_model) {
  if (!cloned_model) {
    return rt_fail(CVI_RC_INVALID_ARG, "CloneModel: NULL");
  }
  *cloned_model = NULL;
  rt_instance *inst = rt_handle_pin(RT_H_MODEL, model);
  if (!inst) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RC rc = new_handle(inst->model, cloned_model);
  rt_handle_unpin(model);
  return rc;
}

CVI_RC CVI_NN_CleanupModel(CVI_MODEL_HANDLE model) {
  if (!model) {
    return CVI_RC_SUCCESS;
  }
  rt_instance *inst = rt_handle_close(RT_H_MODEL, model);
  if (!inst) {
    return CVI_RC_INVALID_ARG;
  }
  rt_async_finish(inst);
  rt_instance_free(inst);
  return CVI_RC_SUCCESS;
}

/* ---- handles with their lock ---- */

static rt_instance *enter(CVI_MODEL_HANDLE model) {
  rt_instance *inst = rt_handle_pin(RT_H_MODEL, model);
  if (inst) {
    pthread_mutex_lock(&inst->lock);
  }
  return inst;
}

static void leave(rt_instance *inst, CVI_MODEL_HANDLE model) {
  pthread_mutex_unlock(&inst->lock);
  rt_handle_unpin(model);
}

/* ---- configuration ---- */

static CVI_RC set_option(rt_instance *inst, int option, int value) {
  if (option == OPTION_BATCH_SIZE || option == OPTION_PROGRAM_INDEX ||
      option == OPTION_OUTPUT_ALL_TENSORS) {
    if (inst->ready) {
      return rt_fail(CVI_RC_BUSY, "SetConfig: option %d after GetInputOutputTensors", option);
    }
  }
  switch (option) {
  case OPTION_BATCH_SIZE:
    inst->program_index = 0;
    rt_log(RT_LOG_WARNING, "deprecated option:%d", option);
    return CVI_RC_SUCCESS;
  case OPTION_PROGRAM_INDEX:
    if (value < 0 || (uint32_t)value >= inst->model->file.program_count) {
      return rt_fail(CVI_RC_INVALID_ARG, "SetConfig: program %d, the file has %u", value,
                     inst->model->file.program_count);
    }
    inst->program_index = (uint32_t)value;
    return CVI_RC_SUCCESS;
  case OPTION_OUTPUT_ALL_TENSORS:
    inst->output_all = value != 0;
    return CVI_RC_SUCCESS;
  case OPTION_PREPARE_BUF_FOR_INPUTS:
  case OPTION_PREPARE_BUF_FOR_OUTPUTS:
  case OPTION_SKIP_PREPROCESS:
  case OPTION_SKIP_POSTPROCESS:
  case OPTION_INPUT_MEM_TYPE:
  case OPTION_OUTPUT_MEM_TYPE:
    rt_log(RT_LOG_WARNING, "deprecated option:%d", option);
    return CVI_RC_SUCCESS;
  default:
    return rt_fail(CVI_RC_INVALID_ARG, "SetConfig: option %d is not known", option);
  }
}

CVI_RC CVI_NN_SetConfig(CVI_MODEL_HANDLE model, CVI_CONFIG_OPTION option, ...) {
  rt_instance *inst = enter(model);
  if (!inst) {
    return CVI_RC_INVALID_ARG;
  }
  int value = 0;
  if (option == OPTION_PROGRAM_INDEX || option == OPTION_OUTPUT_ALL_TENSORS) {
    va_list args;
    va_start(args, option);
    value = va_arg(args, int);
    va_end(args);
  }
  CVI_RC rc = set_option(inst, option, value);
  leave(inst, model);
  return rc;
}

CVI_RC CVI_NN_GetModelVersion(CVI_MODEL_HANDLE model, int32_t *major, int32_t *minor) {
  rt_instance *inst = enter(model);
  if (!inst) {
    return CVI_RC_INVALID_ARG;
  }
  if (major) {
    *major = inst->model->file.version[0];
  }
  if (minor) {
    *minor = inst->model->file.version[1];
  }
  leave(inst, model);
  return CVI_RC_SUCCESS;
}

const char *CVI_NN_GetModelTarget(CVI_MODEL_HANDLE model) {
  rt_instance *inst = enter(model);
  if (!inst) {
    return NULL;
  }
  const char *target = chip_find(inst->model->chip)->name; /* valid longer than the handle */
  leave(inst, model);
  return target;
}

/* ---- tensors and runs ---- */

CVI_RC CVI_NN_GetInputOutputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **inputs, int32_t *input_num,
                                    CVI_TENSOR **outputs, int32_t *output_num) {
  rt_instance *inst = enter(model);
  if (!inst) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RC rc = rt_instance_prepare(inst);
  if (inputs) {
    *inputs = rc ? NULL : inst->in_tensors;
  }
  if (input_num) {
    *input_num = rc ? 0 : (int32_t)inst->in_count;
  }
  if (outputs) {
    *outputs = rc ? NULL : inst->out_tensors;
  }
  if (output_num) {
    *output_num = rc ? 0 : (int32_t)inst->out_count;
  }
  leave(inst, model);
  return rc;
}

CVI_RC CVI_NN_GetInputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **inputs, int32_t *input_num) {
  return CVI_NN_GetInputOutputTensors(model, inputs, input_num, NULL, NULL);
}

CVI_RC CVI_NN_GetOutputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **outputs, int32_t *output_num) {
  return CVI_NN_GetInputOutputTensors(model, NULL, NULL, outputs, output_num);
}

CVI_RC CVI_NN_Forward(CVI_MODEL_HANDLE model, CVI_TENSOR inputs[], int32_t input_num,
                      CVI_TENSOR outputs[], int32_t output_num) {
  rt_instance *inst = enter(model);
  if (!inst) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RC rc = rt_forward(inst, inputs, input_num, outputs, output_num);
  leave(inst, model);
  return rc;
}

CVI_RC CVI_NN_ForwardAsync(CVI_MODEL_HANDLE model, CVI_TENSOR inputs[], int32_t input_num,
                           CVI_TENSOR outputs[], int32_t output_num, void **task_no) {
  if (!task_no) {
    return rt_fail(CVI_RC_INVALID_ARG, "ForwardAsync: NULL");
  }
  *task_no = NULL;
  rt_instance *inst = rt_handle_pin(RT_H_MODEL, model); /* not locked: waits for a free slot */
  if (!inst) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RC rc = rt_async_start(inst, inputs, input_num, outputs, output_num, task_no);
  rt_handle_unpin(model);
  return rc;
}

CVI_RC CVI_NN_ForwardWait(CVI_MODEL_HANDLE model, void *task_no) {
  rt_instance *inst = rt_handle_pin(RT_H_MODEL, model);
  if (!inst) {
    return CVI_RC_INVALID_ARG;
  }
  CVI_RC rc = rt_async_wait(inst, task_no);
  rt_handle_unpin(model);
  return rc;
}
