"""Steps of groups of one layer: a concat whose inputs pass through local memory, and a convolution
over slices of its input channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layers import Layer, Tensor
from ..plan import channel_slices
from ..program import Compute, Load, Region, Tile

if TYPE_CHECKING:
    from .builder import StepBuilder


def concat_moves(b: StepBuilder, layer: Layer) -> None:
    """The inputs that do not lie in the concat yet pass through local memory, a third of it at
    a time."""
    offset = 0
    for x in layer.inputs:
        if x.parent is not layer.output or x.alias or x.channel_offset != offset:
            _move(b, layer, x, offset)
        offset += x.shape[1]


def _move(b: StepBuilder, layer: Layer, x: Tensor, offset: int) -> None:
    """Copy this tile of x to the channels of the concat from `offset` on."""
    full = b.regions[layer.output]
    n, _, h, w = full.shape
    groups = max(1, b.backend.local_bytes // 3 // (n * b.backend.tile_planes(x, 1, h, w)[1]))
    for c0, c1 in channel_slices(
        x.shape[1], b.backend.lanes, -(-x.shape[1] // (groups * b.backend.lanes))
    ):
        tile = b.new_tile(x, Region(full.n, (c0, c1), full.h, full.w), f"{x.name}.moved")
        tile.buffer.loaded = True
        b.waiting.append(Load(tile.buffer, tile=tile))
        b.finish(None)
        region = Region(full.n, (offset + c0, offset + c1), full.h, full.w)
        b.store(
            Tile(layer.output, region, tile.buffer, 0, tile.plane, tile.groups, tile.itemsize),
            region,
        )


def partial_sums(b: StepBuilder, layer: Layer) -> None:
    """One convolution over slices of its input channels: 32-bit partial sums in four byte
    planes."""
    use, x, y, pieces = (
        b.plan.weights[layer],
        layer.inputs[0],
        layer.output,
        b.plan.ic_slices,
    )
    region, source = b.regions[y], b.regions[x]
    out = None
    for i, ic in enumerate(pieces):
        tile = b.new_tile(x, Region(source.n, ic, source.h, source.w))
        tile.buffer.loaded = True
        b.waiting.append(Load(tile.buffer, tile=tile))
        weights, buffer = b.weights(layer, region.c, ic, use)
        out = out or b.new_tile(y, region, planes=4)
        where = "first" if i == 0 else "last" if i == len(pieces) - 1 else "middle"
        b.finish(Compute("conv", layer, out, region, [(tile, tile.region)], weights, buffer, where))
    assert out is not None
    b.store(out, region)
