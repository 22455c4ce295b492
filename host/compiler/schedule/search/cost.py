"""What a plan costs: a small simulation of both engines on one representative tile in the steady
state.

The steps of the tile are repeated; the second repetition shows the period. A load is issued as
early as local memory allows (by size; fragmentation is left to local.py), both engines work in
order. The cost of a group is

    tiles * period + constants loaded once + first load + last store
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import mul

from ..plan import Estimate, Plan
from ..program import Backend, Buffer, Compute, Step, step_buffers
from ..regions import split
from ..steps.builder import StepBuilder
from ..times import listed, step_times

LOOKAHEAD = 6
ROLLING = 1.03  # price of kept rows: copies that the order of the transfers holds up


def estimate(plan: Plan, backend: Backend, limit: float) -> Estimate | None:
    """What the plan costs; None if it needs more than `limit` bytes."""
    builder = StepBuilder(plan, backend, 3)
    tn, th, tw = plan.tiles
    channels = builder.sinks[0].shape[1]
    j, k = largest(builder, 0, th), largest(builder, 1, tw)
    count = tn * th * tw  # the tile looked at is the largest
    outer = plan.channels_first and count > 1  # every part of the channels is a group of its own
    looked: list = plan.channels[: 1 if outer else PARTS] or [None]
    if plan.sums >= 0:
        looked = [None]
    if plan.rolling:
        if not builder.rolled:
            return None
        builder.tile((0, 0, 0), looked[0])
        j = 1
    before = len(builder.steps)  # of the first tile, which differs from the others
    part_ends = []
    for part in looked:
        builder.tile((0, j, k), part)
        part_ends.append(len(builder.steps) - before)
    steps = builder.steps
    if len(steps) == before:
        return None
    for tile in builder.holding.values():  # kept rows live on
        tile.buffer.last = len(steps) - 1
    if too_long(builder, backend.max_dim):
        return None
    constants = set(builder.resident.values())
    live = live_bytes(steps, constants)
    peak = max(live) + sum(b.size for b in constants)
    if peak > limit:
        return None
    share = 1.0 if looked[-1] is None else channels / looked[-1][1]
    once = (
        sum(backend.weight_cycles(b.size) for b in builder.resident.values()) * share
    )  # not over the set: its order varies
    compute, loads, stores = step_times(steps, backend, constants)
    room = limit - peak + max(live)
    later = builder.later if plan.rolling else count
    same = len(steps) - before
    rounds = min(3, th - 1 if plan.rolling else count)
    order = [*range(before), *list(range(before, len(steps))) * rounds]
    early = [
        [1 if x.source is not None else LOOKAHEAD for x in listed(s, constants)] for s in steps
    ]
    ends = _simulate(order, [room - m for m in live], compute, loads, stores, early)
    often = [tn] * before + [tn * later if plan.rolling else count] * same
    stay = {
        id(tile)
        for tile in builder.kept.values()
        if tile.region.c == (0, tile.tensor.shape[1])  # not cut into parts itself
    }
    kept = (
        0.0
        if outer or share == 1
        else count
        * sum(
            t
            for s, row in zip(steps, loads, strict=True)
            for load, (_, t) in zip(listed(s, constants), row, strict=True)
            if id(load.tile) in stay
        )
    )
    tiu = share * sum(map(mul, often, compute))
    moved = (sum(t for _, t in row) + sum(s) for row, s in zip(loads, stores, strict=True))
    tdma = share * (sum(map(mul, often, moved)) - kept) + kept + once
    ddr = tdma
    if plan.rolling:
        kept_rows = (_copied(s, constants, *x) for s, *x in zip(steps, loads, stores, strict=True))
        ddr -= sum(map(mul, often, kept_rows))
    time = _whole(ends[before:], part_ends, later) * (share if outer else 1)
    time *= tn if plan.rolling else 1
    if not outer and share > 1:
        time += count * (share - 1) * len(looked) * _part_period(ends, part_ends)
    time += once - min(
        once, 0.5 * tiu
    )  # constants of the group arrive while the group before computes
    time = max(time, tdma, tiu) + sum(stores[-1])
    return Estimate(time, tdma, ddr, tiu, peak, ROLLING if plan.rolling else 1.0)


def _copied(step: Step, constants: set[Buffer], loads: list, stores: list[float]) -> float:
    """Cycles of the transfers of a step inside local memory."""
    ins = zip(listed(step, constants), loads, strict=True)
    outs = zip(step.stores, stores, strict=True)
    return sum(t for x, (_, t) in ins if x.source) + sum(t for x, t in outs if x.into)


def _whole(ends: list[float], part_ends: list[int], count: float) -> float:
    """Time of `count` tiles of which some were simulated (ends of their steps)."""
    tiles = ends[part_ends[-1] - 1 :: part_ends[-1]]
    return tiles[-1] + max(count - len(tiles), 0) * (
        tiles[-1] - tiles[-2] if len(tiles) > 1 else 0.0
    )


def _part_period(ends: list[float], part_ends: list[int]) -> float:
    """Time between the ends of neighbouring parts of the channels, in the last tile simulated."""
    last = ends[-part_ends[-1] :]
    if len(part_ends) == 1:
        return last[-1]
    return (last[-1] - last[part_ends[0] - 1]) / (len(part_ends) - 1)


def too_long(builder: StepBuilder, most: int) -> bool:
    """Has an operand more channels, rows or columns than the chip can count?"""
    if all(max(t.shape[1:]) <= most for t in builder.regions):
        return False
    return any(d > most for s in builder.steps if s.compute for d in extents(s.compute))


def extents(c: Compute) -> Iterator[int]:
    """Channels, rows and columns of every operand of a computation."""
    for region in (*(() if c.kind == "fc" else (c.out_region,)), *(region for _, region in c.ins)):
        yield from region.shape[1:]


PARTS = 4  # parts of the output channels that are looked at; the others cost the same


def largest(builder: StepBuilder, axis: int, parts: int) -> int:
    """The inner tile with the most rows (axis 0) or columns (axis 1); the largest of all where
    padding takes in whole windows, and with them much of any tile."""
    if any(layer.window.windows_of_padding(axis) for layer in builder.plan.layers):
        return max(
            range(parts),
            key=lambda i: sum(b - a for a, b in builder.lengths(axis, parts, i).values()),
        )
    size, middle = builder.sinks[0].shape[2 + axis], parts // 2
    near = sorted(range(max(0, middle - 8), min(parts, middle + 8)), key=lambda i: abs(i - middle))
    return max(near, key=lambda i: split(size, parts, i)[1] - split(size, parts, i)[0])


def live_bytes(steps: list[Step], constants: set[Buffer]) -> list[int]:
    """Bytes in use during each step, those of `constants` left out."""
    live = [0] * len(steps)
    for b in step_buffers(steps):
        if b in constants:
            continue
        for t in range(b.first, b.last + 1):
            live[t] += b.size
        for t in range(b.first, b.temp_last + 1 if b.temp else b.first):
            live[t] += b.temp
    return live


def _simulate(
    order: list[int],
    free: list[float],
    compute: list[float],
    loads: list,
    stores: list,
    early: list[list[int]],
) -> list[float]:
    """Times at which the computations of the steps end, in this order with repetitions.

    A load of `size` bytes for step k goes to the earliest slot d <= k, at most `early` slots
    before k, such that steps d .. k - 1 have room for it; it starts when step d - 1 has ended and
    the TDMA is free. Stores of step t - 1 follow the loads of slot t."""
    total = len(order)
    room = [free[k] for k in order]
    slots: list[list[float]] = [[] for _ in range(total)]
    latest = 0
    for k in range(total):
        for (size, time), most in zip(loads[order[k]], early[order[k]], strict=True):
            d = k
            stop = max(latest, k - most)
            while d > stop and room[d - 1] >= size:
                d -= 1
                room[d] -= size
            latest = d if most > 1 else latest
            slots[d].append((k, time))  # type: ignore[arg-type]
    tiu = tdma = 0.0
    done = [0.0] * total  # when the loads of a step have arrived
    ends = []
    for t in range(total):
        for k, time in slots[t]:  # type: ignore[misc]
            tdma = max(tdma, tiu if t else 0.0) + time
            done[k] = tdma
        if t:
            for time in stores[order[t - 1]]:
                tdma = max(tdma, tiu) + time
        tiu = max(tiu, done[t]) + compute[order[t]]
        ends.append(tiu)
    return ends
