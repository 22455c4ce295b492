"""Tiles that stay in local memory between groups (opt 0: every layer is a group)."""

from __future__ import annotations

import pytest
from nets import Net
from tpuforge.compiler.chip import CHIPS, Chip
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.schedule.ddr import allocate
from tpuforge.compiler.schedule.program import Load, Program, Store
from tpuforge.compiler.schedule.schedule import schedule
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
    check_buffers(program)
    Replay(program, CHIPS[chip]).run()
    loads, stores = moved(program)
    assert loads in (["in1"], ["in1", "conv2"])
    assert stores[-1:] == [program.graph.outputs[0].name]
    assert {t.name for t in program.local} == {
        t.name for t in program.graph.tensors if t.producer and t.name not in stores
    }
    assert program.local
    offsets, _ = allocate(program.graph, program.groups, program.local)
    assert not program.local & set(offsets)


@pytest.mark.parametrize("size", range(1024, 8192, 512))
def test_given_up_without_room(size: int) -> None:
    chip = CHIPS["cv181x"]
    with local_memory(size):
        program = schedule(residual(chip), Cv18xxBackend(chip), 0)
    check_buffers(program)
    Replay(program, chip).run()
