"""schedule(graph, backend) -> Program."""

from __future__ import annotations

from ..ir import Graph
from .bands import first_in_bands
from .keep import keep_rows
from .layers import Layer, build_layers
from .place.carry import Carry
from .place.local import serialise
from .plan import Plan
from .program import Backend, Program
from .search.cover import segments
from .search.search import Search
from .settle import Settled, Settler, carries
from .slices import fitted
from .tail import spread_tails

FEW_STEPS = 600  # beyond, constants are always loaded as early as if they were not compressed
MANY_STEPS = 6000  # beyond, groups are not planned a second time (opt 3: they are)
ROUNDS = {
    0: (),
    1: (),
    2: (0.85, 0.7),
    3: (0.9, 0.8, 0.7, 0.6),
}  # shares of the memory a slow group gets when tried again
SLOW = 1.06  # a group is slow if placement makes it take so many times what its plan promised
BETTER = 0.998  # of what a part of the plans costs: what another must cost to replace it
SWITCH = 15000.0  # cycles that a boundary between groups costs beyond what group_time sees


def schedule(graph: Graph, backend: Backend, opt: int = 2) -> Program:
    """Choose groups and tiles, place every buffer in local memory, order transfers and
    computations.

    opt 0: every layer alone; 1, 2, 3: larger groups are tried. Raises DoesNotFitError,
    UnsupportedError."""
    layers = build_layers(graph, backend.lanes)
    for layer in layers.layers:
        layer.window = backend.window(layer)
    search = Search(layers, backend, opt)
    settler = Settler(search)
    best = found(settler)
    for price in backend.prices[1:] if plans_again(best, opt) else ():
        other = found(Settler(Search(layers, backend, opt, price, search.findings)))
        best = joined(best, other, settler)
    best = polished(best, settler)
    steps = [s for group in best.groups for s in group]
    groups = [p.layers for p in best.plans]
    return Program(layers, steps, serialise(steps, backend.lanes), groups, best.plans, best.local)


def plans_again(best: Settled, opt: int) -> bool:
    """Are groups planned a second time?"""
    return opt > 2 or (opt == 2 and best.count <= MANY_STEPS)


def found(settler: Settler) -> Settled:
    """The plans that seem best for the price of the search, in their places."""
    search = settler.search
    plans, best = search.run(), None
    if search.opt > 1:
        best = keep_rows(plans, search, settler)
        plans = best.plans if best else plans
        spread = spread_tails(plans, search, settler.score)
        plans, best = spread, best if spread == plans else None
    return best or settler.settle(plans)


def polished(best: Settled, settler: Settler) -> Settled:
    """Small changes of plans, where they pay."""
    opt = settler.search.opt
    if opt > 1 and best.count <= FEW_STEPS:
        best = min(best, settler.settle(best.plans, True), key=lambda s: s.score)
    shares = ROUNDS[opt] if plans_again(best, opt) else ()
    best = best if best.count > MANY_STEPS else finer(best, settler)
    for share in shares:
        best = improve(best, settler, share)
    if opt > 1:
        best = first_in_bands(best, settler)
    return best


def joined(best: Settled, other: Settled, settler: Settler) -> Settled:
    """The plans of `best`, or those found for another price where they cost less."""
    cost = {
        plan: time + settler.search.price * moved
        for s in (best, other)
        for plan, time, moved in zip(s.plans, s.times, s.moved_by, strict=True)
    }
    chosen: list[Plan] = []
    for old, new in segments(best.plans, other.plans):
        better = sum(cost[p] for p in new) < BETTER * sum(cost[p] for p in old)
        chosen += new if better else old
    if chosen == best.plans:
        return best
    return min(best, settler.settle(chosen, best.exact), key=lambda s: s.score)


def finer(best: Settled, settler: Settler) -> Settled:
    """Cut constants finer where two slices do not fit beside what neighbours hand over; keep what
    is faster."""
    todo = [(p, settler.build(p)) for p in best.plans]
    taken: list[Carry] = []
    others = []
    for k, (plan, steps) in enumerate(todo):
        if not plan.is_nothing:
            kept = carries(plan, steps, todo[:k:-1])
            plan = fitted(plan, steps, taken, kept, settler.backend)
            taken = kept
        others.append([plan])
    return mixed(best, others, settler)


def improve(best: Settled, settler: Settler, share: float) -> Settled:
    """Plan slow groups again with a share of the memory they took; keep what is faster."""
    others = []
    for p, t in zip(best.plans, best.times, strict=True):
        slow = not p.is_nothing and t > SLOW * p.cycles
        others.append(settler.search.cover(p.layers, p.estimate.peak * share) if slow else [p])
    return mixed(best, others, settler)


def mixed(best: Settled, others: list[list[Plan]], settler: Settler) -> Settled:
    """The plans of `best`, or for each the other plans of its layers where they take less time."""
    again = [o != [p] for p, o in zip(best.plans, others, strict=True)]
    if not any(again):
        return best
    tried = settler.settle([p for group in others for p in group], best.exact)
    cost: dict[Layer, float] = {}
    for p, t in zip(tried.plans, tried.times, strict=True):
        cost |= dict.fromkeys(p.layers, 0.0) | {p.layers[0]: t}
    chosen: list[Plan] = []
    for p, t, differs in zip(best.plans, best.times, again, strict=True):
        other = [q for q in tried.plans if q.layers[0] in set(p.layers)]
        better = differs and sum(cost[x] for x in p.layers) + SWITCH * (len(other) - 1) < 0.98 * t
        chosen += other if better else [p]
    if chosen == best.plans:
        return best
    if chosen != tried.plans:
        tried = settler.settle(chosen, best.exact)
    return min(best, tried, key=lambda s: s.score)
