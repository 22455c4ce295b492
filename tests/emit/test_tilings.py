"""Groups cut into any tiles along n, h and w compute the same."""

from __future__ import annotations

import pytest
from net_cases import Sampler
from tiled import tiled, tiled_graph
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.schedule.layers import build_layers
from tpuforge.compiler.schedule.plan import Plan
from tpuforge.compiler.schedule.search.cover import INFINITE, Groups
from voices import check, simulate


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("first", [0, 30])
def test_random_tiles(first: int, chip: str) -> None:
    c, cut = chip_named(chip), 0
    for number in range(first, first + 30):
        with tiled(number):
            plans = check(tiled_graph(str(number), c), c, simulate).program.plans
        cut += any(len(p.layers) > 1 and p.tiles[2] > 1 for p in plans)
    assert cut >= 1


@pytest.mark.parametrize("chip", ["cv180x"])
def test_results_that_leave_as_floats_may_be_part_of_wider_tiles(chip: str) -> None:
    """As one group in columns, the tile of `y` has columns that only the convolution reads."""
    c = chip_named(chip)
    net = Sampler(c, "wider")
    y = net.relu(net.input(2, 3, 9, 263))
    z = net.conv(y, 5, (3, 3), pads=(1, 1, 1, 1))
    graph = net.done(net.dequantize(y), net.softmax(y), z)
    for seed in range(6):
        with tiled(seed):
            plans = check(graph, c, simulate).program.plans
        assert len(plans) == 1 and len(plans[0].layers) > 3


def test_a_layer_that_no_group_begins_with() -> None:
    """What follows it costs infinitely much from there; the way around it is found."""
    net = Sampler(CHIPS["cv181x"], "ways")
    layers = build_layers(net.done(net.relu(net.relu(net.input(1, 3, 8, 8)))), 8).layers
    groups = Groups()
    groups.before.append(groups.add(0, 1, Plan(layers[:1], cycles=5.0)))
    groups.before.append(groups.add(0, 2, Plan(layers, cycles=9.0)))
    assert groups.after()[1:] == [INFINITE, 0.0]
    assert [p.layers for p in groups.cheapest()] == [layers]
