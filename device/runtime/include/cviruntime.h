/* The CVI_NN interface: models and tensors (api/cvi_nn.md sections 2 to 6).
 *
 * Life cycle: RegisterModel or CloneModel, SetConfig, GetInputOutputTensors, Forward ...,
 * CleanupModel.
 *
 * Threads: every function may be called from any thread. Calls on one handle are serialised, calls
 * on different handles run in parallel. CleanupModel waits for calls and tasks in flight on its
 * handle. Codes: 0 is success, everything else one of CVI_RC_*; CVI_NN_GetLastError() has the text.
 */
#ifndef CVIRUNTIME_H
#define CVIRUNTIME_H

#include "cviruntime_context.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVI_DIM_MAX 6

typedef enum {
  CVI_FMT_FP32 = 0,
  CVI_FMT_INT32 = 1,
  CVI_FMT_UINT32 = 2,
  CVI_FMT_BF16 = 3,
  CVI_FMT_INT16 = 4,
  CVI_FMT_UINT16 = 5,
  CVI_FMT_INT8 = 6,
  CVI_FMT_UINT8 = 7,
} CVI_FMT;

typedef enum {
  CVI_MEM_SYSTEM = 1,
  CVI_MEM_DEVICE = 2,
} CVI_MEM_TYPE_E;

typedef enum {
  CVI_NN_PIXEL_RGB_PACKED = 0,
  CVI_NN_PIXEL_BGR_PACKED = 1,
  CVI_NN_PIXEL_RGB_PLANAR = 2,
  CVI_NN_PIXEL_BGR_PLANAR = 3,
  CVI_NN_PIXEL_YUV_NV12 = 11,
  CVI_NN_PIXEL_YUV_NV21 = 12,
  CVI_NN_PIXEL_YUV_420_PLANAR = 13,
  CVI_NN_PIXEL_GRAYSCALE = 15,
  CVI_NN_PIXEL_TENSOR = 100,
  CVI_NN_PIXEL_PLANAR = 101,
  CVI_NN_PIXEL_PACKED = 102,
  CVI_NN_PIXEL_RGBA_PLANAR = 1000,
} CVI_NN_PIXEL_FORMAT_E;

typedef CVI_NN_PIXEL_FORMAT_E CVI_FRAME_TYPE;
#define CVI_FRAME_PLANAR CVI_NN_PIXEL_PLANAR
#define CVI_FRAME_PACKAGE CVI_NN_PIXEL_PACKED

typedef enum {
  OPTION_BATCH_SIZE = 1,
  OPTION_PREPARE_BUF_FOR_INPUTS = 2,
  OPTION_PREPARE_BUF_FOR_OUTPUTS = 3,
  OPTION_OUTPUT_ALL_TENSORS = 4,
  OPTION_SKIP_PREPROCESS = 5,
  OPTION_SKIP_POSTPROCESS = 6,
  OPTION_INPUT_MEM_TYPE = 7,
  OPTION_OUTPUT_MEM_TYPE = 8,
  OPTION_PROGRAM_INDEX = 9,
} CVI_CONFIG_OPTION;

typedef struct {
  int32_t dim[CVI_DIM_MAX];
  size_t dim_size;
} CVI_SHAPE;

typedef struct {
  char *name;
  CVI_SHAPE shape;
  CVI_FMT fmt;
  size_t count;
  size_t mem_size;
  uint8_t *sys_mem;
  uint64_t paddr;
  CVI_MEM_TYPE_E mem_type;
  float qscale;
  int zero_point;
  CVI_NN_PIXEL_FORMAT_E pixel_format;
  bool aligned;
  float mean[3];
  float scale[3];
  void *owner;
  char reserved[32];
} CVI_TENSOR;

typedef struct {
  CVI_FRAME_TYPE type;
  CVI_SHAPE shape;
  CVI_FMT fmt;
  uint32_t stride[3];
  uint64_t pyaddr[3];
} CVI_VIDEO_FRAME_INFO;

typedef void *CVI_MODEL_HANDLE;

#define CVI_NN_DEFAULT_TENSOR NULL

/* ---- models ---- */
CVI_API CVI_RC CVI_NN_RegisterModel(const char *model_file, CVI_MODEL_HANDLE *model);
CVI_API CVI_RC CVI_NN_RegisterModelFromBuffer(const int8_t *buf, uint32_t size,
                                              CVI_MODEL_HANDLE *model);
CVI_API CVI_RC CVI_NN_RegisterModelFromFd(const int fd, const size_t ud_offset,
                                          CVI_MODEL_HANDLE *model);
