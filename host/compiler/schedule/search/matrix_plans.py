"""Plans of a fully connected layer: how its rows, columns and inner dimension are cut (matrix.py).

A slice of the right matrix streams in while the one before is used. All cuts that fit are compared
by size, the best few are evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

from ..layers import Layer
from ..plan import Plan, WeightUse, channel_slices
from ..program import Backend
from ..steps.matrix import left_bytes, row_bytes

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
ALIGN = 16  # k is cut at multiples of this
KEEP = 6


def matrix_plans(
    layer: Layer,
    backend: Backend,
    limit: float,
    evaluate: Callable[[Plan, float], Plan | None],
) -> Iterator[Plan | None]:
    """The plans that look best, evaluated; the best of all that fit if none of them does."""
    found = sorted(_cuts(layer, backend, limit), key=lambda f: f[0])
    fits = 0
    for i, (_, plan) in enumerate(found):
        if i >= KEEP and fits:
            return
        done = evaluate(plan, limit)
        fits += done is not None
        yield done


def _cuts(layer: Layer, b: Backend, limit: float) -> Iterator[tuple[float, Plan]]:
    """(estimated cycles, plan) of the cuts that seem to fit."""
    (n, k), columns = layer.inputs[0].shape[:2], layer.output.shape[1]
    tilings = [t for t in range(1, n + 1) if n % t == 0 and n // t <= b.max_dim]
    depths = _distinct(k, ALIGN, b.channel_step(layer))
    widths = _distinct(columns, b.channel_step(layer))
    for tn, slices, parts in product(tilings, depths, widths):
        rows, depth, width = n // tn, slices[0][1] - slices[0][0], parts[0][1] - parts[0][0]
        cut = len(slices) > 1
        blob = b.weight_bytes(layer, width, depth)
        left, keep = left_bytes(b, rows, slices)
        result = rows * row_bytes(b, width) * (4 if cut else 1)
        if depth > b.max_dim or left + result + blob > limit:
            continue
        double = (left if keep else 2 * left) + 2 * (result + blob) <= limit
        again = tn if cut else 1
        steps = len(slices) * len(parts)
        tiu = tn * steps * b.compute_cycles("fc", layer, (rows, width, 1, 1), depth, cut)
        load = b.weight_cycles(-(-depth * width // b.lanes))
        moved = again * steps * load
        moved += (
            tn * (1 if keep else len(parts)) * len(slices) * b.matrix_cycles((rows, depth, 1, 1))
        )
        moved += tn * len(parts) * b.matrix_cycles((rows, width, 1, 1))
        time = max(tiu, moved) if double else tiu + moved
        time += load  # the first slice, with nothing to hide behind
        use = WeightUse([], tn > 1 and not cut)
        yield (
            time,
            Plan(
                [layer], (tn, 1, 1), {layer: use}, parts, tn > 1 and not cut, slices if cut else []
            ),
        )


def _distinct(size: int, *steps: int) -> list[list[tuple[int, int]]]:
    """Different ways to cut `size` into equal slices at multiples of one of the steps."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for step in steps:
        for count in COUNTS:
            slices = channel_slices(size, step, count)
            found[slices[0]] = slices
    return list(found.values())
