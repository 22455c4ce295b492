"""Steps of a fully connected layer (kind "fc"): result[n, cols] = x[n, k] * right[k, cols].

The layer is a group of its own, or the last of one in which it sums up over parts of what the
layers before it make (Plan.sums, steps.py). Alone: Plan.channels are parts of the columns,
Plan.ic_slices parts of k with 32-bit partial sums, tiles[0] parts of the rows n. A tile of rows is
one block or several: a block holds width * lanes columns of all its rows, and is spread over the
lanes as one matrix (Backend.spread). x stays in local memory for all parts of the columns if it is
small and its parts fill the lanes, a block per part of k; else its parts are loaded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layers import Layer, Tensor
from ..plan import Plan
from ..program import Backend, Buffer, Compute, Load, Region, Tile
from ..regions import Interval, split

if TYPE_CHECKING:
    from .builder import StepBuilder

KEPT_SHARE = 0.4  # of local memory, at most, for an x that stays
POINT: tuple[Interval, Interval] = ((0, 1), (0, 1))


def row_bytes(backend: Backend, columns: int) -> int:
    """Bytes per lane of one row of a matrix."""
    return backend.plane_bytes(1, backend.spread(columns)[1])


def k_slices(plan: Plan) -> list[Interval]:
    """The parts of k, one if it is not cut."""
    return plan.ic_slices or [(0, plan.layers[0].inputs[0].shape[1])]


def left_bytes(backend: Backend, rows: int, slices: list[Interval]) -> tuple[int, bool]:
    """(bytes of x that a step should find room for, x stays): all parts if x stays, else two."""
    length = slices[0][1] - slices[0][0]
    part, (channels, width) = rows * row_bytes(backend, length), backend.spread(length)
    small = len(slices) * part <= KEPT_SHARE * backend.local_bytes
    keep = len(slices) == 1 or (small and width * backend.lanes == channels * width == length)
    return part * (len(slices) if keep else 2), keep


def matrix_tile(
    s: StepBuilder, tensor: Tensor, n: Interval, columns: Interval, block: int = 0, planes: int = 1
) -> Tile:
    """A new tile of rows of a matrix in blocks of `block` columns (0: one block)."""
    b, count = s.backend, columns[1] - columns[0]
    _, width = b.spread(block or count)
    plane, groups = b.plane_bytes(1, width), -(-count // block) if block else 1
    buffer = Buffer(tensor.name, (n[1] - n[0]) * groups * plane * planes, s.now, s.now)
    return Tile(tensor, Region(n, columns, *POINT), buffer, 0, plane, groups, width=width)


def matrix_steps(s: StepBuilder, layer: Layer) -> None:
    """The steps of one part of the rows and one part of the columns."""
    y, use = layer.output, s.plan.weights[layer]
    n = split(y.shape[0], s.plan.tiles[0], s.index[0])
    region = Region(n, s.part or (0, y.shape[1]), *POINT)
    slices = k_slices(s.plan)
    out: Tile | None = None
    for i, k in enumerate(slices):
        left = left_tile(s, layer.inputs[0], n, i)
        weights, buffer = s.weights(layer, region.c, k, use)
        out = out or matrix_tile(s, y, n, region.c, planes=4 if len(slices) > 1 else 1)
        last = i == len(slices) - 1
        where = "only" if len(slices) == 1 else "first" if i == 0 else "last" if last else "middle"
        ins = [(left, left.region)]
        s.finish(Compute("fc", layer, out, region, ins, weights, buffer, where))
    assert out is not None
    s.store(out, region)


def left_tile(s: StepBuilder, x: Tensor, n: Interval, i: int) -> Tile:
    """Part i of k of x: a block of the x that stays, or loaded for the next step."""
    slices = k_slices(s.plan)
    region = Region(n, slices[i], *POINT)
    _, keep = left_bytes(s.backend, n[1] - n[0], slices)
    if not keep:
        tile = matrix_tile(s, x, n, slices[i])
        tile.buffer.loaded = True
        s.waiting.append(Load(tile.buffer, tile=tile))
        return tile
    key = (x, Region(n, (0, x.shape[1]), *POINT))
    if key not in s.kept:
        whole = matrix_tile(s, x, n, key[1].c, slices[0][1])
        whole.buffer.loaded = True
        s.waiting.append(Load(whole.buffer, tile=whole))
        s.kept[key] = whole
    whole = s.kept[key]
    place = i * (n[1] - n[0]) * whole.plane
    return Tile(x, region, whole.buffer, place, whole.plane, 1, width=whole.width)
