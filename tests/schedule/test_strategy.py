"""The choice of a strategy for a group: constants of the whole group, which are loaded while the
steps before still compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import tpuforge.compiler.schedule.place.local as local
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.schedule.layers import Layer, Tensor
from tpuforge.compiler.schedule.place.local import LocalMemory, place_group
from tpuforge.compiler.schedule.place.situation import LOOKAHEAD, Group, situation
from tpuforge.compiler.schedule.plan import Plan
from tpuforge.compiler.schedule.program import (
    Buffer,
    Compute,
    Load,
    Step,
    Tile,
    WeightSlice,
    step_buffers,
)

from .replay import whole
from .test_settle import settler

BEFORE = 6  # steps of the group before
COMPUTE, LOAD = 100.0, 400.0  # cycles
PLAN = Plan([])


def tile(name: str, size: int, first: int, last: int, **more) -> Tile:
    """Of a tensor of 8 channels: a plane of `size` bytes."""
    t = Tensor(name, (1, 8, 1, size), 1)
    return Tile(t, whole(t), Buffer(name, size, first, last, **more), 0, size, 1)


def step(layer: Layer, source: Tile, out: Tile, times: dict[int, float]) -> Step:
    c = Compute("relu", layer, out, out.region, [(source, source.region)])
    times[id(c)] = COMPUTE
    return Step(c)


def case(start: int = BEFORE) -> tuple[LocalMemory, Group, dict[int, float], Buffer]:
    """Memory of 1024 bytes, whose upper half is in use until the group begins and free then; a
    group of one step with constants of 256 bytes, wanted 5 steps before it; (.., constants)."""
    times: dict[int, float] = {}
    x, y = tile("x", 512, start - BEFORE, start - 1), tile("y", 64, start - BEFORE, start)
    z = tile("z", 64, start, start)
    layer = Layer("relu", None, "layer", [x.tensor], y.tensor)  # type: ignore[arg-type]
    before = [step(layer, x, y, times) for _ in range(BEFORE)]
    memory = LocalMemory(1024, 8)
    memory.grow(start + 1)
    x.buffer.addr, y.buffer.addr = 512, 0
    for b in (x.buffer, y.buffer):
        memory.register(b, b.first)
    w = Buffer("w", 256, start, start, loaded=True, long_lived=True, constant=True, lead=BEFORE - 1)
    load = Load(w, weights=WeightSlice(layer, (0, 8), (0, 8), w.size))
    times[id(load)] = LOAD
    last = step(layer, y, z, times)
    assert last.compute is not None
    last.compute.weight_buffer = w
    last.loads.append(load)
    return memory, Group((PLAN,), [last], start, before), times, w


def test_constants_lie_where_they_can_come_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the high end, as usual, they would have to wait for the group to begin."""
    memory, group, times, w = case()
    assert place_group(memory, group, times, {}) == COMPUTE
    assert w.slot == 1 and w.addr + w.size <= 512
    others = tuple(s for s in local.STRATEGIES if not s.early)
    assert len(others) == len(local.STRATEGIES) - 1
    monkeypatch.setattr(local, "STRATEGIES", others)
    memory, group, times, w = case()
    assert place_group(memory, group, times, {}) == LOAD + COMPUTE
    assert w.slot == BEFORE and w.addr >= 512


def test_time_counts_from_the_end_of_the_steps_before() -> None:
    """What is loaded beside them takes no time; without them no place would seem better."""
    memory, group, times, w = case()
    place_group(memory, replace(group, before=[]), times, {})
    assert w.slot == BEFORE  # they are not known: the first strategy is as good as any
    memory, group, times, w = case()
    place_group(memory, group, times, {})
    assert w.slot < BEFORE


def key(start: int = BEFORE, change: Change | None = None) -> tuple:
    """The situation of the group, something changed."""
    memory, group, _, w = case(start)
    group = (change and change(memory, group, w)) or group
    turns = memory.turn[False], memory.turn[True]
    return situation(group, step_buffers(group.steps), turns, memory.around(group.start))


Change = Callable[[LocalMemory, Group, Buffer], Group | None]
CHANGES: dict[str, Change] = {
    "lead": lambda m, g, w: setattr(w, "lead", 2),
    "ready": lambda m, g, w: setattr(w, "ready", 3),
    "life": lambda m, g, w: setattr(w, "last", w.last + 1),
    "drain": lambda m, g, w: setattr(w, "stored", True),
    "constants so far": lambda m, g, w: m.turn.update({True: 4}),
    "tiles so far": lambda m, g, w: m.turn.update({False: 4}),
    "in memory": lambda m, g, w: m.register(Buffer("b", 64, 2, 3, addr=128), 2),
    "plan": lambda m, g, w: replace(g, plans=(Plan([]),)),
    "plan before": lambda m, g, w: replace(g, plans=(Plan([]), PLAN)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_situation(change: str) -> None:
    assert key() == key()
    assert key(change=CHANGES[change]) != key()


def test_the_same_situation() -> None:
    """Later, with what lies too far back, or is wanted earlier than it may come."""
    later, far = LOOKAHEAD + BEFORE, 3 * LOOKAHEAD
    assert key(later) == key(later + 5) == key(far)
    old = Buffer("old", 64, 2, far - LOOKAHEAD - 1, addr=128)
    assert key(far, lambda m, g, w: m.register(old, 2)) == key(far)
    wanted = [key(far, lambda m, g, w, t=t: setattr(w, "lead", t)) for t in (40, 50)]  # type: ignore[misc]
    assert wanted[0] == wanted[1] != key(far)


@pytest.mark.parametrize("chip", ["cv181x", "cv180x"])
def test_the_steps_before_are_known(chip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every group is judged together with the last LOOKAHEAD placed steps, also of several
    groups."""
    s, plans = settler(CHIPS[chip], 64, 24)
    place, seen = s.place, []

    def noted(memory, group, *args):
        seen.append((group.start, group.before, group.steps))
        return place(memory, group, *args)

    monkeypatch.setattr(s, "place", noted)
    settled = s.settle(plans)
    steps = [x for g in settled.groups for x in g]
    assert len(seen) == len(plans) and len(settled.groups[-2]) < LOOKAHEAD
    for start, before, own in seen:
        assert before == steps[max(0, start - LOOKAHEAD) : start]
        assert own == steps[start : start + len(own)]
        assert all(b.addr >= 0 for b in step_buffers(before))
