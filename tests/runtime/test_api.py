"""Behaviour of the CVI_NN functions, called directly (api/cvi_nn.md sections 3 to 6)."""

import os

import cvi_nn
import numpy as np
import pytest
from cvi_nn._cviruntime_cffi import ffi
from cvi_nn._lib import load
from cvi_nn.errors import CODES
from runtime import builder as b

DATA = np.arange(64, dtype=np.int8)


def code(name: str) -> int:
    return {text: number for number, text in CODES.items()}[name]


@pytest.fixture
def c():
    return load().c


class Handle:
    """A registered model and its tensor arrays."""

    def __init__(self, data: bytes, tensors: bool = True) -> None:
        self.c = load().c
        out = ffi.new("CVI_MODEL_HANDLE *")
        assert (
            self.c.CVI_NN_RegisterModelFromBuffer(ffi.from_buffer("int8_t[]", data), len(data), out)
            == 0
        )
        self.raw = out[0]
        if tensors:
            self.tensors()

    def tensors(self) -> None:
        arrays, counts = ffi.new("CVI_TENSOR *[2]"), ffi.new("int32_t[2]")
        assert (
            self.c.CVI_NN_GetInputOutputTensors(self.raw, arrays, counts, arrays + 1, counts + 1)
            == 0
        )
        self.ins, self.outs = arrays[0], arrays[1]
        self.nin, self.nout = counts[0], counts[1]

    def forward(self) -> int:
        return self.c.CVI_NN_Forward(self.raw, self.ins, self.nin, self.outs, self.nout)

    def close(self) -> int:
        return self.c.CVI_NN_CleanupModel(self.raw)


@pytest.fixture
def tiny():
    handle = Handle(b.tiny().write())
    yield handle
    handle.close()


def bytes_of(tensor, size: int = 64) -> np.ndarray:
    return np.frombuffer(ffi.buffer(tensor.sys_mem, size), np.int8)


# ---- 3.1, 3.7 ----


def test_register_with_null_and_bad_arguments(c):
    out = ffi.new("CVI_MODEL_HANDLE *", ffi.cast("void *", 5))
    bad = code("INVALID_ARG")
    assert c.CVI_NN_RegisterModel(ffi.NULL, out) == bad
    assert c.CVI_NN_RegisterModel(b"/nowhere", out) == bad and out[0] == ffi.NULL
    assert c.CVI_NN_RegisterModel(b"/", out) == bad
    assert c.CVI_NN_RegisterModel(b"/dev/null", out) == bad
    assert c.CVI_NN_RegisterModel(b"x", ffi.NULL) == bad
    assert c.CVI_NN_RegisterModelFromBuffer(ffi.NULL, 100, out) == bad
    assert c.CVI_NN_RegisterModelFromFd(-1, 0, out) == bad
    assert "not a file" in ffi.string(c.CVI_NN_GetLastError()).decode()


def test_register_from_descriptor_at_an_offset(c, tmp_path):
    file = tmp_path / "two"
    data = b.tiny().write()
    file.write_bytes(b"prefix!" + data + b"behind")
    out = ffi.new("CVI_MODEL_HANDLE *")
    with file.open("rb") as f:
        assert c.CVI_NN_RegisterModelFromFd(f.fileno(), 7, out) == 0
        assert c.CVI_NN_RegisterModelFromFd(f.fileno(), 10**9, out + 0) == code("INVALID_ARG")
        os.fstat(f.fileno())  # still open
    with file.open("rb") as f:
        assert c.CVI_NN_RegisterModelFromFd(f.fileno(), 7, out) == 0
    assert c.CVI_NN_CleanupModel(out[0]) == 0


def test_buffer_may_change_after_register():
    data = bytearray(b.tiny().write())
    handle = Handle(bytes(data), tensors=False)
    copy = ffi.from_buffer("int8_t[]", data)
    out = ffi.new("CVI_MODEL_HANDLE *")
    assert handle.c.CVI_NN_RegisterModelFromBuffer(copy, len(data), out) == 0
    data[:] = bytes(len(data))
    other = handle.raw
    handle.raw = out[0]
    handle.tensors()
    bytes_of(handle.ins[0])[:] = 3
    assert handle.forward() == 0 and (bytes_of(handle.outs[0]) == 3).all()
    assert handle.close() == 0 and handle.c.CVI_NN_CleanupModel(other) == 0


