"""What a plan costs: a small simulation of both engines on one representative tile in the steady
state.

The steps of the tile are repeated; the second repetition shows the period. A load is issued as
early as local memory allows (by size; fragmentation is left to local.py), both engines work in
order. The cost of a group is

    tiles * period + constants loaded once + first load + last store + BYTES_WEIGHT * busy time of
    the TDMA
"""

from __future__ import annotations

from collections.abc import Iterator

from .plan import Plan
from .program import Backend, Buffer, Compute, Load, Region, Step, Tile, WeightSlice, step_buffers
from .regions import split
from .steps import StepBuilder

BYTES_WEIGHT = 0.2  # DDR traffic has a price even when it is hidden behind computation
LOOKAHEAD = 6


def evaluate(plan: Plan, backend: Backend, limit: float) -> Plan | None:
    """The plan with cycles, busy times and peak filled in; None if it needs more than `limit`
    bytes."""
    builder = StepBuilder(plan, backend)
    tn, th, tw = plan.tiles
    _, channels, height, width = builder.sinks[0].shape
    j, k = largest(height, th), largest(width, tw)
    count = tn * th * tw  # the tile looked at is the largest
    outer = plan.channels_first and count > 1  # every part of the channels is a group of its own
    looked: list = plan.channels[: 1 if outer else PARTS] or [None]
    if plan.sums >= 0:
        looked = [None]
    part_ends = []
    for part in looked:
        builder.tile((0, j, k), part)
        part_ends.append(len(builder.steps))
    steps = builder.steps
    if too_long(builder, backend.max_dim):
        return None
    constants = set(builder.resident.values())
    live = live_bytes(steps, constants)
    plan.peak = max(live) + sum(b.size for b in constants)
    if plan.peak > limit:
        return None
    share = 1.0 if looked[-1] is None else channels / looked[-1][1]
    once = (
        sum(backend.weight_cycles(b.size) for b in builder.resident.values()) * share
    )  # not over the set: its order varies
    compute, loads, stores = step_times(steps, backend, constants)
    room = limit - plan.peak + max(live)
    ends = _simulate(min(3, count), [room - m for m in live], compute, loads, stores)
    stay = {
        id(tile)
        for tile in builder.kept.values()
        if tile.region.c == (0, tile.tensor.shape[1])  # not cut into parts itself
    }
    kept = (
        0.0
        if outer or share == 1
        else sum(
            t
            for s, row in zip(steps, loads, strict=True)
            for load, (_, t) in zip(_counted(s, constants), row, strict=True)
            if id(load.tile) in stay
        )
    )
    plan.tiu = count * share * sum(compute)
    plan.tdma = (
        count
        * (share * (sum(t for row in loads for _, t in row) - kept + sum(map(sum, stores))) + kept)
        + once
    )
    time = _whole(ends, part_ends, count) * (share if outer else 1)
    if not outer and share > 1:
        time += count * (share - 1) * len(looked) * _part_period(ends, part_ends)
    time += once - min(
        once, 0.5 * plan.tiu
    )  # constants of the group arrive while the group before computes
    plan.cycles = max(time, plan.tdma, plan.tiu) + sum(stores[-1]) + BYTES_WEIGHT * plan.tdma
    return plan


def _whole(ends: list[float], part_ends: list[int], count: int) -> float:
    """Time of `count` tiles of which some were simulated (ends of their steps)."""
    tiles = ends[part_ends[-1] - 1 :: part_ends[-1]]
    return tiles[-1] + (count - len(tiles)) * (tiles[-1] - tiles[-2] if len(tiles) > 1 else 0.0)


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


def _counted(step: Step, constants: set[Buffer]) -> list[Load]:
    """The loads of a step that `step_times` lists."""
    if not constants:
        return step.loads
    return [load for load in step.loads if load.buffer not in constants]


def largest(size: int, parts: int) -> int:
    """The inner tile with the most rows."""
    middle = parts // 2
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


def step_times(
    steps: list[Step], backend: Backend, constants: set[Buffer], exact: bool = False
) -> tuple[list[float], list, list]:
    """Cycles of every step: computation; (bytes, cycles) of its loads; cycles of its stores.
    exact: constants as they are stored, not as plain bytes."""
    compute, loads, stores = [], [], []
    for s in steps:
        c = s.compute
        compute.append(
            0.0
            if c is None
            else backend.compute_cycles(
                c.kind, c.layer, c.out_region.shape, c.ins[0][1].shape[1], c.partial != "only"
            )
        )
        row = []
        for load in _counted(s, constants):
            if load.weights is not None:
                row.append((load.buffer.size, constant_cycles(backend, load.weights, exact)))
            elif load.tile is not None:
                row.append((load.buffer.size, moving_cycles(backend, load.tile, load.part, False)))
        loads.append(row)
        stores.append([moving_cycles(backend, x.tile, x.region, True) for x in s.stores])
    return compute, loads, stores


def constant_cycles(backend: Backend, piece: WeightSlice, exact: bool) -> float:
    """Time of loading a slice of constants; a matrix may leave lanes empty."""
    size = piece.size
    if piece.layer.kind == "fc":
        elements = (piece.ic[1] - piece.ic[0]) * (piece.oc[1] - piece.oc[0])
        size = -(-elements // backend.lanes)
    return backend.constant_cycles(piece.layer, size) if exact else backend.weight_cycles(size)


def moving_cycles(backend: Backend, tile: Tile, region: Region, store: bool) -> float:
    """Time of moving a region between a tile and DDR."""
    if tile.width:
        return backend.matrix_cycles(region.shape)
    return backend.transfer_cycles(region.shape, tile.tensor, store)


def _simulate(
    rounds: int, free: list[float], compute: list[float], loads: list, stores: list
) -> list[float]:
    """Times at which the computations of the repeated steps end.

    A load of `size` bytes for step k goes to the earliest slot d <= k such that steps d .. k - 1
    have room for it; it starts when step d - 1 has ended and the TDMA is free. Stores of step t - 1
    follow the loads of slot t."""
    m = len(compute)
    total = rounds * m
    room = free * rounds
    slots: list[list[float]] = [[] for _ in range(total)]
    latest = 0
    for k in range(total):
        for size, time in loads[k % m]:
            d = k
            stop = max(latest, k - LOOKAHEAD)
            while d > stop and room[d - 1] >= size:
                d -= 1
                room[d] -= size
            latest = d
            slots[d].append((k, time))  # type: ignore[arg-type]
    tiu = tdma = 0.0
    done = [0.0] * total  # when the loads of a step have arrived
    ends = []
    for t in range(total):
        for k, time in slots[t]:  # type: ignore[misc]
            tdma = max(tdma, tiu if t else 0.0) + time
            done[k] = tdma
        if t:
            for time in stores[(t - 1) % m]:
                tdma = max(tdma, tiu) + time
        tiu = max(tiu, done[t]) + compute[t % m]
        ends.append(tiu)
    return ends
