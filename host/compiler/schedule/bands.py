"""The first layer of a program begins before all of its input has arrived.

Later groups load their input while the one before computes; the first has nothing to hide it
behind. Computed in bands of rows, each on a tile of its own, only the first band waits. Tiles of
the whole group would do the same, at the price of halo rows and of constants loaded again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .plan import Plan, group_tensors

if TYPE_CHECKING:
    from .settle import Settled, Settler

COUNTS = (2, 3, 4, 6)  # bands that are tried
WORTH = 0.003  # share of the whole time that loading the input takes at least


def first_in_bands(best: Settled, settler: Settler) -> Settled:
    """The plans with the first layer in bands where that pays."""
    plans, backend = best.plans, settler.backend
    k = next((i for i, p in enumerate(plans) if not p.is_nothing), None)
    if k is None or not can_be_cut(plans[k]):
        return best
    x = plans[k].layers[0].inputs[0]
    if backend.transfer_cycles(x.shape, x, False) < WORTH * best.score:
        return best
    for count in COUNTS:
        tried = [*plans[:k], replace(plans[k], bands=count), *plans[k + 1 :]]
        best = min(best, settler.settle(tried, best.exact), key=lambda s: s.score)
    return best


def can_be_cut(plan: Plan) -> bool:
    """One tile, whose first layer reads one tensor from DDR that no other layer of the group
    reads, with all of its constants at once."""
    first, use = plan.layers[0], plan.weights.get(plan.layers[0])
    sources = group_tensors(plan.layers)[0]
    return (
        plan.tiles == (1, 1, 1)
        and first.kind in ("conv", "depthwise", "maxpool", "avgpool")
        and not (plan.channels or plan.ic_slices or plan.sums >= 0)
        and (use is None or len(use.slices) == 1)
        and first.inputs[0] in sources
        and sum(x is first.inputs[0] for layer in plan.layers for x in layer.inputs) == 1
    )