def test_cleanup_of_null_unknown_and_released_handles(c):
    handle = Handle(b.tiny().write())
    assert c.CVI_NN_CleanupModel(ffi.NULL) == 0
    assert c.CVI_NN_CleanupModel(ffi.cast("void *", 0x1234567)) == code("INVALID_ARG")
    assert handle.close() == 0 and handle.close() == code("INVALID_ARG")
    bad = code("INVALID_ARG")
    raw, out = handle.raw, ffi.new("void **")
    assert handle.forward() == bad
    assert c.CVI_NN_GetInputTensors(raw, ffi.NULL, ffi.NULL) == bad
    assert c.CVI_NN_CloneModel(raw, out) == bad and c.CVI_NN_CloneModel(ffi.NULL, out) == bad
    assert c.CVI_NN_SetConfig(raw, 9, ffi.cast("int", 0)) == bad
    assert c.CVI_NN_ForwardAsync(raw, ffi.NULL, 0, ffi.NULL, 0, out) == bad
    assert c.CVI_NN_GetModelTarget(raw) == ffi.NULL
    assert c.CVI_NN_GetModelVersion(raw, ffi.NULL, ffi.NULL) == bad


def test_several_chips_at_once_and_no_environment_writes():
    before = dict(os.environ)
    models = [cvi_nn.Model(b.tiny(chip).write()) for chip in b.CHIPS]
    assert [m.target for m in models] == list(b.CHIPS)
    for m in models:
        assert (m.forward([DATA.reshape(1, 1, 1, 64)])["out"].ravel() == DATA).all()
    assert dict(os.environ) == before


# ---- 3.3, 3.4 ----


def test_configuration(c):
    handle = Handle(b.tiny().write(), tensors=False)

    def set_config(option: int, value: int = 0) -> int:
        return c.CVI_NN_SetConfig(handle.raw, option, ffi.cast("int", value))

    for option in (1, 2, 3, 5, 6, 7, 8):
        assert set_config(option) == 0
    assert set_config(9, 0) == 0
    for value in (1, -1):
        assert set_config(9, value) == code("INVALID_ARG")
    for option in (0, 10, -1, 1000):
        assert set_config(option) == code("INVALID_ARG")
    handle.tensors()
    for option in (1, 4, 9):
        assert set_config(option) == code("BUSY")
    assert set_config(2) == 0
    handle.close()


def test_tensor_arrays_are_stable_and_initialised(c, tiny):
    first = tiny.ins
    tiny.tensors()
    assert tiny.ins == first
    assert c.CVI_NN_GetInputOutputTensors(tiny.raw, ffi.NULL, ffi.NULL, ffi.NULL, ffi.NULL) == 0
    t = tiny.ins[0]
    assert list(t.shape.dim) == [1, 1, 1, 64, 1, 1] and t.shape.dim_size == 4
    assert list(t.scale) == [1, 1, 1] and list(t.mean) == [0, 0, 0]
    assert bytes(ffi.buffer(t.reserved)) == bytes(32)
    assert (t.fmt, t.count, t.mem_size, t.mem_type, t.pixel_format) == (6, 64, 64, 1, 100)
    assert t.owner == tiny.raw


def test_a_failed_preparation_may_be_repeated(c):
    x = np.zeros(4, np.float32)
    handle = Handle(b.cpu_model("nonsense", {}, [x], [((4,), "fp32")]), tensors=False)
    for _ in range(3):
        assert c.CVI_NN_GetInputTensors(handle.raw, ffi.NULL, ffi.NULL) == code("DATA_ERR")
    assert handle.close() == 0


# ---- 3.5, 3.6 ----