CVI_API CVI_RC CVI_NN_CloneModel(CVI_MODEL_HANDLE model, CVI_MODEL_HANDLE *cloned_model);
CVI_API CVI_RC CVI_NN_SetConfig(CVI_MODEL_HANDLE model, CVI_CONFIG_OPTION option, ...);
CVI_API CVI_RC CVI_NN_GetModelVersion(CVI_MODEL_HANDLE model, int32_t *major, int32_t *minor);
CVI_API const char *CVI_NN_GetModelTarget(CVI_MODEL_HANDLE model);
CVI_API CVI_RC CVI_NN_GetInputOutputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **inputs,
                                            int32_t *input_num, CVI_TENSOR **outputs,
                                            int32_t *output_num);
CVI_API CVI_RC CVI_NN_GetInputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **inputs,
                                      int32_t *input_num);
CVI_API CVI_RC CVI_NN_GetOutputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **outputs,
                                       int32_t *output_num);
CVI_API CVI_RC CVI_NN_Forward(CVI_MODEL_HANDLE model, CVI_TENSOR inputs[], int32_t input_num,
                              CVI_TENSOR outputs[], int32_t output_num);
CVI_API CVI_RC CVI_NN_ForwardAsync(CVI_MODEL_HANDLE model, CVI_TENSOR inputs[], int32_t input_num,
                                   CVI_TENSOR outputs[], int32_t output_num, void **task_no);
/* 0 on success (the vendor's function answers 1); frees the task */
CVI_API CVI_RC CVI_NN_ForwardWait(CVI_MODEL_HANDLE model, void *task_no);
CVI_API CVI_RC CVI_NN_CleanupModel(CVI_MODEL_HANDLE model);

CVI_API void CVI_NN_Global_SetSharedMemorySize(size_t size);

/* ---- tensors ---- */
CVI_API CVI_TENSOR *CVI_NN_GetTensorByName(const char *name, CVI_TENSOR *tensors, int32_t num);
CVI_API char *CVI_NN_TensorName(CVI_TENSOR *tensor);
CVI_API void *CVI_NN_TensorPtr(CVI_TENSOR *tensor);
CVI_API size_t CVI_NN_TensorSize(CVI_TENSOR *tensor);
CVI_API size_t CVI_NN_TensorCount(CVI_TENSOR *tensor);
CVI_API float CVI_NN_TensorQuantScale(CVI_TENSOR *tensor);
CVI_API int CVI_NN_TensorQuantZeroPoint(CVI_TENSOR *tensor);
CVI_API CVI_SHAPE CVI_NN_TensorShape(CVI_TENSOR *tensor);
CVI_API CVI_RC CVI_NN_SetTensorPtr(CVI_TENSOR *tensor, void *mem);
CVI_API CVI_RC CVI_NN_SetTensorPhysicalAddr(CVI_TENSOR *tensor, uint64_t paddr);
CVI_API CVI_RC CVI_NN_SetTensorWithAlignedFrames(CVI_TENSOR *tensor, uint64_t frame_paddrs[],
                                                 int32_t frame_num,
                                                 CVI_NN_PIXEL_FORMAT_E pixel_format);
/* deprecated */
CVI_API CVI_RC CVI_NN_SetTensorWithVideoFrame(CVI_MODEL_HANDLE model, CVI_TENSOR *tensor,
                                              CVI_VIDEO_FRAME_INFO *video_frame_info);
CVI_API CVI_RC CVI_NN_FeedTensorWithFrames(CVI_MODEL_HANDLE model, CVI_TENSOR *tensor,
                                           CVI_FRAME_TYPE type, CVI_FMT format, int32_t channel_num,
                                           uint64_t *channel_paddrs, int32_t height, int32_t width,
                                           uint32_t height_stride);

/* ---- extensions of this library ---- */

/* Text of the last failure in this thread, "" if none. Valid until the next call of this thread. */
CVI_API const char *CVI_NN_GetLastError(void);

/* Messages up to this level are written to stderr: 0 fatal, 3 error, 4 warning (default), 5 notice,
 * 6 info, 7 debug. The environment variable CVI_NN_LOG sets the initial level. */
CVI_API void CVI_NN_Global_SetLogLevel(int level);

/* Receives the messages instead of stderr; NULL restores stderr. May be called from any thread. */
typedef void (*CVI_NN_LOG_CB)(int level, const char *message);
CVI_API void CVI_NN_Global_SetLogCallback(CVI_NN_LOG_CB callback);

#ifdef __cplusplus
}
#endif

#endif
