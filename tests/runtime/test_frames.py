"""Image frames in device memory (api/cvi_nn.md section 4, formats/cvimodel.md section 7.3)."""

import cvi_nn
import numpy as np
import pytest
from cvi_nn._cviruntime_cffi import ffi
from cvi_nn._lib import load
from runtime import builder as b
from runtime.test_api import Handle, bytes_of, code


@pytest.fixture
def c():
    return load().c


def image_model(shape, pixels=None, aligned=False, chip="cv181x", dtype="uint8"):
    tensor = b.Tensor("x", shape, dtype, b.io(3), pixel_format=pixels, aligned=aligned)
    return Handle(b.Model([b.Program(["x"], ["x"], [tensor])], chip=chip).write())


def padded_frame(memory, offset, image, align):
    """Write planes x rows x bytes with padded rows; returns the address."""
    planes, rows, width = image.shape
    stride = -(-width // align) * align
    frame = memory.view()[offset : offset + planes * rows * stride].reshape(planes, rows, stride)
    frame[...] = 0xEE
    frame[:, :, :width] = image
    return memory.paddr + offset


@pytest.mark.parametrize(("chip", "align"), [("cv183x", 32), ("cv181x", 64), ("cv180x", 64)])
@pytest.mark.parametrize("packed", [False, True])
def test_frames_with_padded_rows_are_compacted(c, chip, align, packed):
    rng = np.random.default_rng(3)
    shape = [2, 5, 7, 3] if packed else [2, 3, 5, 7]
    h = image_model(shape, "RGB_PACKED" if packed else "RGB_PLANAR", chip=chip)
    images = rng.integers(0, 256, (2, 1, 5, 21) if packed else (2, 3, 5, 7)).astype(np.uint8)
    memory = cvi_nn.Context().alloc(8192)
    addresses = [padded_frame(memory, 4096 * i, images[i], align) for i in range(2)]
    paddrs = ffi.new("uint64_t[]", addresses)
    assert c.CVI_NN_SetTensorWithAlignedFrames(h.ins, paddrs, 2, 0 if packed else 2) == 0
    assert h.ins.mem_type == 2 and h.forward() == 0
    assert bytes_of(h.outs[0], 210).tobytes() == images.tobytes()
    for count, pointer in ((0, paddrs), (3, paddrs), (1, ffi.NULL)):
        assert c.CVI_NN_SetTensorWithAlignedFrames(h.ins, pointer, count, 2) == code("INVALID_ARG")
    h.close()


def test_aligned_tensors_take_frames_whole(c):
    h = image_model([1, 3, 20, 24], "YUV420_PLANAR", aligned=True)
    memory = cvi_nn.Context().alloc(4096)
    memory.view()[:] = np.arange(4096) % 251
    paddrs = ffi.new("uint64_t[]", [memory.paddr])
    assert c.CVI_NN_SetTensorWithAlignedFrames(h.ins, paddrs, 1, 2) == code("INVALID_ARG")
    assert c.CVI_NN_SetTensorWithAlignedFrames(h.ins, paddrs, 1, 13) == 0
    assert h.ins.paddr == memory.paddr  # no copy
    assert h.forward() == 0
    assert bytes_of(h.outs[0], 3840).tobytes() == memory.view()[:3840].tobytes()
    h.close()
    h = image_model([2, 3, 20, 24], "RGB_PLANAR", aligned=True)
    assert (
        c.CVI_NN_SetTensorWithAlignedFrames(h.ins, ffi.new("uint64_t[]", [memory.paddr] * 2), 2, 2)
        == 0
    )
    assert h.forward() == 0
    got = bytes_of(h.outs[0], 7680).tobytes()
    assert got[:3840] == got[3840:] == memory.view()[:3840].tobytes()
    h.close()


def test_deprecated_frame_functions(c):
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (3, 5, 7)).astype(np.uint8)
    h = image_model([1, 3, 5, 7], "RGB_PLANAR")
    memory = cvi_nn.Context().alloc(3 * 4096)
    addresses = [padded_frame(memory, 4096 * i, image[i : i + 1], 64) for i in range(3)]
    paddrs = ffi.new("uint64_t[]", addresses)
    assert c.CVI_NN_FeedTensorWithFrames(h.raw, h.ins, 101, 7, 3, paddrs, 5, 7, 64) == 0
    assert h.forward() == 0 and bytes_of(h.outs[0], 105).tobytes() == image.tobytes()
    wrong = c.CVI_NN_FeedTensorWithFrames(h.raw, h.ins, 101, 7, 3, paddrs, 6, 7, 64)
    assert wrong == code("DATA_ERR")
    frame = ffi.new("CVI_VIDEO_FRAME_INFO *")
    frame.type, frame.shape.dim, frame.pyaddr = 101, [1, 3, 5, 7, 0, 0], addresses[::-1]
    assert c.CVI_NN_SetTensorWithVideoFrame(h.raw, h.ins, frame) == 0
    assert h.forward() == 0 and bytes_of(h.outs[0], 105).tobytes() == image[::-1].tobytes()
    frame.shape.dim[2] = 6
    assert c.CVI_NN_SetTensorWithVideoFrame(h.raw, h.ins, frame) == code("DATA_ERR")
    h.close()


def test_frames_outside_of_memory(c):
    h = image_model([1, 3, 5, 7], "RGB_PLANAR")
    memory = cvi_nn.Context().alloc(15 * 64 - 58)
    paddrs = ffi.new("uint64_t[]", [memory.paddr])
    assert c.CVI_NN_SetTensorWithAlignedFrames(h.ins, paddrs, 1, 2) == code("INVALID_ARG")
    h.close()
