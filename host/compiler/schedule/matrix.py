"""Steps of a fully connected layer (kind "fc"): result[n, cols] = x[n, k] * right[k, cols].

The layer is a group of its own. Plan.channels are parts of the columns, Plan.ic_slices parts of k
with 32-bit partial sums, tiles[0] parts of the rows n. Rows lie in local memory as the backend
spreads them (Backend.spread), so a slice of x is loaded as a matrix of its own; the slices of x
stay for all parts of the columns where they are small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .layers import Layer, Tensor
from .plan import Plan
from .program import Backend, Buffer, Compute, Load, Region, Tile
from .regions import Interval, split

if TYPE_CHECKING:
    from .steps import StepBuilder

KEPT_SHARE = 0.4  # of local memory, at most, for an x that stays


def row_bytes(backend: Backend, columns: int) -> int:
    """Bytes per lane of one row of a matrix."""
    channels, width = backend.spread(columns)
    return -(-channels // backend.lanes) * backend.plane_bytes(1, width)


def k_slices(plan: Plan) -> list[Interval]:
    """The parts of k, one if it is not cut."""
    return plan.ic_slices or [(0, plan.layers[0].inputs[0].shape[1])]


def left_bytes(backend: Backend, rows: int, slices: list[Interval]) -> tuple[int, bool]:
    """(bytes of x that a step should find room for, x stays): all slices if they stay, else two."""
    sizes = [rows * row_bytes(backend, b - a) for a, b in slices]
    keep = len(sizes) == 1 or sum(sizes) <= KEPT_SHARE * backend.local_bytes
    return (sum(sizes) if keep else 2 * sizes[0]), keep


def matrix_tile(
    s: StepBuilder, tensor: Tensor, n: Interval, columns: Interval, planes: int = 1
) -> Tile:
    """A new tile of rows of a matrix."""
    b, count = s.backend, columns[1] - columns[0]
    channels, width = b.spread(count)
    plane, groups = b.plane_bytes(1, width), -(-channels // b.lanes)
    buffer = Buffer(tensor.name, (n[1] - n[0]) * groups * plane * planes, s.now, s.now)
    return Tile(tensor, Region(n, columns, (0, 1), (0, 1)), buffer, 0, plane, groups, width=width)


def matrix_steps(s: StepBuilder, layer: Layer) -> None:
    """The steps of one part of the rows and one part of the columns."""
    x, y, use = layer.inputs[0], layer.output, s.plan.weights[layer]
    n = split(y.shape[0], s.plan.tiles[0], s.index[0])
    region = Region(n, s.part or (0, y.shape[1]), (0, 1), (0, 1))
    slices = k_slices(s.plan)
    _, keep = left_bytes(s.backend, n[1] - n[0], slices)
    out: Tile | None = None
    for i, k in enumerate(slices):
        left = _left(s, x, n, k, keep)
        weights, buffer = s.weights(layer, region.c, k, use)
        out = out or matrix_tile(s, y, n, region.c, 4 if len(slices) > 1 else 1)
        where = (
            "only"
            if len(slices) == 1
            else "first"
            if i == 0
            else "last"
            if i == len(slices) - 1
            else "middle"
        )
        s.finish(Compute("fc", layer, out, region, [(left, left.region)], weights, buffer, where))
    assert out is not None
    s.store(out, region)


def _left(s: StepBuilder, x: Tensor, n: Interval, k: Interval, keep: bool) -> Tile:
    """Columns k of x, loaded for the next step unless they are there already."""
    key = (x, Region(n, k, (0, 1), (0, 1)))
    if key in s.kept:
        return s.kept[key]
    tile = matrix_tile(s, x, n, k)
    tile.buffer.loaded = True
    s.waiting.append(Load(tile.buffer, tile=tile))
    if keep:
        s.kept[key] = tile
    return tile
