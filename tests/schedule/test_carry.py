"""Tiles that stay in local memory between groups (opt 0: every layer is a group), and tensors that
the next group loads in pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from nets import Net
from tpuforge.compiler.chip import CHIPS, Chip
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.schedule.ddr import allocate
from tpuforge.compiler.schedule.program import Load, Program, Region, Store, Tile
from tpuforge.compiler.schedule.schedule import schedule
from tpuforge.compiler.schedule.settle import Settler
from voices import local_memory

from .replay import Replay, check_buffers


def moved(program: Program) -> tuple[list[str], list[str]]:
    """Names of the tensors that are loaded and stored."""
    loads = [a.tile.tensor.name for a in program.actions if isinstance(a, Load) and a.tile]
    return loads, [a.tensor.name for a in program.actions if isinstance(a, Store)]


def residual(chip: Chip) -> Graph:
    net = Net(chip, 1)
    x = net.input(1, 16, 10, 10)
    a = net.conv(x, 16, (3, 3), pads=(1, 1, 1, 1))
    b = net.conv(a, 16)
    return net.done(net.conv(net.add(a, b), 8))


@pytest.mark.parametrize("chip", ["cv183x", "cv182x", "cv181x"])  # cv180x cuts these layers
def test_neighbours_need_no_ddr(chip: str) -> None:
    """in1 -> conv2 -> conv3, + conv2 -> conv5: the sum reads conv2 two groups later."""
    program = schedule(residual(CHIPS[chip]), Cv18xxBackend(CHIPS[chip]), 0)
    check_buffers(program, CHIPS[chip])
    Replay(program, CHIPS[chip]).run()
    loads, stores = moved(program)
    assert loads in (["in1"], ["in1", "conv2"])
    assert stores[-1:] == [program.graph.outputs[0].name]
    assert {t.name for t in program.local} == {
        t.name for t in program.graph.tensors if t.producer and t.name not in stores
    }
    assert program.local
    offsets, _ = allocate(program.groups, program.local)
    assert not program.local & set(offsets)


@pytest.mark.parametrize("size", range(1024, 8192, 512))
def test_given_up_without_room(size: int) -> None:
    chip = CHIPS["cv181x"]
    with local_memory(size):
        program = schedule(residual(chip), Cv18xxBackend(chip), 0)
    check_buffers(program, chip)
    Replay(program, chip).run()


@pytest.mark.parametrize("chip", ["cv183x", "cv181x"])
def test_given_up_when_the_group_before_has_its_place(
    chip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other group takes nothing over: it is stored again, and the loads wait for that."""
    place, calls = Settler.place, []

    def stubborn(self, memory, group, times, carried, further):
        calls.append(len(carried))
        if len(calls) % 2 == 0:
            for c in reversed(carried):
                c.undo(memory, group.start)
            carried.clear()
        return place(self, memory, group, times, carried, further)

    monkeypatch.setattr(Settler, "place", stubborn)
    program = schedule(residual(CHIPS[chip]), Cv18xxBackend(CHIPS[chip]), 0)
    assert any(calls[1::2])
    check_buffers(program, CHIPS[chip])
    Replay(program, CHIPS[chip]).run()
    assert len(moved(program)[0]) > 1


@pytest.mark.parametrize("opt", [0, 2])
def test_loads_in_pieces(opt: int) -> None:
    """Results made in parts of the channels are loaded in pieces that cover the tile once."""
    chip = CHIPS["cv180x"]
    net = Net(chip, 2)
    x = net.conv(net.input(1, 64, 28, 28), 64, (3, 3), pads=(1, 1, 1, 1))
    x = net.conv(x, 64, (3, 3), pads=(1, 1, 1, 1))
    program = schedule(
        net.done(net.conv(x, 64, (3, 3), pads=(1, 1, 1, 1))), Cv18xxBackend(chip), opt
    )
    Replay(program, chip).run()
    pieces: dict[Tile, list[Region]] = {}
    for a in program.actions:
        if isinstance(a, Load) and a.tile is not None and a.region is not None:
            pieces.setdefault(a.tile, []).append(a.region)
    assert pieces
    for tile, regions in pieces.items():
        assert len(regions) > 1
        assert {(r.n, r.h, r.w) for r in regions} == {(tile.region.n, tile.region.h, tile.region.w)}
        ends = sorted(r.c for r in regions)
        assert ends[0][0] == tile.region.c[0]
        assert ends[-1][1] == tile.region.c[1]
        assert all(a[1] == b[0] for a, b in pairwise(ends))
