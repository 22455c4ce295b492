"""Addresses in local memory, and how early every load may be issued.

Time is counted in steps. Slot t lies before computation t: there the TDMA gets the loads of slot t
and the stores of step t - 1, while the TIU works on step t - 1 and then t. The buffers of a group
are placed in two rounds: first what must be there (results, constants of the whole group), large
ones first; then the loads in the order of their use, each where it may be issued the earliest, so
that weights and tiles arrive while earlier steps still compute (but not before lead.py wants it).
Correctness does not depend on this: the emitter derives the waits from the addresses.
"""

from __future__ import annotations

from operator import mul

from ..program import Action, Buffer, Load, Step, Store, feeds, span, step_buffers
from .situation import LOOKAHEAD, Group, Known, situation
from .sources import Written, note_sources
from .strategy import LAST_RESORTS, STRATEGIES, Strategy
from .timeline import Timeline

Interval = tuple[int, int]


class NoSpaceError(Exception):
    """A buffer of a group found no place (its memory is too fragmented)."""


class LocalMemory:
    """Who occupies which bytes in which step."""

    def __init__(self, size: int, lanes: int):
        self.size, self.lanes = size, lanes
        self.alive: list[list[Buffer]] = []  # per step: buffers whose bytes are in use
        self.draining: list[list[Buffer]] = []  # per step: buffers being stored by the TDMA
        self.early: dict[Buffer, list[Buffer]] = {}  # pieces of a tile that come before its use
        self.turn = {False: 0, True: 0}  # slot of the latest load of tiles, of constants
        self.written = Written()

    def grow(self, steps: int) -> None:
        while len(self.alive) < steps + 10:
            self.alive.append([])
            self.draining.append([])

    def register(self, b: Buffer, first: int) -> None:
        """Note an addressed buffer as occupied from step `first` on."""
        for t in range(first, b.last + 1):
            self.alive[t].append(b)
        if b.stored:
            for t in range(b.last + 1, min(b.last + b.drain + 1, len(self.draining))):
                self.draining[t].append(b)

    def extend(self, b: Buffer, last: int) -> None:
        """The life of a registered buffer, which ended with step `last`, has become longer."""
        for t in range(last + 1, b.last + 1):
            self.alive[t].append(b)

    def shorten(self, b: Buffer, last: int) -> None:
        """The life of a registered buffer ends with step `last` after all."""
        for t in range(last + 1, len(self.alive)):
            self.alive[t] = [x for x in self.alive[t] if x is not b]

    def forget(self, buffers: set[Buffer], first: int) -> None:
        """Take back the registrations of a group whose steps begin at `first`."""
        buffers = buffers | {p for b in buffers for p in self.early.pop(b, ())}
        for t in range(max(0, first - LOOKAHEAD - 1), len(self.alive)):
            self.alive[t] = [b for b in self.alive[t] if b not in buffers]
            self.draining[t] = [b for b in self.draining[t] if b not in buffers]

    def busy(self, first: int, last: int) -> list[Interval]:
        """Byte ranges in use in any of the steps, sorted."""
        found = set()
        for t in range(first, last + 1):
            for b in self.alive[t]:
                found.add((b.addr, b.addr + b.extent(t)))
        return sorted(found)

    def around(self, start: int) -> tuple[tuple[int, int, int], ...]:
        """What is in use, or still stored, from the first slot on in which a load of a group that
        begins with step `start` may be issued: steps counted from `start`, addresses, bytes (of
        stores: negative)."""
        found: set[tuple[int, int, int]] = set()
        for t in range(max(0, start - LOOKAHEAD), len(self.alive)):
            found.update((t - start, b.addr, b.extent(t)) for b in self.alive[t])
            found.update((t - start, b.addr, -b.size) for b in self.draining[t])
        return tuple(sorted(found))

    # ---- results and constants of a whole group
    def place_fixed(self, b: Buffer, drain: bool = True, fill: bool = True) -> None:
        """The lowest place (long-lived: the highest) that is free during the life of b; where there
        is such a place, with `drain` one that no store reads, neither before nor behind it, with
        `fill` one whose first rows can come early."""
        drained = [(p.addr, p.addr + p.size) for p in self.draining[b.first]]
        at_first = self.busy(b.first, b.temp_last) if b.temp else []
        end = min(b.last + b.drain, len(self.alive) - 1) if b.stored else b.last
        early = max(b.ready, b.first - min(b.lead, LOOKAHEAD)) if b.filled else b.first
        nothing: list[Interval] = []
        ways = [(b.first, end, drained), (b.first, b.last, drained), (b.first, b.last, nothing)]
        ways = ways if drain else ways[2:]
        if early < b.first and fill:
            ways = [(early, *way[1:]) for way in ways] + ways
        for first, last, avoid in ways:
            addr = self.find(b, sorted(self.busy(first, last) + avoid), at_first, avoid)
            if addr is not None:
                b.addr, b.slot = addr, first
                self.register(b, first)
                return
        raise NoSpaceError(b.name)

    def find(
        self, b: Buffer, taken: list[Interval], at_first: list[Interval], avoid: list[Interval]
    ) -> int | None:
        if not b.temp:
            gaps = _gaps(taken, self.size, b.size)
            if not gaps:
                return None
            return gaps[-1][1] - b.size if b.long_lived else gaps[0][0]
        need = b.size + b.temp
        wide = _gaps(sorted(at_first + avoid), self.size, need)
        for low, high in _gaps(taken, self.size, b.size):
            for a, e in wide:
                addr = max(low, a)
                if addr + b.size <= high and addr + need <= e:
                    return addr
        return None

    # ---- loads
    def place_load(
        self, b: Buffer, loads: list[Load], in_turn: bool = True, high: bool = False
    ) -> None:
        """The place where b can be loaded the earliest (at least in the slot of its first use);
        loads: its one load or pieces; in_turn: not before the loads placed so far; high: the
        highest of equally good places."""
        bound = min(
            b.first,
            max(self.turn[b.constant] if in_turn else 0, b.ready, b.first - min(b.lead, LOOKAHEAD)),
        )
        if b.filled:  # kept rows come behind the others
            loads = loads[:1]
        spans = [x.span(self.lanes) for x in loads]
        sizes = [y - x for x, y in spans]
        used, edges = self.used(b.first, bound), self.edges(b, bound)
        best: tuple[int, int, int] | None = None
        slots: list[int] = []
        for a, e in _gaps(self.busy(b.first, b.last), self.size, b.size):
            end = e - b.size
            for addr in {a, end, *(x for x in edges if a < x < end)}:
                found = [_free_from(used, addr + x, addr + y, bound) for x, y in spans]
                late = sum(map(mul, sizes, found))
                key = (late, e - a, -addr if high else addr)
                if best is None or key < best:
                    best, slots = key, found
        if best is None:
            raise NoSpaceError(b.name)
        b.slot, b.addr = min(slots), abs(best[2])
        if in_turn:
            self.turn[b.constant] = max(slots)
        if len(loads) == 1:
            self.register(b, b.slot)
            return
        self.register(b, b.first)
        self.early[b] = []
        for load, (x, y), slot in zip(loads, spans, slots, strict=True):
            load.free = slot
            piece = Buffer(b.name, y - x, slot, b.first - 1, addr=b.addr + x)
            self.early[b].append(piece)
            self.register(piece, slot)

    def edges(self, b: Buffer, bound: int) -> set[int]:
        """Addresses beside what was alive shortly before."""
        found: set[int] = set()
        for t in range(max(bound, b.first - 3), b.first):
            for p in self.alive[t]:
                found.add(p.addr + p.extent(t))
                found.add(p.addr - b.size)
        return found

    def used(self, first: int, bound: int) -> list[tuple[int, int, int]]:
        """What is in use before step `first`: bytes (first, end) and the slot from which on they
        are free, at least `bound`, latest first."""
        found: dict[Interval, int] = {}
        for t in range(first - 1, bound - 1, -1):
            for p in self.alive[t]:
                found.setdefault((p.addr, p.addr + p.extent(t)), t + 1)
            for p in self.draining[t]:
                found.setdefault((p.addr, p.addr + p.size), t + 1)
        return [(a, e, slot) for (a, e), slot in found.items()]

    def earliest(self, b: Buffer, bound: int) -> int:
        """The first slot, at least `bound`, from which on the place of b is free until its use."""
        return _free_from(self.used(b.first, bound), b.addr, b.addr + b.size, bound)


