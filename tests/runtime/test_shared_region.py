"""The shared region (api/cvi_nn.md section 6.2): one for all handles where jobs follow each other
(boards; test_board.py runs this file there), one for each on the simulator, whose runs are
parallel.
"""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from cvi_nn._cviruntime_cffi import ffi
from cvi_nn._lib import load
from runtime import builder as b
from runtime.test_api import DATA, Handle, bytes_of

BOARD = "FAKE_TPU" in os.environ


class Regions:
    """Shared regions asked for and given back, through the allocation callbacks."""

    def __init__(self) -> None:
        self.c = load().c
        self.made: list[int] = []
        self.live: dict[object, int] = {}

    def alloc(self, context, size, kind, name):
        memory = self.c.CVI_RT_MemAlloc(context, size)
        if kind == 3:
            self.made.append(size)
            self.live[memory] = size
        return memory

    def free(self, context, memory):
        self.live.pop(memory, None)
        self.c.CVI_RT_MemFree(context, memory)


@pytest.fixture
def regions() -> Iterator[Regions]:
    found = Regions()
    c = found.c
    alloc = ffi.callback("CVI_RT_MEM(CVI_RT_HANDLE, uint64_t, int, const char *)", found.alloc)
    free = ffi.callback("void(CVI_RT_HANDLE, CVI_RT_MEM)", found.free)
    assert c.CVI_RT_Global_SetMemAllocCallback(alloc, free) == 0
    yield found
    c.CVI_RT_Global_ResetMemAllocCallback()


def through_shared(size: int, boundary: bool = False) -> bytes:
    """Copies in -> shared -> out; `boundary`: in two routines, which the rule of the format forbids
    (the tensor between them would have to be private)."""
    tensors = [
        b.Tensor("in", [64], offset=b.io(3)),
        b.Tensor("out", [64], offset=b.io(4)),
        b.Tensor("s", [64], offset=b.io(0)),
    ]
    first = b.copy_command("cv181x", (3, 0), (0, 0), 64, 1)
    second = b.copy_command("cv181x", (0, 0), (4, 0), 64, 1 if boundary else 2)
    routines = [b.Routine(["in"], ["out"], section="a")]
    sections = [b.Section(1, "a", first + second)]
    if boundary:
        routines = [b.Routine(["in"], ["s"], section="a"), b.Routine(["s"], ["out"], section="b")]
        sections = [b.Section(1, "a", first), b.Section(1, "b", second)]
    return b.Model([b.Program(["in"], ["out"], tensors, routines, shared=size)], sections).write()


def works(h: Handle) -> bool:
    bytes_of(h.ins[0])[:] = DATA
    return h.forward() == 0 and (bytes_of(h.outs[0]) == DATA).all()


LARGE = 1 << 20  # beyond the bound that other tests may have set


def test_regions_are_reused_if_they_are_large_enough(regions: Regions) -> None:
    """The order of the specification: of 4096, 256, 65536 the first two share."""
    sizes = [LARGE, LARGE - 4096, 2 * LARGE]
    handles = [Handle(through_shared(size)) for size in sizes]
    assert regions.made == ([LARGE, 2 * LARGE] if BOARD else sizes)
    assert all(works(h) for h in handles)
    handles.pop(0).close()
    assert works(handles[0]) and works(handles[1])
    assert len(regions.live) == 2
    handles.pop(0).close()
    assert list(regions.live.values()) == [2 * LARGE]
    assert works(handles[0])
    handles[0].close()
    assert not regions.live


def test_clones(regions: Regions) -> None:
    h = Handle(through_shared(LARGE))
    clones = []
    for _ in range(3):
        out = ffi.new("CVI_MODEL_HANDLE *")
        assert h.c.CVI_NN_CloneModel(h.raw, out) == 0
        clone = Handle.__new__(Handle)
        clone.c, clone.raw = h.c, out[0]
        clone.tensors()
        clones.append(clone)
    assert len(regions.made) == (1 if BOARD else 4)
    assert all(works(clone) for clone in (*clones, h))
    for clone in (h, *clones):
        assert clone.close() == 0
    assert not regions.live


def test_the_largest_program_of_the_file_decides(regions: Regions) -> None:
    """Whichever is selected; but a program without shared memory asks for none."""
    model = b.tiny()
    model.programs[0].shared = LARGE
    model.programs += [b.tiny().programs[0], b.tiny().programs[0]]
    model.programs[1].shared = 64
    for index, made in ((1, [LARGE]), (2, []), (0, [LARGE])):
        h = Handle(model.write(), tensors=False)
        assert h.c.CVI_NN_SetConfig(h.raw, 9, ffi.cast("int", index)) == 0
        h.tensors()
        assert regions.made == made and works(h)
        h.close()
        regions.made.clear()


def test_contents_that_have_to_stay_have_a_region_of_their_own(regions: Regions) -> None:
    """Tensors between routines; all tensors as outputs."""
    handles = [Handle(through_shared(LARGE)), Handle(through_shared(LARGE, boundary=True))]
    every = Handle(through_shared(LARGE), tensors=False)
    assert every.c.CVI_NN_SetConfig(every.raw, 4, ffi.cast("int", 1)) == 0
    every.tensors()
    assert len(regions.made) == 3
    x = np.frombuffer(ffi.buffer(every.ins[0].sys_mem, 64), np.int8)
    x[:] = DATA
    assert every.forward() == 0
    assert [ffi.string(every.outs[i].name) for i in range(3)] == [b"in", b"out", b"s"]
    assert all(works(h) for h in handles)
    assert (bytes_of(every.outs[2]) == DATA).all()
    for h in (*handles, every):
        h.close()
    assert not regions.live