def test_forward_arguments(c, tiny):
    bad = code("INVALID_ARG")
    fresh = Handle(b.tiny().write(), tensors=False)
    assert c.CVI_NN_Forward(fresh.raw, tiny.ins, 1, tiny.outs, 1) == code("UNINIT")
    fresh.close()
    for args in (
        (tiny.ins, 2, tiny.outs, 1),
        (tiny.ins, 1, tiny.outs, 0),
        (tiny.ins, -1, tiny.outs, 1),
        (ffi.NULL, 1, tiny.outs, 1),
        (tiny.ins, 1, ffi.NULL, 1),
    ):
        assert c.CVI_NN_Forward(tiny.raw, *args) == bad
    copy = ffi.new("CVI_TENSOR[1]", [tiny.ins[0]])
    copy[0].sys_mem = ffi.NULL
    assert c.CVI_NN_Forward(tiny.raw, copy, 1, tiny.outs, 1) == bad
    copy[0].mem_type = 7
    assert c.CVI_NN_Forward(tiny.raw, copy, 1, tiny.outs, 1) == bad
    copy[0].mem_type, copy[0].paddr = 2, 0x123
    assert c.CVI_NN_Forward(tiny.raw, copy, 1, tiny.outs, 1) == bad
    assert tiny.forward() == 0


def test_forward_takes_copies_of_the_structs(c, tiny):
    source, result = DATA.copy(), np.zeros(64, np.int8)
    ins, outs = ffi.new("CVI_TENSOR[1]", [tiny.ins[0]]), ffi.new("CVI_TENSOR[1]", [tiny.outs[0]])
    ins[0].sys_mem = ffi.from_buffer("uint8_t[]", source)
    assert c.CVI_NN_SetTensorPtr(outs, ffi.from_buffer(result)) == 0
    assert c.CVI_NN_Forward(tiny.raw, ins, 1, outs, 1) == 0
    assert (result == DATA).all()


def test_device_tensors_in_private_memory_are_copied_whole(c):
    """fp32 in private memory: the vendor copies a quarter of it."""
    tensors = [b.Tensor("x", [16], "fp32", b.io(2)), b.Tensor("y", [16], "fp32", b.io(2, 64))]
    stream = b.copy_command("cv181x", (2, 0), (2, 64), 64)
    program = b.Program(["x"], ["y"], tensors, [b.Routine(["x"], ["y"], section="s")], private=128)
    handle = Handle(b.Model([program], [b.Section(1, "s", stream)]).write())
    context = cvi_nn.Context()
    a, z = context.alloc(64), context.alloc(64)
    a.view(np.float32)[:] = np.arange(16)
    assert c.CVI_NN_SetTensorPhysicalAddr(handle.ins, a.paddr) == 0
    assert c.CVI_NN_SetTensorPhysicalAddr(handle.outs, z.paddr) == 0
    assert handle.ins.paddr == a.paddr and handle.ins.mem_type == 2
    assert handle.forward() == 0
    assert (z.view(np.float32) == np.arange(16)).all()
    handle.close()


def test_async_handles(c, tiny):
    other = Handle(b.tiny().write())
    task = ffi.new("void **")
    args = (tiny.ins, 1, tiny.outs, 1)
    assert c.CVI_NN_ForwardAsync(tiny.raw, *args, ffi.NULL) == code("INVALID_ARG")
    assert c.CVI_NN_ForwardAsync(tiny.raw, *args, task) == 0
    assert c.CVI_NN_ForwardWait(other.raw, task[0]) == code("INVALID_ARG")
    assert c.CVI_NN_ForwardWait(tiny.raw, ffi.NULL) == code("INVALID_ARG")
    assert c.CVI_NN_ForwardWait(tiny.raw, task[0]) == 0
    assert c.CVI_NN_ForwardWait(tiny.raw, task[0]) == code("INVALID_ARG")
    assert c.CVI_NN_ForwardAsync(tiny.raw, tiny.ins, 5, tiny.outs, 1, task) == 0
    assert c.CVI_NN_ForwardWait(tiny.raw, task[0]) == code("INVALID_ARG")
    assert "5 inputs" in ffi.string(c.CVI_NN_GetLastError()).decode()
    assert c.CVI_NN_ForwardAsync(other.raw, other.ins, 1, other.outs, 1, task) == 0
    assert other.close() == 0  # finishes the task
    assert c.CVI_NN_ForwardWait(other.raw, task[0]) == code("INVALID_ARG")


# ---- 4 ----


