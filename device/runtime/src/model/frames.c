/* Image frames in device memory, rows padded to the alignment of the video hardware
 * (api/cvi_nn.md section 4). */
#include <string.h>

#include "tensor.h"

/* Image geometry of one batch element in bytes. */
typedef struct {
  uint32_t planes, rows, row_bytes;
} geometry;

/* The tensor decides, not the format of the frame (as in the vendor's runtime). */
static bool is_packed(const mf_tensor *t) {
  bool named =
      t->pixel_format == CVI_NN_PIXEL_RGB_PACKED || t->pixel_format == CVI_NN_PIXEL_BGR_PACKED;
  return named || (t->pixel_format == CVI_NN_PIXEL_TENSOR && t->dim[3] == 3);
}

/* Packed tensors are stored as [n, h, w, 3], all others as [n, c, h, w]. */
static geometry geometry_of(const mf_tensor *t) {
  const int32_t *d = t->dim;
  uint32_t elem = mf_elem_size(t->fmt);
  if (!is_packed(t)) {
    return (geometry){(uint32_t)d[1], (uint32_t)d[2], (uint32_t)d[3] * elem};
  }
  bool nhwc = d[3] == 3;
  uint32_t c = (uint32_t)(nhwc ? d[3] : d[1]), h = (uint32_t)(nhwc ? d[1] : d[2]);
  uint32_t w = (uint32_t)(nhwc ? d[2] : d[3]);
  return (geometry){1, h, w * c * elem};
}

/* Where the tensor lives now, as block and offset; INVALID_ARG for system memory. */
static CVI_RC target_of(const rt_tensor_ref *ref, rt_block **block, uint64_t *offset) {
  uint64_t paddr = rt_tensor_paddr(ref->inst, ref->index);
  const rt_tensor *t = &ref->inst->tensors[ref->index];
  *block = t->block ? rt_block_at(paddr, t->info->mem_size, offset) : NULL;
  if (!*block) {
    return rt_fail(CVI_RC_INVALID_ARG, "tensor '%.60s' is not in device memory",
                   ref->inst->tensors[ref->index].info->name);
  }
  return CVI_RC_SUCCESS;
}

/* Copy `planes` images of rows x row_bytes with padded rows from device memory at `paddr` to
 * `out` without gaps (stride 0: one piece of row_bytes). */
static CVI_RC compact(const rt_tensor_ref *ref, uint64_t paddr, geometry g, uint64_t row_stride,
                      rt_base out) {
  uint64_t rows = (uint64_t)g.planes * g.rows, offset;
  if (rows == 0 || g.row_bytes == 0) {
    return CVI_RC_SUCCESS;
  }
  uint64_t need = (rows - 1) * row_stride + g.row_bytes;
  rt_block *block = rt_block_at(paddr, need, &offset);
  if (!block) {
    return rt_fail(CVI_RC_INVALID_ARG, "frame: no device memory of %llu bytes at 0x%llx",
                   (unsigned long long)need, (unsigned long long)paddr);
  }
  CVI_RC rc = rt_block_copy(ref->inst->model->chip, out, (rt_base){block, offset, need}, rows,
                            g.row_bytes, row_stride);
  rt_block_unref(block);
  return rc;
}

/* After the copies: the tensor is in device memory. */
static CVI_RC filled(const rt_tensor_ref *ref, rt_block *block, CVI_TENSOR *tensor, CVI_RC rc) {
  if (!rc) {
    tensor->paddr = rt_tensor_paddr(ref->inst, ref->index);
    tensor->mem_type = CVI_MEM_DEVICE;
  }
  rt_block_unref(block);
  return rc;
}

/* Frames whose rows are compacted: piece i (frame, or channel) goes to i * piece bytes. */
static CVI_RC copy_rows(const rt_tensor_ref *ref, CVI_TENSOR *tensor, const uint64_t *paddrs,
                        uint32_t count, geometry g) {
  const mf_tensor *info = ref->inst->tensors[ref->index].info;
  uint64_t stride = rt_align(g.row_bytes, mf_row_align(ref->inst->model->chip));
  uint64_t piece = (uint64_t)g.planes * g.rows * g.row_bytes, offset;
  if (piece * count > info->mem_size) {
    return rt_fail(CVI_RC_INVALID_ARG, "%u frames of %llu bytes for a tensor of %llu", count,
                   (unsigned long long)piece, (unsigned long long)info->mem_size);
  }
  rt_block *block;
  CVI_RC rc = target_of(ref, &block, &offset);
  if (rc) {
    return rc;
  }
  for (uint32_t i = 0; i < count && !rc; i++) {
    rc = compact(ref, paddrs[i], g, stride, (rt_base){block, offset + i * piece, piece});
  }
  return filled(ref, block, tensor, rc);
}

