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
from tpuforge.compiler.format.weight_map import WeightMap
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
    """compress_weight=False: the slices are loaded out of whole layers."""
    results = [
        tiled(lambda c, n=number: single(kind, n, c), chip, size, compress_weight=number % 2 == 0)
        for number in range(20, 24)
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
@pytest.mark.parametrize("net", ["input channels", "inverted residual", "classifier"])
def test_weights_to_share_do_not_depend_on_the_cuts(net: str, chip: str) -> None:
    lanes = chip_named(chip).lanes
    make = {
        "input channels": conv_net(1, 64 * lanes, 3, 3, lanes),
        "inverted residual": conv_net(2, 6 * lanes, 7, 5, 5 * lanes, 1),
        "classifier": lambda c: single("matrix", 3, c),
    }[net]
    sections = []
    for size in (2048, 8192, 32768):
        result = tiled(make, chip, size, weight_map=WeightMap())
        if result is not None:
            sections.append(bytes(result.model.weight_section().data))
    assert len(sections) >= 2 and len(set(sections)) == 1


@pytest.mark.parametrize("chip", CHIPS)
def test_ways_of_cutting_are_used(chip: str) -> None:
    """Rows, columns, images, output channels and input channels (with partial sums)."""
    lanes = chip_named(chip).lanes
    assert plan_of(tiled(conv_net(1, lanes, 60, 20, lanes), chip, 2048)).tiles[1] > 1
    assert plan_of(tiled(conv_net(1, lanes, 3, 900, lanes), chip, 2048)).tiles[2] > 1
    assert plan_of(tiled(conv_net(4, lanes, 16, 16, lanes), chip, 1024)).tiles[0] > 1
    assert plan_of(tiled(conv_net(1, 2 * lanes, 4, 4, 40 * lanes), chip, 4096)).channels
    assert plan_of(tiled(conv_net(1, 64 * lanes, 3, 3, lanes), chip, 2048)).ic_slices


@pytest.mark.parametrize("chip", CHIPS)
def test_partial_sums_in_the_padding(chip: str) -> None:
    """Tiles of rows that meet nothing but padding have no sums, only a last step."""
    lanes = chip_named(chip).lanes

    def make(c: Chip) -> Graph:
        net = Sampler(c, "sums in the padding")
        return net.done(net.conv(net.input(1, 64 * lanes, 3, 16), lanes, pads=(15, 1, 12, 1)))

    plan = plan_of(tiled(make, chip, 1024))
    assert plan.ic_slices and plan.tiles[1] >= 3
