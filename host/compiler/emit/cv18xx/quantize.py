"""Quantize on the TPU: float32 -> int8, clamp(floor(x16 * k + 1/2)) (tpu.arith.quantise_f32_tpu).

x16 = hi + m are the upper 16 significant bits of x: hi its upper half, a bf16, and m = base * b *
2^-15 with base = +-2^exponent (hi without its mantissa) and b the byte below hi. The factor k has 8
significant bits, so that x16 * k is exact in fp32. Adding 1.5 * 2^23 leaves no room for a fraction:
the sum, truncated, is floor + 1.5 * 2^23. All operands are bf16 numbers, so one matrix product over
five planes, three of them of ones, makes the result, an integer:

    z[element] = (k * 2^-15) * (base * b) + k * hi + 1/2 + 1.5 * 2^23 - 1.5 * 2^23

The TDMA's conversion to int8 saturates it at both ends.

The float tile lies in parts (`float_parts`): some rows of all channels, spread over the lanes as
one run of numbers, so that every execution unit has work, and what is left of an odd tile.
Temporary behind the result: the five planes, a plane of bytes, and two planes of bytes as bf16,
taken in turn, so that the engines overlap. Before the first part the TIU copies 1.0 to the planes
of ones. Per part:

    TIU   bytes = b (of every four bytes of the part)
    TDMA  bf16(bytes); then what was put off for it: the next part's load, a piece of a store
    TIU   hi = upper halves; third byte of the part &= 0x80, so that its upper halves are base
    TIU   bytes of the next part
    TIU   m = bf16(bytes) * base; part = matrix product
    TDMA  out = int8(product)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from ...chip import Chip, align16
from ...errors import InternalError
from ...isa.cv18xx import cost
from ...schedule.program import Compute, Region, Tile
from ...tpu.arith import FLOOR, bf16_truncated
from .operand import Operand
from .tdma import IN_LOCAL, MAX_ROW_STRIDE, Shape

if TYPE_CHECKING:
    from ...schedule.layers import Layer, Tensor
    from .compute import Emitter

LOW, HIGH, ONES, PLANES = 0, 1, 2, 5  # base * b; hi; three times 1.0
PARTS, LEAST_PART, MOST_PART = 3, 256, 512  # parts wished for; their elements per lane


@dataclass(frozen=True)
class FloatPart:
    """A box of a tile of floats (counted from its first element), in local memory (channels, width)
    elements at byte `offset`. plane: bytes per lane as bf16 numbers."""

    box: Region
    channels: int
    width: int
    offset: int
    groups: int

    @property
    def plane(self) -> int:
        return self.groups * align16(2 * self.width)

    @property
    def byte_plane(self) -> int:
        return self.groups * align16(self.width)

    @property
    def end(self) -> int:
        return self.offset + self.groups * align16(4 * self.width)


def float_parts(shape: Shape, full_width: int, lanes: int) -> list[FloatPart]:
    """The parts of a tile (n, c, h, w) of float32 out of a tensor of this width. The elements of a
    part, in the order c, h, w, are dealt out to the lanes in runs of equal length; the length is a
    multiple of 8 but for the last of these parts. What the lanes do not divide (a row, a channel
    or an element) is one more part in the usual layout, a channel per lane; so is a tile out of
    rows too long for a part of them to be loaded."""
    n, c, h, w = shape
    if 4 * full_width > MAX_ROW_STRIDE:
        return [_usual_part(Region((0, n), (0, c), (0, h), (0, w)), 0, lanes)]
    c_even, h_even, w_even = _dealt_out(c, h, w, lanes)
    parts = []
    if count := c_even * h_even * w_even:
        unit = 8 * lanes // gcd(c_even * w_even, 8 * lanes)
        wanted = min(max(count // lanes // PARTS, LEAST_PART), MOST_PART)
        step = max(1, wanted * lanes // (c_even * w_even * unit)) * unit
        for a in range(0, h_even, step):
            b = min(a + step, h_even)
            row = c_even * w_even
            box = Region((0, n), (0, c_even), (a, b), (0, w_even))
            parts.append(FloatPart(box, lanes, row * (b - a) // lanes, 4 * row * a // lanes, 1))
    if count < c * h * w:
        rest = [
            (even if count and even < size else 0, size)
            for size, even in ((c, c_even), (h, h_even), (w, w_even))
        ]
        box = Region((0, n), *rest)
        parts.append(_usual_part(box, parts[-1].end if parts else 0, lanes))
    return parts


def _dealt_out(c: int, h: int, w: int, lanes: int) -> tuple[int, int, int]:
    """The largest box whose elements the lanes divide, cut off a tile along one axis; 0, 0, 0:
    there is none."""
    rows = h - h % (lanes // gcd(c * w, lanes))
    if rows:
        return c, rows, w
    channels = c - c % (lanes // gcd(h * w, lanes))
    if channels:
        return channels, h, w
    columns = w - w % (lanes // gcd(c, lanes)) if h == 1 else 0  # or its rows had gaps
    return (c, h, columns) if columns else (0, 0, 0)


def _usual_part(box: Region, offset: int, lanes: int) -> FloatPart:
    _, c, h, w = box.shape
    return FloatPart(box, c, h * w, offset, -(-c // lanes))


def is_quantised(tensor: Tensor) -> bool:
    """Is it loaded in parts?"""
    return any(layer.kind == "quantize" for layer in tensor.consumers)


def float_planes(shape: Shape, full_width: int, lanes: int) -> tuple[int, int]:
    """(planes, bytes of one) of a tile (1, c, h, w) of floats."""
    parts = float_parts(shape, full_width, lanes)
    planes = parts[0].groups if len(parts) == 1 else 1
    return planes, parts[-1].end // planes


def tile_parts(tile: Tile, lanes: int) -> list[FloatPart]:
    """The parts of a tile of float32 as it is loaded."""
    return float_parts(tile.region.shape, tile.tensor.shape[3], lanes)


def float_operand(tile: Tile, part: FloatPart) -> Operand:
    """A part as bytes (n, channels, 1, 4 * width)."""
    n, width, image = tile.region.shape[0], 4 * part.width, tile.groups * tile.plane
    start, plane = tile.addr + part.offset, align16(width)
    end = start + (n - 1) * image + (part.groups - 1) * plane + width
    return Operand((n, part.channels, 1, width), 0, start, (image, plane, width, 1), (start, end))


def quantize_temp(shape: Shape, full_width: int, lanes: int) -> int:
    """Bytes behind the result: the matrix, bytes, and those as bf16 of one part or two."""
    parts = float_parts(shape, full_width, lanes)
    largest = _largest(parts)
    return (PLANES + min(shape[0] * len(parts), 2)) * largest.plane + largest.byte_plane


def _largest(parts: list[FloatPart]) -> FloatPart:
    return max(parts, key=lambda p: p.plane)


def quantize_cycles(chip: Chip, shape: Shape, full_width: int) -> float:
    """What the busier engine does once the first part is there, and the conversions of the last
    part; `transfer_cycles` counts the load of the first part only. (The TDMA may have loaded the
    others before.)"""
    parts = float_parts(shape, full_width, chip.lanes)
    tiu = cost.arith_cycles(chip, "copy", bf16=True, **_size(_largest(parts), PLANES - ONES))
    tdma = -load_cycles(chip, shape[0], parts[0])
    for p in parts:
        size = _size(p)
        commands = cost.arith_cycles(chip, "copy", **size)
        commands += cost.arith_cycles(chip, "copy", bf16=True, **size)
        commands += cost.arith_cycles(chip, "and", **size)
        commands += cost.arith_cycles(chip, "mul", bf16=True, **size)
        commands += cost.matrix_cycles(
            chip, rows=1, inner=PLANES, res_c=p.channels, res_w=p.width, bf16=True
        )
        tiu += shape[0] * commands
        tdma += load_cycles(chip, shape[0], p) + shape[0] * conversion_cycles(chip, p)
    return max(tiu, tdma) + conversion_cycles(chip, parts[-1])


def _size(part: FloatPart, n: int = 1) -> dict[str, Any]:
    return {"n": n, "c": part.channels, "h": 1, "w": part.width}


def load_cycles(chip: Chip, n: int, part: FloatPart) -> float:
    """The TDMA's load of a part of n images."""
    size = 4 * n * part.channels * part.width
    return size / chip.ddr_bytes_per_cycle + chip.tdma_command_cycles


