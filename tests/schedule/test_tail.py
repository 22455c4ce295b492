"""Fully connected layers that sum up over parts of the channels the layers before them make: every
form on awkward channel counts, and when such a group is chosen; on the simulator and (parity) the
vendor's."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from nets import Net
from tpuforge.compiler.chip import CHIPS, Chip
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.emit.cv18xx.weights import segments
from tpuforge.compiler.ir import Graph, Value
from tpuforge.compiler.schedule.layers import build_layers
from tpuforge.compiler.schedule.plan import SUMMING, Plan, WeightUse
from tpuforge.compiler.schedule.search.search import Search
from tpuforge.compiler.schedule.tail import Score, spread_tails, summed_group
from voices import Runner, check, simulate

CHANNELS = (7, 9, 17, 33, 65)
FORCED = "tpuforge.compiler.schedule.schedule.spread_tails"


def classifier(net: Net, batch: int, channels: int, form: str) -> list[Value]:
    """conv -> pooling -> fully connected, with something between them."""
    x = net.input(batch, 6, 5, 4)
    y = net.conv(x, channels, (3, 3), pads=(1, 1, 1, 1), relu=net.chance())
    if net.chance():
        y = net.add(y, net.conv(x, channels))
    y = net.avg_pool(y, (5, 4)) if net.chance(0.7) else net.max_pool(y, (5, 4))
    if net.chance(0.3):
        y = net.requant(y)
    columns, bias, relu = net.pick((1, 10, 33, 149, 530)), net.chance(0.7), net.chance(0.3)
    if form == "matrix":
        z = net.matrix(y, columns, bias=bias, relu=relu)
    else:
        z = net.conv(y, columns, bias=bias, relu=relu)
    return [z if net.chance() else net.dequantize(z)]


def forced(units: int, batches: int) -> Callable[[list[Plan], Search, Score], list[Plan]]:
    """Instead of spread_tails: the last layer that can sum up does, over parts of so many times
    the lanes; the batch in so many tiles, or one each where that does not fit."""

    def spread(plans: list[Plan], search: Search, score: Score) -> list[Plan]:
        layers, b = [x for p in plans for x in p.layers], search.backend
        end = max(
            i for i, x in enumerate(layers) if x.kind in SUMMING and x.output.shape[2:] == (1, 1)
        )
        group = summed_group(layers[: end + 1], search)
        assert len(group) >= 2
        inner, part = group[-1].inputs[0].shape[1], units * b.lanes
        uses = {
            x: WeightUse([(0, x.output.shape[1])], False)
            for x in group
            if b.weight_bytes(x, x.output.shape[1], x.inputs[0].shape[1])
        }
        cuts = [(a, min(a + part, inner)) for a in range(0, inner, part)]
        k, tilings = len(group) - 1, (batches, group[0].output.shape[0])
        plans = [Plan(group, (t, 1, 1), uses, cuts, sums=k) for t in tilings]
        plan = next(p for p in plans if search.evaluate(p, search.limit))
        start = end + 1 - len(group)
        return [*search.cover(layers[:start]), plan, *search.cover(layers[end + 1 :])]

    return spread


def run(
    monkeypatch: pytest.MonkeyPatch, chip: Chip, form: str, name: str, *runners: Runner
) -> None:
    for channels in CHANNELS:
        net = Net(chip, f"{name}-{form}-{channels}")
        units, batch = net.pick((1, 2, 3)), net.pick((1, 1, 3))
        graph = net.done(*classifier(net, batch, channels, form))
        monkeypatch.setattr(FORCED, forced(units, net.pick((1, batch))))
        # not compressed: constants lie in DDR whole, not slice by slice
        plans = check(graph, chip, *runners, compress_weight=net.chance()).program.plans
        assert sum(len(p.channels) for p in plans if p.sums >= 0) == -(
            -channels // (units * chip.lanes)
        )


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("form", ["matrix", "conv"])
def test_awkward_channels(monkeypatch: pytest.MonkeyPatch, form: str, chip: str) -> None:
    run(monkeypatch, CHIPS[chip], form, "fast", simulate)


@pytest.mark.parity
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("form", ["matrix", "conv"])
@pytest.mark.parametrize("number", range(4))
def test_on_the_vendor(
    oracle: ModuleType, monkeypatch: pytest.MonkeyPatch, number: int, form: str, chip: str
) -> None:
    run(monkeypatch, CHIPS[chip], form, str(number), simulate, oracle.vendor_run)


def tail(chip: Chip) -> Graph:
    """A long convolution and a classifier that does not fit local memory, in the chip's form."""
    net = Net(chip, "tail")
    x = net.conv(net.conv(net.input(1, 16, 7, 7), 32), 640, (3, 3), pads=(1, 1, 1, 1))
    x = net.avg_pool(x, (7, 7))
    return net.done(net.matrix(x, COLUMNS) if chip.lanes < 8 else net.conv(x, COLUMNS))


COLUMNS = 1700


@pytest.mark.parametrize("chip", CHIPS)
def test_offered_to_the_score(chip: str) -> None:
    """The group is tried with several numbers of parts, together with what lies before it, and
    taken if it costs less."""
    backend = Cv18xxBackend(CHIPS[chip])
    layers = build_layers(tail(CHIPS[chip]), backend.lanes)
    search = Search(layers, backend)
    plain = [search.alone(x) for x in layers.layers]
    tried: list[list[Plan]] = []

    def score(plans: list[Plan]) -> float:
        tried.append(plans)
        return 1.0 - 0.01 * max(len(p.channels) * (p.sums >= 0) for p in plans)

    chosen = spread_tails(plain, search, score)
    assert tried[0] == plain and len(tried) > 2
    assert [len(p.layers) for p in chosen] == [1, 3] and chosen[-1].sums == 2
    assert len(chosen[-1].channels) == max(len(t[-1].channels) for t in tried[1:])
    assert spread_tails(plain, search, lambda plans: 1.0) == plain
    assert spread_tails(chosen, search, score) == chosen


@pytest.mark.parametrize("chip", CHIPS)
def test_constants_are_loaded_once(chip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part of the classifier once, bias and parameters with the last part only."""
    c = CHIPS[chip]
    monkeypatch.setattr(FORCED, forced(2, 1))
    program = check(tail(c), c).program
    plan = program.plans[-1]
    last = plan.layers[-1]
    loads = [x.weights for s in program.steps for x in s.loads if x.weights is not None]
    slices = [p for p in loads if p.layer is last]
    assert [p.ic for p in slices] == plan.channels
    stored = sum(len(data) for p in slices for _, data in segments(p, c, True))
    assert stored == COLUMNS * (640 + (4 if last.kind == "fc" else 9))


def test_chosen_on_the_smallest_chip() -> None:
    c = CHIPS["cv180x"]
    assert check(tail(c), c).program.plans[-1].sums == 2
