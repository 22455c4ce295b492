"""Ways to place the buffers of a group (local.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..program import Buffer


@dataclass(frozen=True)
class Strategy:
    """order: of the buffers that are placed first; drain: keep results off places that stores still
    read; mixed: place loads among the results, by size; swing: loads go in turn to the low and the
    high end of the room there is; early: constants of the whole group lie where they can be loaded
    the earliest, not at the high end; tight: place everything as low as possible, without regard to
    overlap."""

    order: Callable[[Buffer], tuple]
    drain: bool = True
    mixed: bool = False
    swing: bool = False
    early: bool = False
    tight: bool = False

    @property
    def handicap(self) -> float:
        """Cycles: loads at both ends leave less contiguous room for what the next group loads
        early."""
        return 12000.0 if self.swing else 0.0


def by_size(b: Buffer) -> tuple:
    return (not b.long_lived, -b.size - b.temp, b.first)


def by_area(b: Buffer) -> tuple:
    return (not b.long_lived, -(b.size + b.temp) * (b.last - b.first + 1), b.first)


def by_life(b: Buffer) -> tuple:
    return (not b.long_lived, b.first - b.last, -b.size - b.temp, b.first)


#: tried and compared; the others only while none has found room
STRATEGIES = (
    Strategy(by_size),
    Strategy(by_size, swing=True),
    Strategy(by_size, early=True),
    Strategy(by_size, drain=False),
    Strategy(by_size, mixed=True),
    Strategy(by_size, mixed=True, drain=False),
)
LAST_RESORTS = (Strategy(by_area), Strategy(by_life), Strategy(by_life, drain=False, tight=True))
