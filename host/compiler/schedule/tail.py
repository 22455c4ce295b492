"""A fully connected layer behind a convolution, spread over the time of that convolution.

Such a layer takes as long as its weights need to arrive, while the convolution before it leaves the
TDMA idle. Both as one group that sums up over parts of the channels between them (Plan.sums) load
their weights side by side. What that gains lies in part in what arrives while the group before
computes, which the estimate of a group does not see: here such plans are compared with the others
by placed steps, together with the group before.
"""

from __future__ import annotations

from collections.abc import Callable

from .layers import Layer
from .plan import SUMMING, Plan, summing_layer
from .search.search import Search

Score = Callable[[list[Plan]], float]
NEAR = 1.05  # plans that seem slower by more are not tried
BETTER = 0.995  # of the time of the groups that change and the one before: what pays


def spread_tails(plans: list[Plan], search: Search, score: Score) -> list[Plan]:
    """The plans with such groups where they pay. score: cost of plans that follow each other."""
    for last in [p for p in plans if p.sums < 0]:
        for layer in last.layers:
            if is_heavy(layer, search):
                plans = spread(plans, last, layer, search, score)
                break
    return plans


def is_heavy(layer: Layer, search: Search) -> bool:
    """A fully connected layer (in either form) whose weights do not fit local memory."""
    if layer.kind not in SUMMING or layer.output.shape[2:] != (1, 1):
        return False
    b, oc, ic = search.backend, layer.output.shape[1], layer.inputs[0].shape[1]
    return b.weight_bytes(layer, oc, ic) > b.local_bytes


def spread(plans: list[Plan], last: Plan, layer: Layer, search: Search, score: Score) -> list[Plan]:
    """The plans with a group that ends in `layer`, a layer of plan `last`, if it pays."""
    m = plans.index(last)
    behind = last.layers.index(layer) + 1
    layers = [x for p in plans[:m] for x in p.layers] + last.layers[:behind]
    group = summed_group(layers, search)
    if not any(x.kind in SUMMING for x in group[:-1]):
        return plans
    i = next(i for i, p in enumerate(plans) if group[0] in p.layers)
    head = plans[i].layers[: plans[i].layers.index(group[0])]
    before, old = plans[max(0, i - 1) : i], plans[i : m + 1]
    around = search.cover(head), search.cover(last.layers[behind:])
    quick, most = search.findings.quick(group), NEAR * estimate(old)
    found = search.bottlenecks(group, quick, len(group) - 1, search.limit)
    others = [[*around[0], p, *around[1]] for p in found if p is not None]
    others = [x for x in others if estimate(x) < most]
    best, least = old, BETTER * score([*before, *old]) if others else 0.0
    for tried in others:
        if (cost := score([*before, *tried])) < least:
            best, least = tried, cost
    return [*plans[:i], *best, *plans[m + 1 :]]


def estimate(plans: list[Plan]) -> float:
    """The time the plans promise."""
    return sum(p.cycles for p in plans)


def summed_group(layers: list[Layer], search: Search) -> list[Layer]:
    """The most of the last layers that the very last can sum up over."""
    count = 1
    for n in range(2, len(layers) + 1):
        group = layers[-n:]
        if not search.legal(group) or summing_layer(group) != n - 1:
            break
        count = n
    return layers[-count:]
