"""Addresses in local memory, and how early every load may be issued.

Time is counted in steps. Slot t lies before computation t: there the TDMA gets the loads of slot t and the stores of
step t - 1, while the TIU works on step t - 1 and then t. Loads are issued in the order of their use; each goes into the
earliest slot at which its place is free, so that weights and tiles arrive while earlier steps still compute.
Correctness does not depend on this: the emitter derives the waits from the addresses.
"""

from __future__ import annotations

from bisect import insort

from .layers import Tensor
from .program import Buffer, Compute, Load, Step, Store

LOOKAHEAD = 32  # how many steps before its use a load may be issued


class NoSpaceError(Exception):
    """A buffer of a group found no place (its memory is too fragmented)."""

    def __init__(self, group: int, buffer: Buffer):
        super().__init__(buffer.name)
        self.group, self.buffer = group, buffer


class LocalMemory:
    """First-fit by time: places the buffers of consecutive steps."""

    def __init__(self, size: int):
        self.size = size
        self.placed: list[Buffer] = []
        self.slot = {False: 0, True: 0}  # slot of the latest load of tiles, of constants
        self.written: dict[Tensor, int] = {}  # root tensor -> step of its latest store

    def snapshot(self) -> tuple[list[Buffer], dict[bool, int], dict[Tensor, int]]:
        return list(self.placed), dict(self.slot), dict(self.written)

    def restore(self, state: tuple[list[Buffer], dict[bool, int], dict[Tensor, int]]) -> None:
        self.placed, self.slot, self.written = list(state[0]), dict(state[1]), dict(state[2])

    def place(self, b: Buffer, early: bool = True) -> bool:
        """Choose addr (and slot) for a buffer whose first use is at step b.first; False: no room.

        early: prefer the place that is free the earliest; otherwise the tightest gap."""
        now = b.first
        need = b.size + b.temp
        turn = self.slot[b.constant]
        oldest = min(now, max(turn, now - LOOKAHEAD, b.ready))
        horizon = min(now - 2, max(min(self.slot.values()), now - LOOKAHEAD) - 1)
        self.placed = [p for p in self.placed if p.last >= horizon]
        live = sorted((p.addr, p.addr + (p.size + p.temp if p.first == now else p.size)) for p in self.placed if p.last >= now)
        past = [(p.addr, p.addr + p.size + p.temp, p.last + (2 if p.stored and not b.loaded else 1)) for p in self.placed if p.last < now]
        past += [(p.addr + p.size, p.addr + p.size + p.temp, p.first + 1) for p in self.placed if p.temp and p.first < now <= p.last]
        best: tuple | None = None
        for low, high in _gaps(live, self.size, need):
            ends = {low, high - need}
            for a, e, _ in past:
                if low <= e <= high - need:
                    ends.add(e)
                if low <= a - need and a <= high:
                    ends.add((a - need) & ~15)
            for addr in ends:
                free = oldest
                for a, e, until in past:
                    if until > free and a < addr + need and e > addr:
                        free = until
                side = -addr if b.long_lived else addr
                key = (free, high - low, side) if early else (high - low, side, free)
                if best is None or key < best[0]:
                    best = (key, addr, free)
        if best is None:
            return False
        b.addr = best[1]
        if b.loaded:
            b.slot = self.slot[b.constant] = min(now, max(best[2], oldest))
        else:
            b.slot = now
        self.placed.append(b)
        return True


def _gaps(live: list[tuple[int, int]], size: int, need: int) -> list[tuple[int, int]]:
    """Free ranges of at least `need` bytes between the live ones."""
    out, low = [], 0
    for a, e in live:
        if a - low >= need:
            out.append((low, a))
        low = max(low, e)
    if size - low >= need:
        out.append((low, size))
    return out


def step_buffers(steps: list[Step]) -> list[Buffer]:
    """The buffers of the steps in order of first use; long-lived ones first, large ones before small ones."""
    found: dict[Buffer, None] = {}
    for s in steps:
        for load in s.loads:
            found[load.buffer] = None
        if s.compute is not None:
            found[s.compute.out.buffer] = None
    return sorted(found, key=lambda b: (b.first, not b.long_lived, not b.loaded, -b.size))


def place_group(memory: LocalMemory, steps: list[Step], group: int) -> None:
    """Place all buffers of a group; NoSpaceError after both strategies failed."""
    buffers = step_buffers(steps)
    _note_sources(memory, steps)
    state = memory.snapshot()
    for early in (True, False):
        memory.restore(state)
        failed = next((b for b in buffers if not memory.place(b, early)), None)
        if failed is None:
            return
    raise NoSpaceError(group, failed)


def _note_sources(memory: LocalMemory, steps: list[Step]) -> None:
    """Set `ready` of every load: behind the slot of the last store to the tensor it reads. A group never reads what it
    writes itself, so all its loads look at earlier groups."""
    first = next((b.first for b in step_buffers(steps)), 0)
    for s in steps:
        for load in s.loads:
            if load.tile is not None:
                load.buffer.ready = memory.written.get(load.tile.tensor.root, -1) + 1
    for t, s in enumerate(steps):
        for store in s.stores:
            memory.written[store.tensor.root] = first + t


def serialise(steps: list[Step]) -> list[Load | Compute | Store]:
    """The one order in which both engines get their work: per slot first the loads whose place is free, then the
    stores of the step before, then the loads into the places that these stores release; then the computation."""
    loads: list[list[tuple[int, Load]]] = [[] for _ in steps]
    for i, s in enumerate(steps):
        for load in s.loads:
            insort(loads[load.buffer.slot], (i, load), key=lambda x: x[0])
    actions: list[Load | Compute | Store] = []
    pending: list[Store] = []
    for t, s in enumerate(steps):
        stored = [(p.tile.buffer.addr, p.tile.buffer.addr + p.tile.buffer.size) for p in pending]
        late = []
        for _, load in loads[t]:
            b = load.buffer
            if any(a < b.addr + b.size and e > b.addr for a, e in stored) or _reads_back(load, pending):
                late.append(load)
            else:
                actions.append(load)
        actions += pending
        actions += late
        pending = list(s.stores)
        if s.compute is not None:
            actions.append(s.compute)
    return actions + pending


def _reads_back(load: Load, pending: list[Store]) -> bool:
    """The load reads what one of the stores writes."""
    return load.tile is not None and any(p.tensor.root is load.tile.tensor.root for p in pending)
