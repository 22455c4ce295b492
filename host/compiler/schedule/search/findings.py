"""What is found out about groups and plans, whatever the price of transfers: searches with
different prices (search.py) share it."""

from __future__ import annotations

from ..layers import Layer
from ..plan import Estimate, Plan
from ..program import Backend
from .cost import estimate
from .quick import Quick


class Findings:
    """Of the layers of one graph and for one backend."""

    def __init__(self, backend: Backend):
        self.backend = backend
        self.quicks: dict[tuple[Layer, ...], Quick] = {}
        self.estimates: dict[tuple, Estimate | None] = {}

    def quick(self, group: list[Layer]) -> Quick:
        """The sizes of a group."""
        key = tuple(group)
        if key not in self.quicks:
            self.quicks[key] = Quick(group, self.backend)
        return self.quicks[key]

    def estimate(self, plan: Plan, limit: float) -> Estimate | None:
        """cost.estimate."""
        key = (*plan.cuts, limit)
        if key not in self.estimates:
            self.estimates[key] = estimate(plan, self.backend, limit)
        return self.estimates[key]
