"""How long placed actions take: both engines in order, waiting for each other where they touch the
same bytes.

The same rule as the emitter's waits: a reader waits for the last writer, a writer for the last
access. (The emitter watches units of bytes to which all buffers are aligned.) The loads of a group
that are issued before its first step count as issued at its start.
"""

from __future__ import annotations

from typing import NamedTuple

from ..program import Action, Buffer, Compute, Load, Region, Step, Store, Tile, span

#: bytes (first, end) of a buffer; if these are only some rows of every plane: bytes of a plane, of
#: which bytes (low, high); else 0
Span = tuple[Buffer, int, int, int, int, int]
#: bytes (first, end), a number for the buffer and its planes, bytes (low, high) of these
Place = tuple[int, int, int, int, int]
Log = list[tuple[float, Place]]  # when an access ended, and where it was, in order of time
UNIT = 16  # bytes of which the emitter sees one access


class _Engine:
    """What one engine has read or written, what it has written; when it is free."""

    __slots__ = ("access", "time", "write")

    def __init__(self) -> None:
        self.access: Log = []
        self.write: Log = []
        self.time = 0.0


def free(log: Log, place: Place, time: float) -> float:
    """When the last access to this place has ended, `time` if that is later: only those that end
    after `time` count, which are the youngest."""
    first, end, key, low, high = place
    for ended, (a, e, k, x, y) in reversed(log):
        if ended <= time:
            return time
        if a < end and e > first and (k != key or not k or (x < high and y > low)):
            return ended
    return time


def placed(span: Span) -> Place:
    """Where a span lies."""
    b, first, end, plane, low, high = span
    return b.addr + first, b.addr + end, plane and b.addr << 16 | plane, low, high


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
            reads, writes = [*map(placed, touched.reads)], [*map(placed, touched.writes)]
            for place in reads:
                time = free(other.write, place, time)
            for place in writes:
                time = free(other.access, place, time)
            mine.time = time = time + self.times[key]
            for place in reads:
                mine.access.append((time, place))
            for place in writes:
                mine.access.append((time, place))
                mine.write.append((time, place))
        return max(tiu.time, tdma.time)


def _touched(action: Action, lanes: int) -> Touched:
    if isinstance(action, Load):
        if action.tile is None:
            return Touched([], [(action.buffer, 0, action.buffer.size, 0, 0, 0)])
        source = [] if action.source is None else [_span(action.source, action.part, lanes)]
        return Touched(source, [_span(action.tile, action.part, lanes)])
    if isinstance(action, Store):
        into = [] if action.into is None else [_span(action.into, action.region, lanes)]
        return Touched([_span(action.tile, action.region, lanes)], into)
    reads = [_span(t, r, lanes) for t, r in action.ins]
    if (b := action.weight_buffer) is not None:
        reads.append((b, 0, b.size, 0, 0, 0))
    return Touched(reads, [_written(action, lanes)])


def _written(c: Compute, lanes: int) -> Span:
    """Bytes of its result's buffer, and behind it, that a computation writes."""
    b = c.out.buffer
    if c.partial != "only" or b.temp:
        return b, 0, b.size + b.temp, 0, 0, 0
    return _span(c.out, c.out_region, lanes)


def _span(tile: Tile, region: Region, lanes: int) -> Span:
    """Where a region of a tile lies."""
    b, plane, whole = tile.buffer, tile.plane, tile.region
    a, e = span(tile, region, lanes)
    if region.h == whole.h or (a, e) == (0, b.size) or e - a <= plane or plane % UNIT:
        return b, a, e, 0, 0, 0
    width = whole.w[1] - whole.w[0]
    low = tile.offset % plane + (region.h[0] - whole.h[0]) * width
    high = low + (region.h[1] - region.h[0]) * width
    return b, a, e, plane, low & -UNIT, -(-high // UNIT) * UNIT


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
