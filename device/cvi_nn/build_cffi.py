"""Generate `_cviruntime_cffi.py`, the out-of-line ABI-mode description of the C API.

Run `python build_cffi.py` after a change of CDEF; a test compares the result with the checked-in
file. Only this script needs the cffi parser; the package itself works without a compiler.
Layouts: api/cvi_nn.md section 2.2.
"""

from pathlib import Path

CDEF = """
typedef int CVI_RC;
typedef void *CVI_RT_HANDLE;
typedef void *CVI_RT_MEM;
typedef void *CVI_MODEL_HANDLE;

typedef struct {
    uint64_t gaddr_base[8];
} CVI_RT_ARRAYBASE;

typedef struct {
    int32_t dim[6];
    size_t dim_size;
} CVI_SHAPE;

typedef struct {
    char *name;
    CVI_SHAPE shape;
    int fmt;
    size_t count;
    size_t mem_size;
    uint8_t *sys_mem;
    uint64_t paddr;
    int mem_type;
    float qscale;
    int zero_point;
    int pixel_format;
    bool aligned;
    float mean[3];
    float scale[3];
    void *owner;
    char reserved[32];
} CVI_TENSOR;

typedef struct {
    int type;
    CVI_SHAPE shape;
    int fmt;
    uint32_t stride[3];
    uint64_t pyaddr[3];
} CVI_VIDEO_FRAME_INFO;

CVI_RC CVI_NN_RegisterModel(const char *model_file, CVI_MODEL_HANDLE *model);
CVI_RC CVI_NN_RegisterModelFromBuffer(const int8_t *buf, uint32_t size, CVI_MODEL_HANDLE *model);
CVI_RC CVI_NN_RegisterModelFromFd(int fd, size_t ud_offset, CVI_MODEL_HANDLE *model);
CVI_RC CVI_NN_CloneModel(CVI_MODEL_HANDLE model, CVI_MODEL_HANDLE *cloned);
CVI_RC CVI_NN_SetConfig(CVI_MODEL_HANDLE model, int option, ...);
CVI_RC CVI_NN_GetModelVersion(CVI_MODEL_HANDLE model, int32_t *major, int32_t *minor);
const char *CVI_NN_GetModelTarget(CVI_MODEL_HANDLE model);
CVI_RC CVI_NN_GetInputOutputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **inputs,
    int32_t *input_num, CVI_TENSOR **outputs, int32_t *output_num);
CVI_RC CVI_NN_GetInputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **inputs, int32_t *input_num);
CVI_RC CVI_NN_GetOutputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **outputs, int32_t *output_num);
CVI_RC CVI_NN_Forward(CVI_MODEL_HANDLE model, CVI_TENSOR inputs[], int32_t input_num,
    CVI_TENSOR outputs[], int32_t output_num);
CVI_RC CVI_NN_ForwardAsync(CVI_MODEL_HANDLE model, CVI_TENSOR inputs[], int32_t input_num,
    CVI_TENSOR outputs[], int32_t output_num, void **task_no);
CVI_RC CVI_NN_ForwardWait(CVI_MODEL_HANDLE model, void *task_no);
CVI_RC CVI_NN_CleanupModel(CVI_MODEL_HANDLE model);
void CVI_NN_Global_SetSharedMemorySize(size_t size);

CVI_TENSOR *CVI_NN_GetTensorByName(const char *name, CVI_TENSOR *tensors, int32_t num);
char *CVI_NN_TensorName(CVI_TENSOR *tensor);
void *CVI_NN_TensorPtr(CVI_TENSOR *tensor);
size_t CVI_NN_TensorSize(CVI_TENSOR *tensor);
size_t CVI_NN_TensorCount(CVI_TENSOR *tensor);
float CVI_NN_TensorQuantScale(CVI_TENSOR *tensor);
int CVI_NN_TensorQuantZeroPoint(CVI_TENSOR *tensor);
CVI_SHAPE CVI_NN_TensorShape(CVI_TENSOR *tensor);
CVI_RC CVI_NN_SetTensorPtr(CVI_TENSOR *tensor, void *mem);
CVI_RC CVI_NN_SetTensorPhysicalAddr(CVI_TENSOR *tensor, uint64_t paddr);
CVI_RC CVI_NN_SetTensorWithAlignedFrames(CVI_TENSOR *tensor, uint64_t frame_paddrs[],
    int32_t frame_num, int pixel_format);
CVI_RC CVI_NN_SetTensorWithVideoFrame(CVI_MODEL_HANDLE model, CVI_TENSOR *tensor,
    CVI_VIDEO_FRAME_INFO *video_frame_info);
CVI_RC CVI_NN_FeedTensorWithFrames(CVI_MODEL_HANDLE model, CVI_TENSOR *tensor, int type,
    int format, int32_t channel_num, uint64_t *channel_paddrs, int32_t height, int32_t width,
    uint32_t height_stride);

const char *CVI_NN_GetLastError(void);
void CVI_NN_Global_SetLogLevel(int level);

CVI_RC CVI_RT_Init(CVI_RT_HANDLE *rt_handle);
CVI_RC CVI_RT_DeInit(CVI_RT_HANDLE rt_handle);
CVI_RT_MEM CVI_RT_MemAlloc(CVI_RT_HANDLE rt_handle, uint64_t size);
CVI_RT_MEM CVI_RT_MemPreAlloc(CVI_RT_MEM mem, uint64_t offset, uint64_t size);
void CVI_RT_MemFree(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem);
void CVI_RT_MemFreeEx(uint64_t p_addr);
uint64_t CVI_RT_MemGetSize(CVI_RT_MEM mem);
uint64_t CVI_RT_MemGetPAddr(CVI_RT_MEM mem);
uint8_t *CVI_RT_MemGetVAddr(CVI_RT_MEM mem);
int32_t CVI_RT_MemIncRef(CVI_RT_MEM mem);
int32_t CVI_RT_MemDecRef(CVI_RT_MEM mem);
CVI_RC CVI_RT_MemFlush(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem);
CVI_RC CVI_RT_MemInvld(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem);
CVI_RC CVI_RT_MemFlushEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem, uint64_t len);
CVI_RC CVI_RT_MemInvldEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM mem, uint64_t len);
CVI_RC CVI_RT_MemCopyS2D(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dst, uint8_t *src);
CVI_RC CVI_RT_MemCopyS2DEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dst, uint64_t offset,
    uint64_t len, uint8_t *src);
CVI_RC CVI_RT_MemCopyD2S(CVI_RT_HANDLE rt_handle, uint8_t *dst, CVI_RT_MEM src);
CVI_RC CVI_RT_Global_SetMemAllocCallback(
    CVI_RT_MEM (*alloc_cb)(CVI_RT_HANDLE, uint64_t, int, const char *),
    void (*free_cb)(CVI_RT_HANDLE, CVI_RT_MEM));
void CVI_RT_Global_ResetMemAllocCallback(void);
CVI_RC CVI_RT_LoadCmdbuf(CVI_RT_HANDLE rt_handle, uint8_t *cmdbuf, uint64_t sz,
    uint64_t gaddr_base0, uint64_t gaddr_base1, bool enable_pmu, CVI_RT_MEM *cmdbuf_mem);
CVI_RC CVI_RT_LoadDmabuf(CVI_RT_HANDLE rt_handle, CVI_RT_MEM dmabuf, uint64_t sz,
    uint64_t gaddr_base0, uint64_t gaddr_base1, bool enable_pmu, CVI_RT_MEM *dmabuf_mem);
CVI_RC CVI_RT_RunCmdbuf(CVI_RT_HANDLE rt_handle, CVI_RT_MEM cmdbuf_mem, uint64_t gaddr_base2,
    uint64_t gaddr_base3);
CVI_RC CVI_RT_RunCmdbufEx(CVI_RT_HANDLE rt_handle, CVI_RT_MEM cmdbuf_mem,
    CVI_RT_ARRAYBASE *p_array_base);
CVI_RC CVI_RT_SetBaseReg(CVI_RT_HANDLE rt_handle, uint32_t inx, uint64_t base_addr);
"""

MODULE = "_cviruntime_cffi"


def generate(path: Path) -> None:
    """Write the module to `path`."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(CDEF)
    ffi.set_source(MODULE, None)
    ffi.emit_python_code(str(path))
    path.write_text("# ruff: noqa\n# fmt: off\n" + path.read_text())


if __name__ == "__main__":
    generate(Path(__file__).with_name(MODULE + ".py"))
