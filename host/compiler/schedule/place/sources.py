"""When what a load reads is complete in DDR: the step of the last store that writes it."""

from __future__ import annotations

from bisect import insort

from ..layers import Tensor
from ..program import Buffer, Region, Step, Store, feeds

ROWS = 8  # of a map that are looked up together


class Written:
    """The stores to DDR so far with their steps. Where region and store are rows of the same map
    (see program.feeds), only the stores to rows nearby are looked at: networks of large maps have
    thousands of tiles, and every load asks."""

    def __init__(self) -> None:
        self.last: dict[Tensor, dict[Tensor, int]] = {}  # root -> tensor -> its last store's step
        self.rows: dict[tuple[Tensor, int], list[tuple[int, Store]]] = {}  # ROWS rows, by step

    def note(self, step: int, store: Store) -> None:
        """Remember which step writes to DDR."""
        t = store.tensor
        last = self.last.setdefault(t.root, {})
        last[t] = max(step, last.get(t, step))
        for block in _blocks(store.region):
            insort(self.rows.setdefault((t, block), []), (step, store), key=lambda x: x[0])

    def ready(self, t: Tensor, region: Region) -> int:
        """The first slot in which a region of t is complete: behind the last store that may write
        bytes of it; 0 without one."""
        found = 0
        for other, last in self.last.get(t.root, {}).items():
            if other is not t and None in (other.root_channel, t.root_channel):
                found = max(found, last + 1)
                continue
            for block in _blocks(region):
                stores = reversed(self.rows.get((other, block), ()))
                found = max(found, next((k + 1 for k, x in stores if feeds(x, t, region)), 0))
        return found


def _blocks(region: Region) -> range:
    return range(region.h[0] // ROWS, (region.h[1] - 1) // ROWS + 1)


def note_sources(written: Written, steps: list[Step]) -> None:
    """Set `ready` of every load; of its buffer: that of the first of its loads. A group never reads
    from DDR what it writes itself, so all its loads look at earlier groups, or at its own kept
    rows."""
    ready: dict[Buffer, int] = {}
    for s in steps:
        for load in s.loads:
            if load.source is not None:
                load.ready = load.source.buffer.first + 1
            elif load.tile is not None:
                load.ready = written.ready(load.tile.tensor, load.part)
            if load.tile is not None:
                ready[load.buffer] = min(ready.get(load.buffer, load.ready), load.ready)
    for b, slot in ready.items():
        b.ready = slot