def _free_from(used: list[tuple[int, int, int]], first: int, end: int, bound: int) -> int:
    """The first slot, at least `bound`, from which on bytes are free (see LocalMemory.used)."""
    for a, e, slot in used:
        if a < end and e > first:
            return slot
    return bound


def _gaps(taken: list[Interval], size: int, need: int) -> list[Interval]:
    """Free ranges of at least `need` bytes between sorted (possibly overlapping) busy ones."""
    out, low = [], 0
    for a, e in taken:
        if a - low >= need:
            out.append((low, a))
        low = max(low, e)
    if size - low >= need:
        out.append((low, size))
    return out


def place_group(
    memory: LocalMemory, group: Group, times: dict[int, float], known: dict[tuple, Known | None]
) -> float:
    """Place all buffers of a group by the strategy that gives the shortest time (times: cycles of
    every action), which is returned: from the end of the steps before on, beside which its first
    loads may come. known: what was found out about groups, which grows. NoSpaceError leaves the
    memory as it was."""
    memory.grow(group.start + len(group.steps))
    buffers, loads = step_buffers(group.steps), _loads_of(group.steps)
    note_sources(memory.written, group.steps)
    turns = memory.turn[False], memory.turn[True]
    key = situation(group, buffers, turns, memory.around(group.start))
    if key not in known:
        known[key] = _choose(memory, group, buffers, loads, times)
    found = known[key]
    if found is None:
        raise NoSpaceError
    place_buffers(memory, buffers, loads, found.strategy)
    for t, s in enumerate(group.steps):
        for store in s.stores:
            if store.far:
                memory.written.note(group.start + t, store)
    return found.time


