"""Regions: half-open intervals of rows or columns, and which input interval an output interval
needs."""

from __future__ import annotations

from math import gcd

from .layers import Layer, Tensor, Window

Interval = tuple[int, int]


def split(size: int, parts: int, index: int) -> Interval:
    """Part `index` of `size` rows cut into `parts` nearly equal parts."""
    return size * index // parts, size * (index + 1) // parts


def needed(layer: Layer, out: Interval, axis: int) -> Interval:
    """Rows (axis 0) or columns (axis 1) of the input behind the output interval: `windowed`."""
    size, end = layer.inputs[0].shape[2 + axis], layer.output.shape[2 + axis]
    return windowed(layer.window, out, axis, size, end)


def windowed(window: Window, out: Interval, axis: int, size: int, end: int) -> Interval:
    """Rows of the `size` of a map behind those of a result that has `end`, clipped to the map: at
    least one, also when all windows lie in the padding. For all of the result, what lies behind the
    last window is taken along where it is less than a stride: it changes no value, and whole rows
    and maps are read and packed without another copy."""
    first, last = window.reach(out, axis)
    return clipped(first, last, size, window.strides[axis] if out == (0, end) else 0)


def clipped(first: int, last: int, size: int, near: int) -> Interval:
    """At least one of `size` rows; up to the border if it is less than `near` away."""
    behind = size - near < last
    return min(max(first, 0), size - 1), size if behind else max(last, 1)


def needed_of(layer: Layer, x: Tensor, out: Interval, axis: int) -> Interval:
    """`needed` for input x of the layer: all of an input that has one value per channel beside a
    larger map."""
    size = x.shape[2 + axis]
    return (0, size) if size < layer.inputs[0].shape[2 + axis] else needed(layer, out, axis)


def pads(layer: Layer, out: Interval, axis: int) -> tuple[int, int]:
    """Rows of padding above and below the clipped input interval of `needed`."""
    first, last = layer.window.reach(out, axis)
    return max(-first, 0), max(last - layer.inputs[0].shape[2 + axis], 0)


def union(a: Interval | None, b: Interval) -> Interval:
    return b if a is None else (min(a[0], b[0]), max(a[1], b[1]))


def tile_regions(
    layers: list[Layer], sinks: list[Tensor], parts: int, index: int, axis: int
) -> dict[Tensor, Interval]:
    """For tile `index` of `parts`: the interval of every tensor of a group along one axis.

    Sinks (tensors that leave the group) are cut in proportion to their own size; going backwards
    every tensor gets the union of what its consumers need."""
    regions: dict[Tensor, Interval] = {}
    for t in sinks:
        size = t.shape[2 + axis]
        regions[t] = split(size, parts, index)
    for layer in reversed(layers):
        out = regions[layer.output]
        for x in layer.inputs:
            regions[x] = union(regions.get(x), needed_of(layer, x, out, axis))
    return regions


def band_rows(rows: Interval, width: int, count: int, alignment: int) -> list[Interval]:
    """Rows cut into at most `count` bands that begin at multiples of `alignment` bytes."""
    unit = alignment // gcd(alignment, width)
    length = -(-(rows[1] - rows[0]) // (count * unit)) * unit
    return [(a, min(a + length, rows[1])) for a in range(rows[0], rows[1], length)]
