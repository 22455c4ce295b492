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


# ---- every format on every chip ----

FORMATS = {
    "RGB_PACKED": 0,
    "BGR_PACKED": 1,
    "RGB_PLANAR": 2,
    "BGR_PLANAR": 3,
    "YUV_NV12": 11,
    "YUV_NV21": 12,
    "YUV420_PLANAR": 13,
    "GRAYSCALE": 15,
    "RGBA_PLANAR": 1000,
}
SIZES = [(20, 24), (2, 2), (6, 64), (4, 130)]


def al(x: int, unit: int) -> int:
    return -(-x // unit) * unit


def channels(pixels: str) -> int:
    return {"GRAYSCALE": 1, "RGBA_PLANAR": 4}.get(pixels, 3)


def shape_of(pixels: str, n: int, h: int, w: int) -> list[int]:
    return [n, h, w, 3] if "PACKED" in pixels else [n, channels(pixels), h, w]


def aligned_bytes(chip: str, pixels: str, h: int, w: int) -> int:
    """One image, formats/cvimodel.md section 7.3."""
    row, channel = (32, 4096) if chip == "cv183x" else (64, 64)
    luma = 2 * row if pixels == "YUV420_PLANAR" else row
    if "PACKED" in pixels:
        return h * al(w * 3, row)
    if pixels == "GRAYSCALE":
        return h * al(w, row)
    if pixels.startswith("YUV_NV"):
        return al(al(h * al(w, luma), channel) + h // 2 * al(w, row), channel)
    if pixels == "YUV420_PLANAR":
        chroma = h // 2 * al(w // 2, row)
        return al(al(al(h * al(w, luma), channel) + chroma, channel) + chroma, channel)
    return channels(pixels) * al(al(w, row) * h, channel)


@pytest.mark.parametrize("chip", b.CHIPS)
@pytest.mark.parametrize("pixels", FORMATS)
def test_aligned_frames_of_every_format(c, pixels, chip):
    """Batch 1: the buffer is the frame. Batch 2: every frame is copied whole, one after the other,
    each to a multiple of the row alignment."""
    rng = np.random.default_rng(5)
    for h, w in SIZES:
        one, row = aligned_bytes(chip, pixels, h, w), 32 if chip == "cv183x" else 64
        for n in (1, 2):
            model = image_model(shape_of(pixels, n, h, w), pixels, aligned=True, chip=chip)
            assert model.ins.mem_size == n * one and one % row == 0
            memory = cvi_nn.Context().alloc(2 * one)
            memory.view()[:] = rng.integers(0, 256, 2 * one)
            places = [memory.paddr + i * one for i in range(n)][::-1]
            paddrs, wanted = ffi.new("uint64_t[]", places), FORMATS[pixels]
            for other in FORMATS.values():
                if other != wanted:
                    bad = c.CVI_NN_SetTensorWithAlignedFrames(model.ins, paddrs, n, other)
                    assert bad == code("INVALID_ARG")
            assert c.CVI_NN_SetTensorWithAlignedFrames(model.ins, paddrs, n, wanted) == 0
            assert model.forward() == 0
            frames = memory.view()[: n * one].reshape(n, one)[::-1]
            assert bytes_of(model.outs[0], n * one).tobytes() == frames.tobytes()
            assert (model.ins.paddr == places[0]) == (n == 1)
            model.close()


@pytest.mark.parametrize("chip", b.CHIPS)
@pytest.mark.parametrize("pixels", [name for name in FORMATS if "YUV" not in name])
def test_padded_frames_of_every_format(c, pixels, chip):
    """Rows (planes x rows of w, packed rows of 3 w) are padded to the alignment of the chip."""
    rng = np.random.default_rng(6)
    align = 32 if chip == "cv183x" else 64
    for h, w in SIZES:
        shape = shape_of(pixels, 2, h, w)
        model = image_model(shape, pixels, chip=chip)
        rows = (1, h, 3 * w) if "PACKED" in pixels else (channels(pixels), h, w)
        images = rng.integers(0, 256, (2, *rows)).astype(np.uint8)
        memory = cvi_nn.Context().alloc(1 << 15)
        places = [padded_frame(memory, i << 14, images[i], align) for i in range(2)]
        paddrs = ffi.new("uint64_t[]", places)
        assert c.CVI_NN_SetTensorWithAlignedFrames(model.ins, paddrs, 2, FORMATS[pixels]) == 0
        assert model.forward() == 0
        assert bytes_of(model.outs[0], images.size).tobytes() == images.tobytes()
        model.close()


def test_video_frames_of_aligned_and_packed_tensors(c):
    """An aligned tensor takes the first address; a packed one a single plane."""
    model = image_model([1, 3, 20, 24], "RGB_PLANAR", aligned=True)
    memory = cvi_nn.Context().alloc(4096)
    memory.view()[:] = np.arange(4096) % 251
    frame = ffi.new("CVI_VIDEO_FRAME_INFO *")
    frame.type, frame.shape.dim, frame.pyaddr = 101, [1, 3, 20, 24, 0, 0], [memory.paddr, 1, 2]
    assert c.CVI_NN_SetTensorWithVideoFrame(model.raw, model.ins, frame) == 0
    assert model.ins.paddr == memory.paddr and model.forward() == 0
    assert bytes_of(model.outs[0], 3840).tobytes() == memory.view()[:3840].tobytes()
    model.close()
    model = image_model([1, 5, 7, 3], "BGR_PACKED")
    image = np.random.default_rng(7).integers(0, 256, (1, 5, 21)).astype(np.uint8)
    place = ffi.new("uint64_t[]", [padded_frame(memory, 0, image, 64)])
    args = (model.raw, model.ins, 102, 7)
    assert c.CVI_NN_FeedTensorWithFrames(*args, 1, place, 5, 7, 0) == 0
    assert model.forward() == 0 and bytes_of(model.outs[0], 105).tobytes() == image.tobytes()
    assert c.CVI_NN_FeedTensorWithFrames(*args, 0, place, 5, 7, 0) == code("INVALID_ARG")
    assert c.CVI_NN_FeedTensorWithFrames(*args, 1, ffi.NULL, 5, 7, 0) == code("INVALID_ARG")
    assert c.CVI_NN_SetTensorWithVideoFrame(model.raw, model.ins, ffi.NULL) == code("INVALID_ARG")
    model.close()
    model = image_model([1, 3, 5, 7], "RGB_PLANAR")  # fewer addresses than channels
    assert c.CVI_NN_FeedTensorWithFrames(model.raw, model.ins, 101, 7, 2, place, 5, 7, 0) == code(
        "INVALID_ARG"
    )
    model.close()
    model = image_model([2, 3, 5, 7], "RGB_PLANAR")  # only one image
    frame.shape.dim = [2, 3, 5, 7, 0, 0]
    bad = c.CVI_NN_SetTensorWithVideoFrame(model.raw, model.ins, frame)
    assert bad == code("INVALID_ARG")
    model.close()


def test_frames_for_tensors_in_system_memory(c):
    tensor = b.Tensor("x", [1, 3, 5, 7], "uint8", pixel_format="RGB_PLANAR")
    model = Handle(b.Model([b.Program(["x"], ["x"], [tensor])]).write())
    memory = cvi_nn.Context().alloc(4096)
    paddrs = ffi.new("uint64_t[]", [memory.paddr])
    bad = c.CVI_NN_SetTensorWithAlignedFrames(model.ins, paddrs, 1, 2)
    assert bad == code("INVALID_ARG")
    assert b"not in device memory" in ffi.string(c.CVI_NN_GetLastError())
    model.close()
