"""Where rows are kept (rolling.py): groups that cost less so than what else covers their layers.

Such plans are looked for when the others are known, and only for groups that could pay. They are
taken if the whole, placed, costs less, takes no longer and moves no more bytes.
"""

from __future__ import annotations

from itertools import accumulate

from .layers import Layer
from .plan import Plan
from .program import Backend
from .search.cover import GROUP_CYCLES, Groups, segments
from .search.rolling_plans import rolled
from .search.search import Search
from .settle import Settled, Settler

GAIN = 1.3  # kept rows are looked for where the time of a group is at most so far from paying
SLOWER = 1.001  # times as long as the others, if less is moved


def keep_rows(plans: list[Plan], search: Search, settler: Settler) -> Settled | None:
    """The plans, with kept rows where those pay, in their places; None where nothing can be
    gained."""
    better = candidates(search.groups, search)
    if not better:
        return None
    chosen: list[Plan] = []
    for old, new in segments(plans, search.groups.cheapest(better)):
        chosen += new if ddr(new) <= ddr(old) else old
    if not any(p.rolling for p in chosen):
        return None
    x, y = settler.settle(plans), settler.settle(chosen)
    pays = y.score < x.score and y.time <= SLOWER * x.time and y.moved <= x.moved
    return y if pays else x


def ddr(plans: list[Plan]) -> float:
    """Cycles of their transfers to and from DDR."""
    return sum(p.estimate.ddr for p in plans)


def candidates(groups: Groups, search: Search) -> dict[tuple[int, int], Plan]:
    """Plans with kept rows that cost less than what else covers their layers."""
    layers, after, total = search.graph.layers, groups.after(), groups.before[-1]
    least = [0.0, *accumulate(floor(x, search.backend) for x in layers)]
    better = {}
    others = {span: p.cycles for span, p in groups.plans.items()} | groups.least
    for (i, j), cycles in others.items():
        most = min(total - groups.before[i] - after[j] - GROUP_CYCLES, cycles)
        if cycles < GAIN * most and least[j] - least[i] < most:
            plan = rolled(search, layers[i:j], most, search.limit)
            if plan is not None:
                better[i, j] = plan
    return better


def floor(layer: Layer, backend: Backend) -> float:
    """Cycles of a layer at least."""
    if layer.kind == "concat":
        return 0.0
    ic = layer.inputs[0].shape[1]
    return backend.compute_cycles(layer.kind, layer, layer.output.shape, ic, False)
