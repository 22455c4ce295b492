"""Plans found for several prices of DDR transfers, and what is joined out of them."""

from __future__ import annotations

import pytest
from net_cases import Sampler
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.schedule.layers import build_layers
from tpuforge.compiler.schedule.schedule import found, joined
from tpuforge.compiler.schedule.search import findings
from tpuforge.compiler.schedule.search.cover import segments
from tpuforge.compiler.schedule.search.search import Search
from tpuforge.compiler.schedule.settle import Settled, Settler

DEAR = 3.0


def residual_blocks(chip: str) -> Graph:
    """Pairs of 3x3 convolutions with a residual addition, on maps larger than local memory: as one
    group of small tiles each, much is computed twice; as several, much is moved."""
    net = Sampler(CHIPS[chip], "prices")
    x = net.input(1, 16, 56, 56)
    for _ in range(3):
        y = net.conv(x, 16, (3, 3), pads=(1, 1, 1, 1), relu=True)
        x = net.add(x, net.conv(y, 16, (3, 3), pads=(1, 1, 1, 1)))
    return net.done(x)


def searches(chip: str, *prices: float) -> list[Search]:
    backend = Cv18xxBackend(CHIPS[chip])
    layers = build_layers(residual_blocks(chip), backend.lanes)
    for layer in layers.layers:
        layer.window = backend.window(layer)
    shared = findings.Findings(backend)
    return [Search(layers, backend, 2, price, shared) for price in prices]


@pytest.fixture(scope="module")
def both() -> tuple[Settler, Settled, Settled]:
    cheap, dear = (Settler(s) for s in searches("cv180x", 0.0, DEAR))
    return cheap, found(cheap), found(dear)


def test_a_higher_price_moves_less_and_takes_longer(
    both: tuple[Settler, Settled, Settled],
) -> None:
    _, quick, thrifty = both
    assert thrifty.moved < quick.moved and thrifty.time > quick.time
    for s, price in ((quick, 0.0), (thrifty, DEAR)):
        assert s.score == s.time + price * s.moved
        for p in s.plans:
            assert p.cycles == (p.estimate.time + price * p.estimate.ddr) * p.estimate.risk


def test_the_same_plan_is_estimated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    estimate = findings.estimate
    monkeypatch.setattr(
        findings,
        "estimate",
        lambda plan, *a: seen.append((*plan.cuts, a[1])) or estimate(plan, *a),
    )
    first, second = searches("cv180x", 0.3, 0.6)
    first.run()
    alone = len(seen)
    second.run()
    assert len(seen) == len(set(seen)) and alone <= len(seen) < 2 * alone


@pytest.mark.parametrize("price", [0.0, 0.3, 1.0, DEAR])
def test_joined_costs_no_more_than_the_first(
    both: tuple[Settler, Settled, Settled], price: float
) -> None:
    """At any price; where the price of the other makes it better, parts of it are taken."""
    known, quick, thrifty = both[0].search, *both[1:]
    settler = Settler(Search(known.graph, known.backend, 2, price, known.findings))
    first, other = (settler.settle(s.plans) for s in (quick, thrifty))
    best = joined(first, other, settler)
    assert best.score <= first.score
    assert [x for p in best.plans for x in p.layers] == settler.search.graph.layers
    if price == DEAR:
        assert best.moved < first.moved


def test_joined_with_itself(both: tuple[Settler, Settled, Settled]) -> None:
    settler, quick, _ = both
    assert joined(quick, quick, settler) is quick
    assert all(a == b for a, b in segments(quick.plans, quick.plans))


@pytest.mark.parametrize("chip", CHIPS)
def test_only_slow_chips_search_twice(chip: str) -> None:
    assert (len(Cv18xxBackend(CHIPS[chip]).prices) > 1) == (chip == "cv180x")
