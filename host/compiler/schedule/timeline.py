"""How long a placed group takes: both engines in order, waiting for each other where they touch the
same bytes.

The same rule as the emitter's waits: a reader waits for the last writer, a writer for the last
access (units of 64 bytes). The loads of the group that are issued before its first step count as
issued at its start.
"""

from __future__ import annotations

import numpy as np

from .program import Buffer, Compute, Load, Step, Store

UNIT = 64


class _Memory:
    """When each unit of local memory was last read and written by one engine."""

    def __init__(self, units: int):
        self.access, self.write = np.zeros(units), np.zeros(units)

    def note(self, a: int, e: int, time: float, write: bool) -> None:
        self.access[a:e] = time
        if write:
            self.write[a:e] = time


def _units(b: Buffer, extra: int = 0) -> tuple[int, int]:
    return b.addr // UNIT, -(-(b.addr + b.size + extra) // UNIT)


def group_time(actions: list[Load | Compute | Store], times: dict[int, float], size: int) -> float:
    """End of the last action. times: cycles of every action by its id()."""
    units = -(-size // UNIT) + 1
    tiu, tdma = _Memory(units), _Memory(units)
    tiu_free = tdma_free = 0.0
    for action in actions:
        time = times[id(action)]
        if isinstance(action, Load):
            a, e = _units(action.buffer)
            tdma_free = max(tdma_free, float(tiu.access[a:e].max())) + time
            tdma.note(a, e, tdma_free, True)
        elif isinstance(action, Store):
            a, e = _units(action.tile.buffer)
            tdma_free = max(tdma_free, float(tiu.write[a:e].max())) + time
            tdma.note(a, e, tdma_free, False)
        else:
            start = tiu_free
            reads = {tile.buffer for tile, _ in action.ins}
            if action.weight_buffer is not None:
                reads.add(action.weight_buffer)
            spans = [_units(b) for b in reads]
            for a, e in spans:
                start = max(start, float(tdma.write[a:e].max()))
            a, e = _units(action.out.buffer, action.out.buffer.temp)
            tiu_free = max(start, float(tdma.access[a:e].max())) + time
            for x, y in spans:
                tiu.note(x, y, tiu_free, False)
            tiu.note(a, e, tiu_free, True)
    return max(tiu_free, tdma_free)


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
