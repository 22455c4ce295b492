"""Groups that keep rows: where they are looked for and taken; the cheapest cover of layers."""

from __future__ import annotations

import numpy as np
import pytest
from net_cases import Sampler
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.emit.cv18xx.ranges import part
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.schedule.keep import keep_rows
from tpuforge.compiler.schedule.layers import build_layers
from tpuforge.compiler.schedule.plan import Plan
from tpuforge.compiler.schedule.search.cover import GROUP_CYCLES, Groups, segments
from tpuforge.compiler.schedule.search.search import Search
from tpuforge.compiler.schedule.settle import Settler
from tpuforge.compiler.schedule.steps.rolling import Roller, rolling


def inverted_residual(chip: str) -> Graph:
    """1x1 to 96 channels, 3x3 depthwise, 1x1 to 24, on a map much larger than local memory."""
    net = Sampler(CHIPS[chip], "keep")
    x = net.input(1, 16, 112, 112)
    x = net.conv(x, 96, relu=True)
    x = net.depthwise(x, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1), relu=True)
    return net.done(net.conv(x, 24))


def searched(chip: str) -> tuple[Search, Settler, list[Plan]]:
    backend = Cv18xxBackend(CHIPS[chip])
    layers = build_layers(inverted_residual(chip), backend.lanes)
    for layer in layers.layers:
        layer.window = backend.window(layer)
    search = Search(layers, backend)
    return search, Settler(search), search.run()


@pytest.mark.parametrize("chip", ["cv180x", "cv181x"])
def test_taken(chip: str) -> None:
    """Kept rows take no longer and move less; if they do, they are taken."""
    search, settler, plans = searched(chip)
    assert not any(p.rolling for p in plans)
    plain, kept = settler.settle(plans), keep_rows(plans, search, settler)
    assert kept is not None and any(p.rolling for p in kept.plans)
    assert kept.time <= plain.time and kept.moved < plain.moved


@pytest.mark.parametrize("width", [47, 48, 50])
def test_floats_have_no_head(width: int) -> None:
    """They do not lie in rows; the rows of the result may be kept."""
    net = Sampler(CHIPS["cv180x"], "floats")
    x = net.quantize(net.input(1, 3, 71, width, dtype="f32"))
    graph = net.done(net.conv(x, 14, (3, 3), pads=(1, 1, 1, 1)))
    backend = Cv18xxBackend(CHIPS["cv180x"])
    layers = build_layers(graph, backend.lanes)
    for layer in layers.layers:
        layer.window = backend.window(layer)
    roller = Roller(layers.layers, layers.outputs, backend.alignment)
    tiles = rolling(roller, roller.ends(8))
    assert tiles is not None
    heads = [[t.shape[1] for t, r in rows.items() if r.fresh > r.rows[0]] for rows in tiles]
    floats = [rows[layers.inputs[0]] for rows in tiles]
    assert all(r.fresh == r.rows[0] and r.keep == r.rows[1] for r in floats)
    assert any(heads) == (width % 16 == 0)


def test_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept rows that cost more once they have places are left out."""
    search, settler, plans = searched("cv180x")
    settle = settler.settle

    def dear(some: list[Plan], exact: bool = False):
        done = settle(some, exact)
        done.time *= 2 if any(p.rolling for p in some) else 1
        return done

    monkeypatch.setattr(settler, "settle", dear)
    kept = keep_rows(plans, search, settler)
    assert kept is not None and not any(p.rolling for p in kept.plans)


def test_cheapest_cover() -> None:
    """Against all ways to cut 7 layers into groups."""
    rng = np.random.default_rng(5)
    cost = {(i, j): float(rng.integers(1, 100)) for i in range(7) for j in range(i + 1, 8)}

    def ways(i: int) -> list[float]:
        return [0.0] if i == 7 else [
            cost[i, j] + GROUP_CYCLES + rest for j in range(i + 1, 8) for rest in ways(j)
        ]  # fmt: skip

    groups = Groups()
    for j in range(1, 8):
        groups.before.append(min(groups.add(i, j, Plan([], cycles=cost[i, j])) for i in range(j)))
    after = groups.after()
    assert groups.before[7] == after[0] == min(ways(0))
    assert [after[i] for i in range(7)] == [min(ways(i)) for i in range(7)]
    assert sum(p.cycles + GROUP_CYCLES for p in groups.cheapest()) == min(ways(0))
    better = {(2, 6): Plan([], cycles=-1e6)}
    assert better[2, 6] in groups.cheapest(better)


def test_segments() -> None:
    """Cut where groups of both lists end."""
    a, b = ([Plan([None] * n) for n in lengths] for lengths in ((2, 1, 3, 2), (2, 4, 1, 1)))
    found = [(len(x), len(y)) for x, y in segments(a, b)]
    assert found == [(1, 1), (2, 1), (1, 2)]


@pytest.mark.parametrize("first", [0, 8, 21])
@pytest.mark.parametrize("length", [3, 16, 40])
def test_units_of_planes(first: int, length: int) -> None:
    """A range of planes touches exactly the units in which its bytes lie."""
    stride, count = 64, 3
    units = np.zeros(40, bool)
    part(units, (first, first + (count - 1) * stride + length, stride, length))[...] = True
    wanted = {
        b // 16 for k in range(count) for b in range(length) for b in [first + k * stride + b]
    }
    assert set(np.flatnonzero(units)) == wanted
