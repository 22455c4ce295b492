"""Plans that cover consecutive layers at the least cost: dynamic programming over their order.

best[j] = min over i of best[i] + cost(group of layers i .. j - 1) + GROUP_CYCLES.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from ..plan import Plan

GROUP_CYCLES = 300.0  # latency between groups: a store, the wait for it, the first load
INFINITE = float("inf")
Span = tuple[int, int]  # number of the first layer, and of that behind the last


@dataclass
class Groups:
    """The cheapest plan found for each group of a number of layers that may belong to the cheapest
    way; least: what the other groups cost at least; before: what the layers before a place do."""

    plans: dict[Span, Plan] = field(default_factory=dict)
    least: dict[Span, float] = field(default_factory=dict)
    before: list[float] = field(default_factory=lambda: [0.0])

    def add(self, i: int, j: int, plan: Plan) -> float:
        """Note a plan; what the layers up to j cost with it."""
        self.plans[i, j] = plan
        return self.before[i] + plan.cycles + GROUP_CYCLES

    def after(self) -> list[float]:
        """What the layers behind each place cost at least."""
        cost = [0.0] * len(self.before)
        starts: dict[int, list[int]] = {}
        for i, j in self.plans:
            starts.setdefault(i, []).append(j)
        for i in range(len(cost) - 2, -1, -1):
            ends = (j for j in starts.get(i, ()) if cost[j] < INFINITE)
            ways = (self.plans[i, j].cycles + cost[j] for j in ends)
            cost[i] = min(ways, default=INFINITE) + GROUP_CYCLES
        return cost

    def cheapest(self, better: Mapping[Span, Plan] | None = None) -> list[Plan]:
        """The plans on the cheapest way; those of `better` come before the others."""
        plans = {**self.plans, **(better or {})}
        best: list[tuple[float, int]] = [(0.0, 0)]
        starts: dict[int, list[int]] = {}
        for i, j in plans:
            starts.setdefault(j, []).append(i)
        for j in range(1, len(self.before)):
            ways = ((best[i][0] + plans[i, j].cycles + GROUP_CYCLES, -i) for i in starts[j])
            best.append(min(ways))
        found: list[Plan] = []
        j = len(self.before) - 1
        while j:
            i = -best[j][1]
            found.append(plans[i, j])
            j = i
        return found[::-1]


def segments(a: list[Plan], b: list[Plan]) -> Iterator[tuple[list[Plan], list[Plan]]]:
    """Both lists, which cover the same layers, cut wherever groups of both end."""
    ends = [[*accumulate(len(p.layers) for p in plans)] for plans in (a, b)]
    start = [0, 0]
    for end in sorted(set(ends[0]) & set(ends[1])):
        stop = [e.index(end) + 1 for e in ends]
        yield a[start[0] : stop[0]], b[start[1] : stop[1]]
        start = stop