def test_tensor_by_name(c):
    names = ["in_1", "in*2", "other"]
    model = b.Model([b.Program(names, names, [b.Tensor(n, [4]) for n in names])])
    h = Handle(model.write())

    def find(name, count=3):
        found = c.CVI_NN_GetTensorByName(name, h.ins, count)
        return None if found == ffi.NULL else ffi.string(c.CVI_NN_TensorName(found)).decode()

    assert find(b"other") == "other" and find(b"othe") is None
    assert find(b"in*") == "in_1" and find(b"*") == "in_1" and find(b"o*") == "other"
    assert find(b"in*2") == "in*2" and find(b"x*") is None and find(b"") is None
    assert find(ffi.NULL) is None and find(ffi.NULL, 1) == "in_1"
    assert find(b"other", 2) is None and find(b"other", 0) is None
    assert c.CVI_NN_GetTensorByName(b"x", ffi.NULL, 3) == ffi.NULL
    h.close()


def test_accessors(c, tiny):
    t = tiny.ins
    assert c.CVI_NN_TensorSize(t) == 64 and c.CVI_NN_TensorCount(t) == 64
    assert c.CVI_NN_TensorQuantScale(t) == 1 and c.CVI_NN_TensorQuantZeroPoint(t) == 0
    assert c.CVI_NN_TensorShape(t).dim[3] == 64 and c.CVI_NN_TensorPtr(t) == t.sys_mem
    assert c.CVI_NN_SetTensorPtr(t, ffi.NULL) == code("INVALID_ARG")
    t.mem_type = 2
    assert c.CVI_NN_TensorPtr(t) == ffi.NULL
    t.mem_type = 1
    for call in (c.CVI_NN_TensorSize, c.CVI_NN_TensorCount, c.CVI_NN_TensorQuantScale):
        assert call(ffi.NULL) == 0
    assert c.CVI_NN_TensorPtr(ffi.NULL) == ffi.NULL and c.CVI_NN_TensorName(ffi.NULL) == ffi.NULL
    assert c.CVI_NN_TensorShape(ffi.NULL).dim_size == 0


def test_physical_address_errors(c, tiny):
    memory = cvi_nn.Context().alloc(64)
    bad = code("INVALID_ARG")
    assert c.CVI_NN_SetTensorPhysicalAddr(ffi.NULL, memory.paddr) == bad
    assert c.CVI_NN_SetTensorPhysicalAddr(tiny.ins, memory.paddr + 1) == bad  # one byte short
    assert c.CVI_NN_SetTensorPhysicalAddr(tiny.ins, 1) == bad
    copy = ffi.new("CVI_TENSOR[1]", [tiny.ins[0]])
    name = ffi.new("char[]", b"other")
    copy[0].name = name
    assert c.CVI_NN_SetTensorPhysicalAddr(copy, memory.paddr) == bad
    copy[0].name, copy[0].owner = tiny.ins[0].name, ffi.NULL
    assert c.CVI_NN_SetTensorPhysicalAddr(copy, memory.paddr) == bad
    copy[0].owner = tiny.raw
    assert c.CVI_NN_SetTensorPhysicalAddr(copy, memory.paddr) == 0  # a copy works
    memory.view()[:] = 8
    assert c.CVI_NN_Forward(tiny.raw, copy, 1, tiny.outs, 1) == 0
    assert (bytes_of(tiny.outs[0]) == 8).all()


# ---- 5, 6 ----


def with_callbacks(c, alloc, free, body):
    alloc_cb = ffi.callback("CVI_RT_MEM(CVI_RT_HANDLE, uint64_t, int, const char *)", alloc)
    free_cb = ffi.callback("void(CVI_RT_HANDLE, CVI_RT_MEM)", free)
    assert c.CVI_RT_Global_SetMemAllocCallback(alloc_cb, free_cb) == 0
    try:
        body()
    finally:
        c.CVI_RT_Global_ResetMemAllocCallback()


