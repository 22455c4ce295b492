"""The TIU does not wait where the order of the transfers can avoid it."""

from __future__ import annotations

import numpy as np
import pytest
import tpuforge.compiler.schedule.schedule as module
from nets import Net
from tpuforge.compiler.chip import Chip, chip_named
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.schedule.place.lead import set_lead
from tpuforge.compiler.schedule.place.timeline import Timeline
from tpuforge.compiler.schedule.plan import Plan, WeightUse, channel_slices
from tpuforge.compiler.schedule.program import Buffer, Compute, Load, Program, Region, Store, Tile
from tpuforge.compiler.schedule.schedule import schedule
from tpuforge.compiler.schedule.settle import Settler, build
from tpuforge.compiler.schedule.slices import fitted

from .replay import Replay, check_buffers

CHIP = chip_named("cv181x")


def deep(chip: Chip) -> Graph:
    """The start of a residual block: its input is needed again behind two convolutions."""
    net = Net(chip, 3)
    x = net.conv(net.input(1, 112, 28, 28), 112, (3, 3), pads=(1, 1, 1, 1))
    a = net.conv(x, 256, (3, 3), pads=(1, 1, 1, 1), strides=(2, 2))
    b = net.conv(a, 256, (3, 3), pads=(1, 1, 1, 1))
    return net.done(net.add(b, net.conv(x, 256, strides=(2, 2))))


def scheduled(graph: Graph, opt: int = 2) -> Program:
    program = schedule(graph, Cv18xxBackend(CHIP), opt)
    check_buffers(program, CHIP)
    Replay(program, CHIP).run()
    return program


def cycles(program: Program) -> float:
    backend = Cv18xxBackend(CHIP)
    times = set_lead(program.steps, backend)
    return Timeline(times, CHIP.lanes).end(program.actions)


def test_two_slices_of_constants_fit() -> None:
    """A slice that leaves no room for the next is cut; one that does is left alone."""
    backend = Cv18xxBackend(CHIP)
    layer = scheduled(deep(CHIP)).graph.layers[2]
    assert layer.output.shape == (1, 256, 14, 14)
    for count, memory, more in ((16, 18432, True), (16, 32768, False), (8, 32768, True)):
        backend.local_bytes = memory
        use = WeightUse(channel_slices(256, 8, count), False)
        plan = Plan([layer], weights={layer: use})
        found = fitted(plan, build(plan, backend), [], [], backend)
        assert (len(found.weights[layer].slices) > count) == more
        length = found.weights[layer].slices[0][1]
        tiles = 2 * 256 // CHIP.lanes * backend.plane_bytes(14, 14)
        assert length == 8 or tiles + 2 * backend.weight_bytes(layer, length, 256) <= memory


def test_finer_slices_save_time(monkeypatch: pytest.MonkeyPatch) -> None:
    after = cycles(scheduled(deep(CHIP)))
    monkeypatch.setattr(module, "finer", lambda best, *_: best)
    assert after < 0.95 * cycles(scheduled(deep(CHIP)))


def test_results_are_stored_in_parts() -> None:
    """A slice of a result that two groups read is stored while the next slice is computed."""
    net = Net(CHIP, 4)
    x = net.conv(net.input(1, 256, 14, 14), 256, (3, 3), pads=(1, 1, 1, 1))
    program = scheduled(net.done(x), 0)
    stores = [i for i, a in enumerate(program.actions) if isinstance(a, Store)]
    sums = [i for i, a in enumerate(program.actions) if isinstance(a, Compute)]
    assert len(sums) > len(stores) > 2
    assert stores[-2] < sums[-1]
    parts = [program.actions[i].region.c for i in stores]
    assert [a for a, _ in parts] == [0, *(e for _, e in parts[:-1])]


def test_neighbours_in_memory_do_not_wait() -> None:
    """A load of 16-byte units beside those that a computation reads goes on beside it."""
    layer = scheduled(deep(CHIP)).graph.layers[0]
    region = Region((0, 1), (0, 8), (0, 1), (0, 16))
    made = [
        Tile(t, region, Buffer(t.name, 16, 0, 1, addr=addr), 0, 16, 1)
        for t, addr in ((layer.inputs[0], 0), (layer.output, 16), (layer.inputs[0], 32))
    ]
    load, other = Load(made[0].buffer, made[0]), Load(made[2].buffer, made[2])
    first = Compute("relu", layer, made[1], region, [(made[0], region)])
    second = Compute("relu", layer, made[1], region, [(made[2], region)])
    times = {id(load): 10.0, id(first): 100.0, id(other): 50.0, id(second): 100.0}
    actions = [load, first, other, second]
    assert Timeline(times, 8).end(actions) == 10 + 100 + 100
    made[2].buffer.addr = 0
    assert Timeline(times, 8).end(actions) == 10 + 100 + 50 + 100


def test_compressed_constants_come_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by their bytes: small numbers compress, uniform ones do not. A schedule whose
    constants come later for that reason is tried beside the other."""
    rng = np.random.default_rng(5)
    graph = deep(CHIP)
    layers = [x for x in scheduled(graph).graph.layers if x.kind == "conv"]
    small, wide = layers[0], layers[1]
    for layer, limit in ((small, 8), (wide, 127)):
        w = layer.op.operands[1]
        w.data = rng.integers(-limit, limit + 1, w.data.shape, np.int8)
    backend, plain = Cv18xxBackend(CHIP), Cv18xxBackend(CHIP, compress=False)
    assert backend.constant_cycles(small, 4096) < 0.85 * backend.weight_cycles(4096)
    assert backend.constant_cycles(wide, 4096) == backend.weight_cycles(4096)
    assert backend.constant_cycles(small, 64) == backend.weight_cycles(64)  # too short
    assert plain.constant_cycles(small, 4096) == plain.weight_cycles(4096)
    settle, scores = Settler.settle, []

    def noted(self, plans, exact=False):
        found = settle(self, plans, exact)
        scores.append((found.score, exact))
        return found

    monkeypatch.setattr(Settler, "settle", noted)
    scheduled(graph)
    assert {exact for _, exact in scores} == {False, True}
