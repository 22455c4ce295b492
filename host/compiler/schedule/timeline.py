"""How long a placed group takes: both engines in order, waiting for each other where they touch the
same bytes.

The same rule as the emitter's waits: a reader waits for the last writer, a writer for the last
access (units of 16 bytes). The loads of the group that are issued before its first step count as
issued at its start.
"""

from __future__ import annotations

import numpy as np

from .program import Compute, Load, Step, Store, span

UNIT = 16


class _Memory:
    """When each unit of local memory was last read and written by one engine."""

    def __init__(self, units: int):
        self.access, self.write = np.zeros(units), np.zeros(units)

    def note(self, a: int, e: int, time: float, write: bool) -> None:
        self.access[a:e] = time
        if write:
            self.write[a:e] = time


def _units(addr: int, first: int, end: int) -> tuple[int, int]:
    return (addr + first) // UNIT, -(-(addr + end) // UNIT)


def group_time(
    actions: list[Load | Compute | Store], times: dict[int, float], size: int, lanes: int
) -> float:
    """End of the last action. times: cycles of every action by its id(); size: bytes of local
    memory."""
    units = -(-size // UNIT) + 1
    tiu, tdma = _Memory(units), _Memory(units)
    tiu_free = tdma_free = 0.0
    for action in actions:
        time = times[id(action)]
        if isinstance(action, Load):
            a, e = _units(action.buffer.addr, *action.span(lanes))
            tdma_free = max(tdma_free, float(tiu.access[a:e].max())) + time
            tdma.note(a, e, tdma_free, True)
        elif isinstance(action, Store):
            tile = action.tile
            a, e = _units(tile.buffer.addr, *span(tile, action.region, lanes))
            tdma_free = max(tdma_free, float(tiu.write[a:e].max())) + time
            tdma.note(a, e, tdma_free, False)
        else:
            start = tiu_free
            spans = [_units(t.buffer.addr, *span(t, r, lanes)) for t, r in action.ins]
            if (b := action.weight_buffer) is not None:
                spans.append(_units(b.addr, 0, b.size))
            for a, e in spans:
                start = max(start, float(tdma.write[a:e].max()))
            a, e = _units(action.out.buffer.addr, *_written(action, lanes))
            tiu_free = max(start, float(tdma.access[a:e].max())) + time
            for x, y in spans:
                tiu.note(x, y, tiu_free, False)
            tiu.note(a, e, tiu_free, True)
    return max(tiu_free, tdma_free)


def _written(c: Compute, lanes: int) -> tuple[int, int]:
    """Bytes of its result's buffer, and behind it, that a computation writes."""
    b = c.out.buffer
    if c.partial != "only" or b.temp:
        return 0, b.size + b.temp
    return span(c.out, c.out_region, lanes)


def action_times(
    steps: list[Step], compute: list[float], loads: list, stores: list
) -> dict[int, float]:
    """Cycles of every action of the steps by its id(), from cost.step_times."""
    times: dict[int, float] = {}
    for k, s in enumerate(steps):
        if s.compute is not None:
            times[id(s.compute)] = compute[k]
        for load, (_, t) in zip(s.loads, loads[k], strict=True):
            times[id(load)] = t
        for store, t in zip(s.stores, stores[k], strict=True):
            times[id(store)] = t
    return times
