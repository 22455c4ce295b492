"""Which instructions compute the windows of an output region.

One, as a rule. Windows that meet nothing but padding have instructions of their own where that is
all there is, or where the padding is larger than an instruction takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...chip import Chip, align16
from ...schedule.layers import Layer, Window
from ...schedule.program import Region, Tile
from ...schedule.regions import Interval, needed, pads
from .operand import Operand, operand

MAX_PAD = 15  # rows or columns of padding on each side (hw/cv18xx-tiu.md section 1.3)


@dataclass(frozen=True)
class Piece:
    """One instruction. padding: its windows meet nothing but padding."""

    out: Operand
    x: Operand
    window: Window
    padding: bool


@dataclass(frozen=True)
class AxisPiece:
    """A piece along one axis: output and input interval, pads before and behind, stride."""

    out: Interval
    source: Interval
    pads: Interval
    stride: int
    padding: bool = False


def window_pieces(
    layer: Layer, out: Tile, part: Region, tile: Tile, channels: Interval, chip: Chip
) -> Iterator[Piece]:
    """The instructions that compute the region `part` of `out` from `channels` of the input."""
    for rows in axis_pieces(layer, part.h, 0):
        for cols in axis_pieces(layer, part.w, 1):
            padding = rows.padding or cols.padding
            source = Region(part.n, channels, rows.source, cols.source)
            window = replace(
                layer.window,
                strides=(rows.stride, cols.stride),
                pads=(rows.pads[0], cols.pads[0], rows.pads[1], cols.pads[1]),
            )
            yield Piece(
                operand(out, part._replace(h=rows.out, w=cols.out), chip),
                unused(tile, source, chip) if padding else operand(tile, source, chip),
                window,
                padding,
            )


def unused(tile: Tile, region: Region, chip: Chip) -> Operand:
    """An input of which only the shape counts: packed at the beginning of the tile, as a
    convolution needs it."""
    n, c, h, w = region.shape
    groups, plane = -(-c // chip.lanes), align16(h * w)
    end = tile.addr + n * groups * plane
    return Operand(region.shape, 0, tile.addr, (groups * plane, plane, w, 1), (tile.addr, end))


def axis_pieces(layer: Layer, out: Interval, axis: int) -> list[AxisPiece]:
    """The output interval cut into windows in the padding in front, those that meet the map, and
    windows in the padding behind. As many as possible of the former two go with those that meet the
    map: all where padding is at most MAX_PAD."""
    w, size = layer.window, layer.inputs[0].shape[2 + axis]
    stride, extent, pad = w.strides[axis], w.extent[axis], w.pads[axis]
    source = needed(layer, out, axis)
    first, last = layer.window.reach(out, axis)
    if last <= 0 or first >= size:
        return in_padding(out, source, extent)
    a = max(out[0], -((MAX_PAD - pad) // stride))
    b = min(out[1], (size + MAX_PAD + pad - extent) // stride + 1)
    middle = AxisPiece((a, b), source, pads(layer, (a, b), axis), stride)
    before, behind = (out[0], a), (b, out[1])
    return [*in_padding(before, source, extent), middle, *in_padding(behind, source, extent)]


def in_padding(out: Interval, source: Interval, extent: int) -> list[AxisPiece]:
    """Windows in the padding, two rows apart, in front of one row of the input, which the last of
    these steps leaves out."""
    if out[0] == out[1]:
        return []
    one, most = (source[0], source[0] + 1), (MAX_PAD - extent) // 2 + 1
    cuts = [(i, min(i + most, out[1])) for i in range(*out, most)]
    return [AxisPiece(c, one, ((c[1] - c[0] - 1) * 2 + extent, 0), 2, True) for c in cuts]


def fits_one_instruction(window: Window) -> bool:
    """Are all windows that meet the map one instruction?"""
    return max(window.pads) <= MAX_PAD


def padding_limit(window: Window) -> str:
    """Why padding is too large; empty if it is not: windows beyond MAX_PAD may not meet the map,
    and the step over what is left of the padding may not jump over the beginning of the map."""
    for axis in (0, 1):
        most = max(window.pads[axis], window.pads[axis + 2])
        if most > MAX_PAD and window.extent[axis] > MAX_PAD:
            return f"padding {window.pads} exceeds {MAX_PAD} for a kernel over {window.extent}"
        if most > MAX_PAD and window.strides[axis] > MAX_PAD:
            return f"padding {window.pads} and stride {window.strides} exceed {MAX_PAD}"
    return ""