def callback_model() -> bytes:
    tensors = [
        b.Tensor("in", [64], offset=b.io(3)),
        b.Tensor("out", [64], offset=b.io(4)),
        b.Tensor("p", [64], offset=b.io(2)),
        b.Tensor("s", [64], offset=b.io(0)),
    ]
    stream = b.copy_command("cv181x", (3, 0), (0, 0), 64, 1)
    stream += b.copy_command("cv181x", (0, 0), (2, 0), 64, 2)
    stream += b.copy_command("cv181x", (2, 0), (4, 0), 64, 3)
    program = b.Program(
        ["in"], ["out"], tensors, [b.Routine(["in"], ["out"], section="s")], shared=64, private=64
    )
    return b.Model(
        [program], [b.Section(0, "weight", bytes(32)), b.Section(1, "s", stream)], name="net"
    ).write()


def test_allocation_callbacks(c):
    seen, live = [], set()

    def alloc(context, size, kind, name):
        memory = c.CVI_RT_MemAlloc(context, size)
        number, _, tensor = ffi.string(name).decode().partition(":")[2].partition(":")
        assert number.isdigit() == (kind != 3)
        seen.append((kind, f"{ffi.string(name).decode().split(':')[0]}:{tensor}", size))
        live.add(memory)
        return memory

    def free(context, memory):
        live.remove(memory)
        c.CVI_RT_MemFree(context, memory)

    def body():
        h = Handle(callback_model())
        bytes_of(h.ins[0])[:] = DATA
        assert h.forward() == 0 and (bytes_of(h.outs[0]) == DATA).all()
        assert h.close() == 0

    with_callbacks(c, alloc, free, body)
    assert [s[:2] for s in seen] == [
        (0, "net:"),
        (3, "SharedMemory:"),
        (1, "net:"),
        (2, "net:in"),
        (2, "net:out"),
    ]
    assert seen[0][2] == 32 and not live


def test_allocation_callback_without_memory(c):
    freed = []

    def body():
        data = callback_model()
        out = ffi.new("void **")
        buffer = ffi.from_buffer("int8_t[]", data)
        assert c.CVI_NN_RegisterModelFromBuffer(buffer, len(data), out) == code("NOMEM")
        assert out[0] == ffi.NULL

    with_callbacks(c, lambda *a: ffi.NULL, lambda *a: freed.append(1), body)
    with_callbacks(c, lambda *a: ffi.cast("void *", 77), lambda *a: freed.append(1), body)
    assert not freed
    small = []

    def alloc_small(context, size, kind, name):
        small.append(c.CVI_RT_MemAlloc(context, size - 1))
        return small[-1]

    with_callbacks(c, alloc_small, lambda h, m: c.CVI_RT_MemFree(h, m), body)
    assert c.CVI_RT_MemGetSize(small[0]) == 0  # was freed again
    null = ffi.cast("CVI_RT_MEM(*)(CVI_RT_HANDLE, uint64_t, int, const char *)", 0)
    assert c.CVI_RT_Global_SetMemAllocCallback(null, ffi.NULL) == -1


def test_clones_share_weights(c):
    counts = {}

    def alloc(context, size, kind, name):
        counts[kind] = counts.get(kind, 0) + size
        return c.CVI_RT_MemAlloc(context, size)

    def body():
        h = Handle(callback_model())
        out = ffi.new("CVI_MODEL_HANDLE *")
        for _ in range(3):
            assert c.CVI_NN_CloneModel(h.raw, out) == 0
            assert c.CVI_NN_GetInputTensors(out[0], ffi.NULL, ffi.NULL) == 0
            assert c.CVI_NN_CleanupModel(out[0]) == 0
        h.close()

    with_callbacks(c, alloc, lambda h, m: c.CVI_RT_MemFree(h, m), body)
    assert counts[0] == 32 and counts[1] == 4 * 64 and counts[2] == 4 * 128


def test_shared_memory_bound(c):
    sizes = []

    def alloc(context, size, kind, name):
        sizes.append((kind, size))
        return c.CVI_RT_MemAlloc(context, size)

    c.CVI_NN_Global_SetSharedMemorySize(5000)
    c.CVI_NN_Global_SetSharedMemorySize(10)  # only grows
    with_callbacks(
        c, alloc, lambda h, m: c.CVI_RT_MemFree(h, m), lambda: Handle(callback_model()).close()
    )
    assert (3, 8192) in sizes


