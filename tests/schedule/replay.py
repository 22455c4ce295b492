"""Replays a Program without computing anything: which buffer owns each byte of local memory, which
bytes of DDR have been written. Raises AssertionError where a byte is read that is not there, or a
result is written twice.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from tpuforge.compiler.chip import Chip
from tpuforge.compiler.emit.cv18xx.operand import operand
from tpuforge.compiler.emit.cv18xx.quantize import is_quantised
from tpuforge.compiler.schedule.ddr import allocate
from tpuforge.compiler.schedule.layers import Tensor
from tpuforge.compiler.schedule.program import (
    Buffer,
    Compute,
    Load,
    Program,
    Region,
    Store,
    Tile,
)

NOBODY = -1


def flat(tensor: Tensor, region: Region) -> tuple[Tensor, np.ndarray]:
    """(root, offsets of all bytes of a region of a tensor in its root)."""
    root, offset, n_stride = tensor.placement()
    _, _, h, w = tensor.shape
    strides = (n_stride, h * w * tensor.itemsize, w * tensor.itemsize, tensor.itemsize)
    index = np.full(1, offset, np.int64)
    for (first, last), stride in zip(
        (region.n, region.c, region.h, region.w), strides, strict=True
    ):
        index = np.add.outer(index, np.arange(first, last) * stride)
    return root, np.add.outer(index.ravel(), np.arange(tensor.itemsize)).ravel()


class Replay:
    """The state of local memory and DDR; `run` goes through all actions of a program."""

    def __init__(self, program: Program, chip: Chip):
        self.program, self.chip = program, chip
        self.owner = np.full(chip.lane_bytes, NOBODY)
        self.numbers: dict[Buffer, int] = {}
        self.written: dict[Tensor, np.ndarray] = {}
        elsewhere = {t.root for t in (*program.graph.inputs, *program.graph.outputs)}
        self.offsets, size = allocate(program.groups, elsewhere | program.local)
        self.shared = np.full(size, NOBODY)
        self.roots = {t: i for i, t in enumerate(self.offsets)}
        for t in program.graph.inputs:
            self.count(t.root)[:] = 1

    def count(self, root: Tensor) -> np.ndarray:
        """How often each byte of a tensor in DDR has been written."""
        if root not in self.written:
            self.written[root] = np.zeros(root.nbytes, np.int32)
        return self.written[root]

    def number(self, b: Buffer) -> int:
        assert b.addr >= 0 and b.addr % 16 == 0, f"{b.name}: address {b.addr}"
        assert b.addr + b.size + b.temp <= self.chip.lane_bytes, f"{b.name} leaves the memory"
        return self.numbers.setdefault(b, len(self.numbers))

    # ---- local memory
    def own(self, b: Buffer, first: int, last: int) -> None:
        assert b.addr <= first and last <= b.addr + b.size, f"{b.name}: {first}..{last}"
        self.owner[first : -(-last // 16) * 16] = self.number(b)  # planes end at multiples of 16

    def need(self, b: Buffer, first: int, last: int, who: str) -> None:
        mine = self.owner[first:last] == self.number(b)
        assert mine.all(), f"{who} reads {b.name}, of which {(~mine).sum()} bytes are not there"

    def span(self, tile: Tile, region: Region) -> tuple[int, int]:
        if tile.width or is_quantised(tile.tensor):
            assert region == tile.region
            return tile.addr, tile.addr + region.shape[0] * tile.groups * tile.plane
        return operand(tile, region, self.chip).span

    # ---- actions
    def run(self) -> Replay:
        for action in self.program.actions:
            if isinstance(action, Load):
                self.load(action)
            elif isinstance(action, Compute):
                self.compute(action)
            else:
                self.store(action)
        graph = self.program.graph
        by_cpu = {graph.tensor(op.results[0]) for op in graph.cpu_after}
        for t in graph.outputs:
            if t in by_cpu:
                continue
            once = self.count(t.root)[flat(t, whole(t))[1]] == 1
            assert once.all(), f"output {t.name}: {(~once).sum()} bytes are not written once"
        return self

    def load(self, load: Load) -> None:
        b = load.buffer
        if load.weights is not None:
            self.own(b, b.addr, b.addr + load.weights.size)
            return
        tile = load.tile
        assert tile is not None
        if load.source is not None:
            source = load.source
            self.need(source.buffer, *self.span(source, load.part), f"copy to {b.name}")
            self.own(b, *self.span(tile, load.part))
            return
        root, index = flat(tile.tensor, load.part)
        there = self.count(root)[index] > 0
        assert there.all(), f"load of {tile.tensor.name}: {(~there).sum()} bytes not written yet"
        if root in self.offsets:
            alive = self.shared[self.offsets[root] + index] == self.roots[root]
            assert alive.all(), f"load of {tile.tensor.name}: its memory was given away"
        self.own(b, *self.span(tile, load.part))

    def compute(self, c: Compute) -> None:
        who = f"{c.kind} of {c.layer.name}"
        for tile, region in c.ins:
            self.need(tile.buffer, *self.span(tile, region), who)
        if c.weights is not None:
            assert c.weight_buffer is not None
            b = c.weight_buffer
            self.need(b, b.addr, b.addr + c.weights.size, who)
        out = c.out.buffer
        if c.partial in ("middle", "last"):
            self.need(out, out.addr, out.addr + out.size, who)
        if c.partial != "only":
            self.own(out, out.addr, out.addr + out.size)
        self.own(out, *self.span(c.out, c.out_region))
        self.owner[out.addr + out.size : out.addr + out.size + out.temp] = NOBODY

    def store(self, s: Store) -> None:
        self.need(s.tile.buffer, *self.span(s.tile, s.region), f"store of {s.tensor.name}")
        if s.into is not None:
            self.own(s.into.buffer, *self.span(s.into, s.region))
            return
        root, index = flat(s.tensor, s.region)
        count = self.count(root)
        assert not count[index].any(), f"{s.tensor.name}: bytes are stored twice"
        count[index] += 1
        if root in self.offsets:
            self.shared[self.offsets[root] + index] = self.roots[root]


def whole(t: Tensor) -> Region:
    n, c, h, w = t.shape
    return Region((0, n), (0, c), (0, h), (0, w))


def buffers(program: Program) -> list[Buffer]:
    """All buffers of a program."""
    found: dict[Buffer, None] = {}
    for a in program.actions:
        if isinstance(a, Load):
            found[a.buffer] = None
        elif isinstance(a, Compute):
            found[a.out.buffer] = None
        elif a.into is not None:
            found[a.into.buffer] = None
    return list(found)


def check_buffers(program: Program, chip: Chip) -> None:
    """What lives in the same step does not share bytes: buffers from their first use on, before it
    what is loaded early, piece by piece. A load is not issued after its use."""
    alive: list[set[tuple[int, int, str]]] = [set() for _ in program.steps]
    for b in buffers(program):
        assert 0 <= b.first <= b.last < len(program.steps), b.name
        for t in range(b.first, b.last + 1):
            alive[t].add((b.addr, b.addr + b.size + (b.temp if b.first == t else 0), b.name))
    for load in program.actions:
        if isinstance(load, Load):
            b, (first, end) = load.buffer, load.span(chip.lanes)
            assert 0 <= load.slot <= b.first, b.name
            for t in range(load.slot, b.first):
                alive[t].add((b.addr + first, b.addr + end, b.name))
    for t, together in enumerate(alive):
        for (_, end, a), (first, _, b) in pairwise(sorted(together)):
            assert end <= first, f"step {t}: {a} and {b} overlap"
