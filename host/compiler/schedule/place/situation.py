"""What the places of a group depend on.

The scheduler compares plans with others that differ from them in a few groups. All other groups
meet what they met before, perhaps some steps later: what is known about them is used again.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..plan import Plan
from ..program import Buffer, Step
from .strategy import Strategy

LOOKAHEAD = 24  # how many steps before its use a load may be issued


@dataclass(frozen=True)
class Group:
    """The steps of a group, the first of which has number `start`, and at most LOOKAHEAD placed
    ones before. plans: that of the group, behind those of the steps before."""

    plans: tuple[Plan, ...]
    steps: list[Step]
    start: int
    before: list[Step]


@dataclass(frozen=True)
class Known:
    """The best strategy for a group, and the time from the end of the steps before."""

    strategy: Strategy
    time: float


def situation(group: Group, buffers: list[Buffer], turns: tuple[int, int], around: tuple) -> tuple:
    """All that the choice of a strategy for a group depends on. turns: the latest slots that loads
    of tiles and of constants were given; around: LocalMemory.around. Steps are counted from the
    first of the group; what lies farther back than a load may be issued is all the same."""

    def since(slot: int) -> int:
        return max(slot - group.start, -LOOKAHEAD)

    return (
        group.plans,
        *map(since, turns),
        around,
        tuple(
            (
                since(b.first),
                since(b.last),
                b.drain if b.stored else 0,
                min(b.lead, LOOKAHEAD),
                since(b.ready),
            )
            for b in buffers
        ),
    )