def conversion_cycles(chip: Chip, part: FloatPart) -> float:
    """The TDMA's conversions of a part."""
    words = part.channels * (-(-part.width // 8) + -(-part.width // 16))
    return words + 2 * chip.tdma_command_cycles


def quantize_factors(layer: Layer) -> bytes:
    """The left matrix, five bf16 numbers, and 1.0 for the planes of ones."""
    k = layer.op.attrs["inv_scale"]
    if not 2.0**-60 < k < 2.0**60:
        raise InternalError(f"{layer.name}: factor {k} of a quantisation")
    left = [k * 2.0**-15, k, 0.5, FLOOR, -FLOOR, 1.0]
    return bf16_truncated(np.array(left, np.float32)).astype("<u2").tobytes()


def quantize(e: Emitter, c: Compute) -> None:
    """See the module. The loaded tile is used up."""
    out, (x,) = e.operands(c)
    tile, region = c.ins[0]
    if tile.region != region or x.lane or out.lane:
        raise InternalError(f"{c.layer.name}: the float tile is shared")
    parts, temp = tile_parts(tile, e.chip.lanes), c.out.buffer.addr + c.out.buffer.size
    factors = (e.blob(c), e.blob(c) + 16)
    left = Operand((1, 1, 1, PLANES), 0, factors[0], (16, 16, 2 * PLANES, 2), factors)
    largest = _largest(parts)
    ones = _whole_planes(temp + ONES * largest.plane, largest, PLANES - ONES, e.chip.lanes)
    one = Operand(ones.shape, 0, factors[0] + 2 * PLANES, (0, 0, 0, 0), factors)
    e.tiu.copy_bf16(ones, one)
    places = [
        _place(
            tile, out, k // len(parts), parts[k % len(parts)], largest, temp, k % 2, e.chip.lanes
        )
        for k in range(out.shape[0] * len(parts))
    ]
    e.late_transfers(1)
    _middle(e, places[0])
    for k, p in enumerate(places):
        e.tiu.copy_bf16(p.high, p.byte(2))
        e.tiu.bit_and(p.byte(2), p.byte(2), 0x80)
        if k + 1 < len(places):
            e.late_transfers(1)
            _middle(e, places[k + 1])
        e.tiu.multiply_bf16(p.low, p.middle, p.byte(2))
        e.tiu.matrix_bf16(left, p.right, p.sums)
        e.tdma.copy(
            IN_LOCAL, p.sums, p.out, p.sums.shape, dst_shape=p.out.shape,
            src_fmt=2, dst_fmt=1, int8_sign=1,
        )  # fmt: skip
    e.late_transfers(len(e.late))


def _middle(e: Emitter, p: _Place) -> None:
    """The third byte of every float as bf16."""
    e.tiu.copy(p.bytes, p.byte(1))
    e.tdma.copy(IN_LOCAL, p.bytes, p.middle, p.middle.shape, src_fmt=1, dst_fmt=2)


@dataclass
class _Place:
    """A part of an image in local memory. x: (1, channels, 1, width) elements of 4 bytes; bytes:
    of one; middle: these as bf16; low, high: planes; right: all planes as a matrix; sums: the
    product, in the place of x; out: the rows of the result."""

    x: Operand
    bytes: Operand
    middle: Operand
    low: Operand
    high: Operand
    right: Operand
    sums: Operand
    out: Operand

    def byte(self, k: int) -> Operand:
        """Byte k of every float, or the 16 bits that begin there."""
        return replace(self.x, offset=self.x.offset + k)


def _place(
    tile: Tile,
    out: Operand,
    image: int,
    part: FloatPart,
    largest: FloatPart,
    temp: int,
    turn: int,
    lanes: int,
) -> _Place:
    """Where a part of an image lies. turn: which of the two planes of middle bytes it has."""
    floats = float_operand(tile, part)
    _, c_stride, width, _ = floats.strides
    start, size = floats.offset + image * floats.strides[0], part.groups * c_stride
    _, c, h, w = part.box.shape
    group, lane = divmod(part.box.c[0], lanes)
    begin = out.offset + image * out.strides[0] + group * out.strides[1]
    begin += part.box.h[0] * out.strides[2] + part.box.w[0]
    end = out.span[1] - (out.shape[0] - 1 - image) * out.strides[0]
    right, behind = temp + ONES * (largest.plane - part.plane), temp + PLANES * largest.plane
    return _Place(
        x=Operand(
            (1, part.channels, 1, part.width), 0, start, (size, c_stride, width, 4),
            (start, start + size),
        ),
        bytes=_dense(behind, part, 1),
        middle=_dense(behind + largest.byte_plane + turn * largest.plane, part, 2),
        low=_dense(right + LOW * part.plane, part, 2),
        high=_dense(right + HIGH * part.plane, part, 2),
        right=_dense(right, part, 2, PLANES),
        sums=_dense(start, part, 2),
        out=Operand((1, c, 1, h * w), lane, begin, out.strides, (begin, end)),
    )  # fmt: skip


def _dense(start: int, part: FloatPart, itemsize: int, rows: int = 1) -> Operand:
    """(rows, channels, 1, width) packed, planes aligned."""
    width = part.width * itemsize
    plane = align16(width)
    size = part.groups * plane
    return Operand(
        (rows, part.channels, 1, part.width), 0, start, (size, plane, width, itemsize),
        (start, start + rows * size),
    )  # fmt: skip


def _whole_planes(start: int, part: FloatPart, rows: int, lanes: int) -> Operand:
    """Planes of bf16 numbers as in _dense, of all lanes and with the bytes behind the last
    element: parts with smaller planes find them full as well."""
    width = align16(2 * part.width)
    size = part.groups * width
    return Operand(
        (rows, part.groups * lanes, 1, width // 2), 0, start, (size, width, width, 2),
        (start, start + rows * size),
    )  # fmt: skip
