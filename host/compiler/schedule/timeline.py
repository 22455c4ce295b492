"""How long placed actions take: both engines in order, waiting for each other where they touch the
same bytes.

The same rule as the emitter's waits: a reader waits for the last writer, a writer for the last
access. (The emitter watches units of bytes to which all buffers are aligned.) The loads of a group
that are issued before its first step count as issued at its start.
"""

from __future__ import annotations

from typing import NamedTuple

from .program import Action, Buffer, Compute, Load, Step, Store, span

Span = tuple[Buffer, int, int]  # bytes (first, end) of a buffer
Log = list[tuple[float, int, int]]  # when an access ended, and bytes (first, end), in order of time


class _Engine:
    """What one engine has read or written, what it has written; when it is free."""

    __slots__ = ("access", "time", "write")

    def __init__(self) -> None:
        self.access: Log = []
        self.write: Log = []
        self.time = 0.0


def free(log: Log, first: int, end: int, time: float) -> float:
    """When the last access to these bytes has ended, `time` if that is later: only those that end
    after `time` count, which are the youngest."""
    for ended, a, e in reversed(log):
        if ended <= time:
            return time
        if a < end and e > first:
            return ended
    return time


class Touched(NamedTuple):
    """What an action reads and writes in local memory."""

    reads: list[Span]
    writes: list[Span]


class Timeline:
    """Times of sequences of the same actions, placed in different ways. times: cycles of every
    action by its id()."""

    def __init__(self, times: dict[int, float], lanes: int):
        self.times, self.lanes = times, lanes
        self.touched: dict[int, Touched] = {}  # by id() of the action

    def end(self, actions: list[Action]) -> float:
        """When the last action has ended."""
        tiu, tdma = _Engine(), _Engine()
        for action in actions:
            key = id(action)
            touched = self.touched.get(key)
            if touched is None:
                touched = self.touched[key] = _touched(action, self.lanes)
            mine, other = (tiu, tdma) if isinstance(action, Compute) else (tdma, tiu)
            time = mine.time
            reads, writes = [], []
            for b, first, end in touched.reads:
                a, e = b.addr + first, b.addr + end
                time = free(other.write, a, e, time)
                reads.append((a, e))
            for b, first, end in touched.writes:
                a, e = b.addr + first, b.addr + end
                time = free(other.access, a, e, time)
                writes.append((a, e))
            mine.time = time = time + self.times[key]
            for a, e in reads:
                mine.access.append((time, a, e))
            for a, e in writes:
                mine.access.append((time, a, e))
                mine.write.append((time, a, e))
        return max(tiu.time, tdma.time)


def _touched(action: Action, lanes: int) -> Touched:
    if isinstance(action, Load):
        return Touched([], [(action.buffer, *action.span(lanes))])
    if isinstance(action, Store):
        tile = action.tile
        return Touched([(tile.buffer, *span(tile, action.region, lanes))], [])
    reads = [(t.buffer, *span(t, r, lanes)) for t, r in action.ins]
    if (b := action.weight_buffer) is not None:
        reads.append((b, 0, b.size))
    return Touched(reads, [(action.out.buffer, *_written(action, lanes))])


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