def _choose(
    memory: LocalMemory,
    group: Group,
    buffers: list[Buffer],
    loads: dict[Buffer, list[Load]],
    times: dict[int, float],
) -> Known | None:
    """The best strategy; one of the last resorts if no other finds room."""
    turn = dict(memory.turn)
    tail, start = group.before, group.start - len(group.before)
    timeline = Timeline(times, memory.lanes)

    def time_of(some: list[Step]) -> float:
        return timeline.end(serialise(some, memory.lanes, start))

    def attempt(strategy: Strategy) -> Known | None:
        try:
            place_buffers(memory, buffers, loads, strategy)
            return Known(strategy, time_of(tail + group.steps) - begin)
        except NoSpaceError:
            return None
        finally:
            memory.forget(set(buffers), group.start)
            memory.turn = dict(turn)

    begin = time_of(tail)
    constant = any(b.long_lived for b in buffers)
    found = [k for x in STRATEGIES if (constant or not x.early) and (k := attempt(x))]
    if found:
        return min(found, key=lambda k: k.time + k.strategy.handicap)
    return next((k for x in LAST_RESORTS if (k := attempt(x))), None)


def _loads_of(steps: list[Step]) -> dict[Buffer, list[Load]]:
    """The loads of every buffer."""
    loads: dict[Buffer, list[Load]] = {}
    for s in steps:
        for load in s.loads:
            loads.setdefault(load.buffer, []).append(load)
    return loads


def place_buffers(
    memory: LocalMemory,
    buffers: list[Buffer],
    loads: dict[Buffer, list[Load]],
    strategy: Strategy,
) -> None:
    """Results and constants of the whole group in the strategy's order, then the loads in the order
    of their use."""
    at_once = strategy.mixed or strategy.tight
    for b in sorted(
        (b for b in buffers if at_once or b.long_lived or not b.loaded), key=strategy.order
    ):
        if b.loaded and (strategy.early if b.long_lived else strategy.mixed):
            memory.place_load(b, loads[b], in_turn=b.long_lived)
        else:
            memory.place_fixed(b, strategy.drain, strategy.drain or not strategy.mixed)
    high = {False: False, True: False}
    for b in buffers:
        if b.long_lived:
            if not strategy.early:
                hoist_fixed(memory, b)
        elif b.filled and not b.loaded:
            hoist_filled(memory, b)
        elif b.loaded and at_once:
            memory.turn[b.constant] = max(memory.turn[b.constant], b.slot)
        elif b.loaded:
            memory.place_load(b, loads[b], high=high[b.constant])
            high[b.constant] ^= strategy.swing


def hoist_fixed(memory: LocalMemory, b: Buffer) -> None:
    """Issue the load of a constant of the whole group as early as its place is free."""
    bound = min(b.first, max(memory.turn[True], b.first - min(b.lead, LOOKAHEAD)))
    b.slot = memory.earliest(b, bound)
    memory.turn[True] = b.slot
    for t in range(b.slot, b.first):
        memory.alive[t].append(b)


def hoist_filled(memory: LocalMemory, b: Buffer) -> None:
    """Issue the load of the first rows of a result as early as its place is free."""
    first, bound = b.slot, max(b.ready, b.first - min(b.lead, LOOKAHEAD))
    if bound < first:
        b.slot = memory.earliest(b, bound)
    for t in range(b.slot, first):
        memory.alive[t].append(b)


def serialise(steps: list[Step], lanes: int, start: int = 0) -> list[Action]:
    """The one order in which both engines get their work: per slot first the loads whose place is
    free, then the stores of the step before, then the loads into the places that these stores
    release; then the computation. Where the computation waits for one of the last, loads for later
    ones come behind.

    start: number of the first step; loads issued before it come first."""
    loads: list[list[tuple[int, Load]]] = [[] for _ in steps]
    for i, s in enumerate(steps):
        for load in s.loads:
            loads[max(0, load.slot - start)].append((i, load))
    actions: list[Action] = []
    pending: list[Store] = []
    for t, s in enumerate(steps):
        stored = [(p.tile.buffer.addr, span(p.tile, p.region, lanes)) for p in pending]
        now: list[Load] = []
        early: list[Load] = []
        late: list[Load] = []
        urgent = False  # a load of this step waits for the stores
        for i, load in loads[t]:
            if pending and _waits(load, pending, stored, lanes):
                late.append(load)
                urgent |= i == t
            else:
                (now if i == t else early).append(load)
        actions += [*now, *pending, *late, *early] if urgent else [*now, *early, *pending, *late]
        pending = list(s.stores)
        if s.compute is not None:
            actions.append(s.compute)
    return actions + pending


def _waits(
    load: Load, pending: list[Store], stored: list[tuple[int, Interval]], lanes: int
) -> bool:
    """Does a load wait for one of the stores: for the bytes in local memory (stored: addresses and
    bytes there), in DDR, or kept?"""
    low, high = (load.buffer.addr + x for x in load.span(lanes))
    if any(addr + a < high and addr + e > low for addr, (a, e) in stored):
        return True
    tile, source = load.tile, load.source
    if source is not None:
        return any(source is p.into for p in pending)
    return tile is not None and any(feeds(p, tile.tensor, load.part) for p in pending)
