"""Layers cut into many tiles: the scheduler is told that local memory is small, so that small (and
quick) networks need every way of cutting there is. The bytes must not change.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net_cases import OPS, Sampler, random_graph, single
from tpuforge.compiler.chip import CHIPS, Chip, chip_named
from tpuforge.compiler.emit.cv18xx import Compiled
from tpuforge.compiler.errors import DoesNotFitError
from tpuforge.compiler.ir import Graph
from voices import check, local_memory, simulate


def tiled(make: Callable[[Chip], Graph], chip: str, size: int, **options) -> Compiled | None:
    """Compile for `size` bytes per lane, run, compare; None when no tile is that small."""
    c = chip_named(chip)
    try:
        with local_memory(size):
            return check(make(c), c, simulate, **options)
    except DoesNotFitError:
        return None


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", OPS)
def test_single_ops(kind: str, chip: str) -> None:
    results = [
        tiled(lambda c, n=number: single(kind, n, c), chip, size)
        for number in range(20, 23)
        for size in (1536, 4096)
    ]
    assert any(results)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("number", range(3))
def test_graphs(number: int, chip: str) -> None:
    def make(c: Chip) -> Graph:
        return random_graph(f"tiled-{number}", c)

    assert any([tiled(make, chip, size, opt=opt) for size, opt in ((4096, 2), (8192, 1))])


def conv_net(n: int, ic: int, h: int, w: int, oc: int, k: int = 3) -> Callable[[Chip], Graph]:
    def make(chip: Chip) -> Graph:
        net = Sampler(chip, f"conv {n} {ic} {h} {w} {oc} {k}")
        return net.done(net.conv(net.input(n, ic, h, w), oc, (k, k), pads=(k // 2,) * 4))

    return make


def plan_of(result: Compiled | None):
    assert result is not None
    (plan,) = result.program.plans
    return plan


@pytest.mark.parametrize("chip", CHIPS)
def test_ways_of_cutting_are_used(chip: str) -> None:
    """Rows, columns, images, output channels and input channels (with partial sums)."""
    lanes = chip_named(chip).lanes
    assert plan_of(tiled(conv_net(1, lanes, 60, 20, lanes), chip, 2048)).tiles[1] > 1
    assert plan_of(tiled(conv_net(1, lanes, 3, 900, lanes), chip, 2048)).tiles[2] > 1
    assert plan_of(tiled(conv_net(4, lanes, 16, 16, lanes), chip, 1024)).tiles[0] > 1
    assert plan_of(tiled(conv_net(1, 2 * lanes, 4, 4, 40 * lanes), chip, 4096)).channels
    assert plan_of(tiled(conv_net(1, 64 * lanes, 3, 3, lanes), chip, 2048)).ic_slices