# ---- 7 ----


def test_memory_functions(c):
    assert c.CVI_RT_MemGetSize(ffi.NULL) == 0 and c.CVI_RT_MemGetPAddr(ffi.NULL) == 0
    assert c.CVI_RT_MemGetVAddr(ffi.NULL) == ffi.NULL
    c.CVI_RT_MemFree(ffi.NULL, ffi.NULL)
    handle = ffi.new("CVI_RT_HANDLE *")
    assert c.CVI_RT_Init(handle) == 0
    rt = handle[0]
    memory, empty = c.CVI_RT_MemAlloc(rt, 5000), c.CVI_RT_MemAlloc(rt, 0)
    assert empty != ffi.NULL and c.CVI_RT_MemGetSize(memory) == 5000
    start = c.CVI_RT_MemGetPAddr(memory)
    assert start % 4096 == 0 and start > 0
    view = c.CVI_RT_MemPreAlloc(memory, 1000, 4000)
    assert c.CVI_RT_MemGetPAddr(view) == start + 1000
    assert c.CVI_RT_MemPreAlloc(memory, 1001, 4000) == ffi.NULL
    assert [c.CVI_RT_MemIncRef(memory), c.CVI_RT_MemIncRef(memory), c.CVI_RT_MemDecRef(memory)] == [
        1,
        2,
        1,
    ]
    source, result = np.arange(5000, dtype=np.uint8), np.zeros(5000, np.uint8)
    s, r = ffi.from_buffer("uint8_t[]", source), ffi.from_buffer("uint8_t[]", result)
    assert c.CVI_RT_MemCopyS2D(rt, memory, s) == 0 and c.CVI_RT_MemCopyD2S(rt, r, memory) == 0
    assert (source == result).all()
    assert c.CVI_RT_MemCopyS2DEx(rt, memory, 4990, 10, s) == 0
    assert c.CVI_RT_MemCopyS2DEx(rt, memory, 4991, 10, s) == code("INVALID_ARG")
    assert c.CVI_RT_MemCopyD2S(rt, ffi.NULL, memory) == code("INVALID_ARG")
    c.CVI_RT_MemFree(rt, memory)
    assert bytes(ffi.buffer(c.CVI_RT_MemGetVAddr(view), 4000))[3990:] == source[:10].tobytes()
    assert c.CVI_RT_MemFlush(rt, memory) == code("INVALID_ARG") and c.CVI_RT_MemInvld(rt, view) == 0
    c.CVI_RT_MemFree(rt, memory)  # again: noticed, no harm
    c.CVI_RT_MemFree(rt, view)
    c.CVI_RT_MemFree(rt, empty)
    assert c.CVI_RT_DeInit(rt) == 0 and c.CVI_RT_DeInit(rt) == code("INVALID_ARG")


def test_memory_freed_by_its_address(c):
    """In whatever context; views of it stay valid and are not what is freed."""
    first, second = c.CVI_RT_MemAlloc(ffi.NULL, 5000), c.CVI_RT_MemAlloc(ffi.NULL, 64)
    view = c.CVI_RT_MemPreAlloc(first, 0, 5000)
    place, other = c.CVI_RT_MemGetPAddr(first), c.CVI_RT_MemGetPAddr(second)
    c.CVI_RT_MemFreeEx(place)
    assert c.CVI_RT_MemGetSize(first) == 0 and c.CVI_RT_MemGetSize(second) == 64
    assert c.CVI_RT_MemGetPAddr(view) == place
    for wrong in (place, place + 1, other + 1, 0):
        c.CVI_RT_MemFreeEx(wrong)
        assert "no memory was allocated at" in ffi.string(c.CVI_NN_GetLastError()).decode()
    c.CVI_RT_MemFreeEx(other)
    assert c.CVI_RT_MemGetSize(second) == 0 and c.CVI_RT_MemGetSize(view) == 5000
    c.CVI_RT_MemFree(ffi.NULL, view)


