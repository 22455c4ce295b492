"""Addresses in DDR and in local memory, on random lives."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from net_cases import random_graph
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.schedule.ddr import allocate
from tpuforge.compiler.schedule.layers import Layer, LayerGraph, Tensor, build_layers
from tpuforge.compiler.schedule.place.local import LocalMemory, NoSpaceError
from tpuforge.compiler.schedule.place.pieces import join_loads
from tpuforge.compiler.schedule.program import Buffer, Load, Step, Tile
from tpuforge.compiler.schedule.schedule import schedule

from .replay import whole


def chain(lives: list[tuple[int, int]], sizes: list[int], groups: int):
    """(layer graph, groups) in which tensor i is written by group first and read last by `last`."""
    members: list[list[Layer]] = [[] for _ in range(groups)]
    tensors = []
    for i, ((first, last), size) in enumerate(zip(lives, sizes, strict=True)):
        t = Tensor(f"t{i}", (1, 1, 1, size), 1)
        sink = Tensor(f"s{i}", (1, 1, 1, 1), 1, is_output=True)
        writer = Layer("relu", None, f"w{i}", [], t)  # type: ignore[arg-type]
        reader = Layer("relu", None, f"r{i}", [t], sink)  # type: ignore[arg-type]
        t.consumers.append(reader)
        members[first].append(writer)
        members[last].append(reader)
        tensors += [t, sink]
    return LayerGraph([x for m in members for x in m], tensors, [], [], [], []), members


@pytest.mark.parametrize("seed", range(20))
def test_ddr_tensors_alive_together_do_not_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(2, 12))
    lives = [tuple(sorted(rng.choice(groups, 2, replace=False).tolist())) for _ in range(25)]
    sizes = rng.integers(1, 500, 25).tolist()
    graph, members = chain(lives, sizes, groups)
    outside = {t for t in graph.tensors if t.is_output}
    offsets, total = allocate(members, outside)
    assert set(offsets) == set(graph.tensors) - outside
    for a, b in combinations(range(25), 2):
        (t, u) = graph.tensors[2 * a], graph.tensors[2 * b]
        together = lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1]
        if together:
            assert offsets[t] + sizes[a] <= offsets[u] or offsets[u] + sizes[b] <= offsets[t]
    least = max(
        sum(s for (first, last), s in zip(lives, sizes, strict=True) if first <= g <= last)
        for g in range(groups)
    )
    assert least <= total <= sum(sizes) + 16 * 25


@pytest.mark.parametrize("chip", CHIPS)
def test_shared_memory_is_used_again(chip: str) -> None:
    """Without fused groups a long graph needs less than the sum of its tensors."""
    graph = random_graph("ddr", CHIPS[chip], layers=15)
    program = schedule(graph, Cv18xxBackend(CHIPS[chip]), 0)
    offsets, total = allocate(program.groups, set())
    assert total < 0.8 * sum(t.nbytes for t in offsets)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("tight", [False, True])
def test_local_buffers_do_not_overlap(seed: int, tight: bool) -> None:
    rng = np.random.default_rng(seed)
    memory = LocalMemory(4096, 8)
    memory.grow(42)
    placed: list[Buffer] = []
    refused = 0
    for i in range(60):
        first = int(rng.integers(38))
        b = Buffer(
            f"b{i}", 16 * int(rng.integers(1, 60)), first, first + int(rng.integers(3)),
            temp=16 * int(rng.integers(3)), long_lived=bool(rng.random() < 0.2),
        )  # fmt: skip
        b.temp = 0 if b.long_lived else b.temp
        try:
            memory.place_fixed(b, tight)
            placed.append(b)
        except NoSpaceError:
            refused += 1
    assert refused < 40
    for a, b in combinations(placed, 2):
        for t in range(max(a.first, b.first), min(a.last, b.last) + 1):
            ends = [x.addr + x.size + (x.temp if x.first == t else 0) for x in (a, b)]
            assert ends[0] <= b.addr or ends[1] <= a.addr, f"{a} and {b} in step {t}"
    assert all(b.addr >= 0 and b.addr + b.size + b.temp <= 4096 for b in placed)


def load_in_pieces(buffer: Buffer, channels: int, parts: int) -> list[Load]:
    """A tile of planes of 64 bytes, loaded in parts of its channels."""
    tensor = Tensor("x", (1, channels, 8, 8), 1)
    tile = Tile(tensor, whole(tensor), buffer, 0, 64, channels // 8)
    each = channels // parts
    cuts = [(k * each, (k + 1) * each) for k in range(parts)]
    return [Load(buffer, tile, region=tile.region._replace(c=c)) for c in cuts]


def test_pieces_come_as_their_place_becomes_free() -> None:
    """A tile of 1024 bytes in memory of 1536: the first half of its place is free from slot 2 on,
    the third quarter from slot 4 on, the rest in the slot of its use."""
    memory = LocalMemory(1536, 8)
    memory.grow(10)
    for size, last in ((512, 1), (256, 3), (256, 5), (512, 8)):
        memory.place_fixed(Buffer(f"until {last}", size, 0, last))
    tile = Buffer("tile", 1024, 6, 7, loaded=True, lead=6)
    loads = load_in_pieces(tile, 128, 4)
    memory.place_load(tile, loads)
    assert (tile.addr, tile.slot) == (0, 2)
    assert [x.slot for x in loads] == [2, 2, 4, 6]
    step = Step(None, loads)
    times: dict[int, float] = {}
    join_loads([step], Cv18xxBackend(CHIPS["cv181x"]), times)
    assert [x.part.c for x in step.loads] == [(0, 64), (64, 96), (96, 128)]
    assert [x.slot for x in step.loads] == [2, 4, 6]
    assert times[id(step.loads[0])] > 0
    other = Buffer("other", 512, 4, 4)
    with pytest.raises(NoSpaceError):  # the pieces that are there already keep their place
        memory.place_fixed(other)
    memory.forget({tile}, 0)
    memory.place_fixed(other)
    assert other.addr == 0


def test_views_and_aliases() -> None:
    """A concat costs nothing where its inputs can be written in place (one concat each)."""
    from nets import Net

    net = Net(CHIPS["cv181x"], 1)
    x = net.input(2, 4, 5, 6)
    a, b = net.conv(x, 3), net.conv(x, 8)
    y = net.concat(a, b)
    z = net.reshape(y, 2, 11, 1, 30)
    layers = build_layers(net.done(net.relu(z)))
    by_name = {t.name: t for t in layers.tensors}
    whole = by_name[y.name]
    assert by_name[a.name].placement() == (whole, 0, 330)
    assert by_name[b.name].placement() == (whole, 90, 330)
    assert by_name[z.name].placement() == (whole, 0, 330)
