"""Tiles that stay in local memory from one group to the next.

Where a group ends with the whole of a tensor in one tile, and the next begins with loading just
that tile, the load is left out and the tile lives on. Nobody else needs the tensor? Then it is not
stored either, and has no place in DDR.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..layers import Layer, Tensor
from ..plan import leaves_group
from ..program import Buffer, Load, Region, Step, Store, Tile
from .local import LocalMemory


@dataclass(eq=False)
class Carry:
    """tile: what `step` of the next group would load into buffer `own`; `source`: the same bytes
    in the group before. last: the end of the source's life without this; stores: those that become
    needless, with their steps."""

    step: Step
    load: Load
    tile: Tile
    own: Buffer
    source: Tile
    last: int
    stores: list[tuple[Step, Store]]
    slots: list[int] = field(default_factory=list)  # numbers of the steps with the stores

    def apply(self, steps: list[Step], start: int, memory: LocalMemory) -> None:
        """Let the source live until the tile's last use, for a next group that begins at step
        `start`, behind `steps`."""
        b = self.source.buffer
        self.last, b.last = b.last, max(b.last, start + self.own.last)
        memory.grow(b.last + 1)
        if b.addr >= 0:  # the group before brought it in from one still earlier
            memory.extend(b, self.last)
        self.tile.buffer, self.tile.offset = b, self.source.offset
        self.step.loads.remove(self.load)
        self.slots = [start - len(steps) + steps.index(step) for step, _ in self.stores]
        for step, store in self.stores:
            step.stores.remove(store)
            b.stored = False

    def undo(self, memory: LocalMemory, moved: int = 0) -> None:
        """As it was before `apply`. moved: by how many steps the next group has moved since."""
        b = self.source.buffer
        if b.addr >= 0:
            memory.shorten(b, self.last)
        b.last = self.last
        self.own.move(moved)
        self.tile.buffer, self.tile.offset = self.own, 0
        self.step.loads.insert(0, self.load)
        for slot, (step, store) in zip(self.slots, self.stores, strict=True):
            step.stores.append(store)
            b.stored = True
            if moved:  # the group before has been placed without it
                memory.written.note(slot, store)


def find_carries(
    steps: list[Step], layers: list[Layer], following: list[Step], next_layers: list[Layer]
) -> list[Carry]:
    """What may stay between two groups, none of whose buffers have moved yet in `following`."""
    sources: dict[tuple[Tensor, Region], Tile] = {}
    for s in steps:
        if s.compute is not None:
            for tile in (s.compute.out, *(t for t, _ in s.compute.ins)):
                sources[tile.tensor, tile.region] = tile
    users: dict[Buffer, set[Tile]] = {}
    loads = [(s, x) for s in following for x in s.loads if x.tile is not None and x.region is None]
    for s in following:
        if s.compute is not None:
            for tile in (s.compute.out, *(t for t, _ in s.compute.ins)):
                users.setdefault(tile.buffer, set()).add(tile)
        for x in s.stores:
            users.setdefault(x.tile.buffer, set()).add(x.tile)
    found = []
    for s, load in loads:
        wanted = load.tile
        assert wanted is not None
        t = wanted.tensor
        source = sources.get((t, wanted.region))
        if source is None or not _alike(source, wanted) or users.get(wanted.buffer) != {wanted}:
            continue
        once = sum(x.tile.tensor.root is t.root for _, x in loads if x.tile) == 1
        inside = once and t.parent is None and not leaves_group(t, {*layers, *next_layers})
        stores = [(k, x) for k in steps for x in k.stores if x.tensor is t and x.into is None]
        if not inside or any(x.tile.buffer is not source.buffer for _, x in stores):
            stores = []
        found.append(Carry(s, load, wanted, wanted.buffer, source, source.buffer.last, stores))
        del sources[t, wanted.region]
    return found


def _alike(a: Tile, b: Tile) -> bool:
    """The same layout; a float tile may be used up by its reader."""
    return (
        (a.plane, a.groups, a.itemsize, a.width) == (b.plane, b.groups, 1, 0)
        and b.itemsize == 1
        and b.offset == 0
    )