def test_cache_maintenance_of_a_part(c):
    memory = c.CVI_RT_MemAlloc(ffi.NULL, 100)
    for call in (c.CVI_RT_MemFlushEx, c.CVI_RT_MemInvldEx):
        assert call(ffi.NULL, memory, 100) == 0 and call(ffi.NULL, memory, 0) == 0
        assert call(ffi.NULL, memory, 101) == code("INVALID_ARG")
        assert call(ffi.NULL, ffi.NULL, 1) == code("INVALID_ARG")
    c.CVI_RT_MemFree(ffi.NULL, memory)


def test_more_memory_than_the_device_has(c):
    assert c.CVI_RT_MemAlloc(ffi.NULL, 1 << 33) == ffi.NULL
    assert c.CVI_RT_MemAlloc(ffi.NULL, 2**64 - 1) == ffi.NULL


def test_command_buffers(c):
    rt = cvi_nn.Context()
    memory = rt.alloc(256)
    memory.view()[:64] = np.arange(64)
    out = ffi.new("CVI_RT_MEM *")
    stream = b.copy_command("cv183x", (2, 0), (3, 64), 64)
    data = ffi.from_buffer("uint8_t[]", stream)
    assert c.CVI_RT_LoadCmdbuf(rt.raw, data, len(stream), 0, 0, False, out) == 0
    assert c.CVI_RT_RunCmdbuf(rt.raw, out[0], memory.paddr, memory.paddr) == 0
    assert (memory.view()[64:128] == np.arange(64)).all()
    assert c.CVI_RT_RunCmdbuf(rt.raw, out[0], memory.paddr, 0) == code("DATA_ERR")
    assert c.CVI_RT_SetBaseReg(rt.raw, 3, memory.paddr + 64) == 0
    assert c.CVI_RT_RunCmdbuf(rt.raw, out[0], memory.paddr, 0) == 0
    assert (memory.view()[128:192] == np.arange(64)).all()
    assert c.CVI_RT_SetBaseReg(rt.raw, 8, 0) == code("INVALID_ARG")
    c.CVI_RT_MemFree(rt.raw, out[0])
    assert c.CVI_RT_RunCmdbuf(rt.raw, out[0], 0, 0) == code("INVALID_ARG")
    assert c.CVI_RT_LoadCmdbuf(rt.raw, data, len(stream) - 1, 0, 0, False, out) == code("DATA_ERR")
    assert c.CVI_RT_LoadCmdbuf(rt.raw, data + 1, 8, 0, 0, False, out) == code("DATA_ERR")
    assert c.CVI_RT_LoadCmdbuf(rt.raw, data, 0, 0, 0, False, out) == 0  # empty
    c.CVI_RT_MemFree(rt.raw, out[0])


def test_load_dmabuf(c, monkeypatch):
    """One TDMA copy in a dma buffer (hw/cv18xx-driver.md section 5)."""
    import struct

    monkeypatch.setenv("SET_CHIP_NAME", "cv182x")
    body = bytearray(b.copy_command("cv182x", (2, 0), (2, 64), 64)[8:])
    body[0] |= 0x1C
    data = struct.pack("<HH5I", 0xB5B5, 0x1822, 512 + 64, 1, 0, 1, 0).ljust(128, b"\0")
    data = (data + struct.pack("<5I", 2, 0, 1, 0, 512)).ljust(512, b"\0") + bytes(body)
    rt = cvi_nn.Context()
    source = rt.alloc(len(data))
    source.view()[:] = np.frombuffer(data, np.uint8)
    raw, out = source._owner[0].raw, ffi.new("CVI_RT_MEM *")
    assert c.CVI_RT_LoadDmabuf(rt.raw, raw, len(data), 0, 0, False, out) == 0
    memory = rt.alloc(128)
    memory.view()[:64] = 9
    assert c.CVI_RT_RunCmdbuf(rt.raw, out[0], memory.paddr, 0) == 0
    assert (memory.view()[64:] == 9).all()
    c.CVI_RT_MemFree(rt.raw, out[0])
    assert c.CVI_RT_LoadDmabuf(rt.raw, raw, len(data) + 1, 0, 0, False, out) == code("INVALID_ARG")
    source.view()[0] = 0
    assert c.CVI_RT_LoadDmabuf(rt.raw, raw, len(data), 0, 0, False, out) == code("DATA_ERR")