/* Frames that have the layout of the (aligned) tensor. */
static CVI_RC copy_whole(const rt_tensor_ref *ref, CVI_TENSOR *tensor, const uint64_t *paddrs,
                         uint32_t count) {
  const mf_tensor *info = ref->inst->tensors[ref->index].info;
  if (info->dim[0] == 1 && count == 1) {
    return rt_set_paddr(ref, tensor, paddrs[0]);
  }
  uint64_t frame =
      rt_align(info->mem_size / (uint32_t)info->dim[0], mf_row_align(ref->inst->model->chip));
  rt_block *block;
  uint64_t offset;
  CVI_RC rc = target_of(ref, &block, &offset);
  if (rc) {
    return rc;
  }
  for (uint32_t i = 0; i < count && !rc && i * frame < info->mem_size; i++) {
    uint64_t left = info->mem_size - i * frame;
    geometry whole = {1, 1, (uint32_t)(frame < left ? frame : left)};
    rc = compact(ref, paddrs[i], whole, 0, (rt_base){block, offset + i * frame, whole.row_bytes});
  }
  return filled(ref, block, tensor, rc);
}

CVI_RC CVI_NN_SetTensorWithAlignedFrames(CVI_TENSOR *tensor, uint64_t frame_paddrs[],
                                         int32_t frame_num, CVI_NN_PIXEL_FORMAT_E pixel_format) {
  rt_tensor_ref ref;
  CVI_RC rc = frame_paddrs ? rt_tensor_enter(tensor, &ref)
                           : rt_fail(CVI_RC_INVALID_ARG, "SetTensorWithAlignedFrames: NULL");
  if (rc) {
    return rc;
  }
  const mf_tensor *info = ref.inst->tensors[ref.index].info;
  if (frame_num < 1 || frame_num > info->dim[0]) {
    rc = rt_fail(CVI_RC_INVALID_ARG, "%d frames for batch %d", frame_num, info->dim[0]);
  } else if (!info->aligned) {
    rc = copy_rows(&ref, tensor, frame_paddrs, (uint32_t)frame_num, geometry_of(info));
  } else if (pixel_format != info->pixel_format) {
    rc = rt_fail(CVI_RC_INVALID_ARG, "frame format %d, tensor '%.60s' has %d", pixel_format,
                 info->name, info->pixel_format);
  } else {
    rc = copy_whole(&ref, tensor, frame_paddrs, (uint32_t)frame_num);
  }
  rt_tensor_leave(&ref);
  return rc;
}

/* The deprecated functions: one address per channel (one for packed images). */
static CVI_RC feed_channels(const rt_tensor_ref *ref, CVI_TENSOR *tensor, const uint64_t *paddrs,
                            int32_t available) {
  const mf_tensor *info = ref->inst->tensors[ref->index].info;
  if (info->dim[0] != 1) {
    return rt_fail(CVI_RC_INVALID_ARG, "video frame for batch %d", info->dim[0]);
  }
  if (info->aligned) {
    return copy_whole(ref, tensor, paddrs, 1);
  }
  geometry g = geometry_of(info);
  if ((uint32_t)available < g.planes) {
    return rt_fail(CVI_RC_INVALID_ARG, "%d channel addresses for %u channels", available, g.planes);
  }
  return copy_rows(ref, tensor, paddrs, g.planes, (geometry){1, g.rows, g.row_bytes});
}

CVI_RC CVI_NN_SetTensorWithVideoFrame(CVI_MODEL_HANDLE model, CVI_TENSOR *tensor,
                                      CVI_VIDEO_FRAME_INFO *video_frame_info) {
  (void)model;
  rt_tensor_ref ref;
  CVI_RC rc = video_frame_info ? rt_tensor_enter(tensor, &ref)
                               : rt_fail(CVI_RC_INVALID_ARG, "SetTensorWithVideoFrame: NULL");
  if (rc) {
    return rc;
  }
  const mf_tensor *info = ref.inst->tensors[ref.index].info;
  const int32_t *given = video_frame_info->shape.dim;
  if (given[1] != info->dim[1] || given[2] != info->dim[2] || given[3] != info->dim[3]) {
    rc = rt_fail(CVI_RC_DATA_ERR, "frame %d x %d x %d, tensor '%.60s' is %d x %d x %d", given[1],
                 given[2], given[3], info->name, info->dim[1], info->dim[2], info->dim[3]);
  } else {
    rc = feed_channels(&ref, tensor, video_frame_info->pyaddr, 3);
  }
  rt_tensor_leave(&ref);
  return rc;
}

CVI_RC CVI_NN_FeedTensorWithFrames(CVI_MODEL_HANDLE model, CVI_TENSOR *tensor, CVI_FRAME_TYPE type,
                                   CVI_FMT format, int32_t channel_num, uint64_t *channel_paddrs,
                                   int32_t height, int32_t width, uint32_t height_stride) {
  (void)model, (void)type, (void)format, (void)height_stride;
  rt_tensor_ref ref;
  CVI_RC rc = channel_paddrs && channel_num > 0
                  ? rt_tensor_enter(tensor, &ref)
                  : rt_fail(CVI_RC_INVALID_ARG, "FeedTensorWithFrames: no channels");
  if (rc) {
    return rc;
  }
  const mf_tensor *info = ref.inst->tensors[ref.index].info;
  bool nhwc = is_packed(info) && info->dim[3] == 3;
  int32_t h = nhwc ? info->dim[1] : info->dim[2], w = nhwc ? info->dim[2] : info->dim[3];
  if (height != h || width != w) {
    rc = rt_fail(CVI_RC_DATA_ERR, "frame %d x %d, tensor '%.60s' is %d x %d", height, width,
                 info->name, h, w);
  } else {
    rc = feed_channels(&ref, tensor, channel_paddrs, channel_num);
  }
  rt_tensor_leave(&ref);
  return rc;
}
