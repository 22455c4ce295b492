"""Quantize on the TPU: float32 -> int8, as the CPU rounds (tpu.arith.quantise_f32_tpu).

A float32 x is hi + m1 + m0: hi its upper half, a bf16, and m1 = base * b1 * 2^-15, m0 = base * b0 *
2^-23 with base = +-2^exponent (hi without its mantissa) and b1, b0 its lower bytes. The factor is a
sum of bf16 numbers k1 + k2 + k3, so one matrix product over planes, three of them of ones, makes
the result, an integer: x * k in fp32, and adding 1.5 * 2^23 leaves no room for a fraction: the sum,
truncated, is floor + 1.5 * 2^23.

    z[element] = (k1 * 2^-23) * (base * b0)
                 + (k2 * 2^-15) * (base * b1) + (k1 * 2^-15) * (base * b1)
                 + k3 * hi + k2 * hi + k1 * hi + 1/2 + 1.5 * 2^23 - 1.5 * 2^23

Which products are left out: `quantise_factors`. The TDMA's conversion to int8 saturates z at both
ends.

The float tile lies in parts (`float_parts`): some rows of all channels, spread over the lanes as
one run of numbers, so that every execution unit has work, and what is left of an odd tile.
Temporary behind the result: all bytes of a part as bf16 (`middle`), and the planes. The planes of
ones are written first: by the TIU in the first tile, when it waits for floats, then by the TDMA.
Per part:

    TDMA  middle = bf16(bytes)
    TIU   hi = upper halves, for every k
          third byte of the part &= 0x80, so that its upper halves are base
          m0, m1 = middle * base; m1 once more
    TDMA  what was put off for it: the load of the next part, a piece of a store; the next middle
    TIU   part = matrix product
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
from ...tpu.arith import FLOOR, bf16_truncated, quantise_factors
from .operand import Operand
from .tdma import IN_LOCAL, MAX_ROW_STRIDE, Shape

if TYPE_CHECKING:
    from ...schedule.layers import Layer, Tensor
    from .compute import Emitter

ONES, ONE = 3, 0x3F80  # planes of 1.0
FACTOR_BYTES = 32  # room for the factors
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
    def middle(self) -> int:
        """Bytes per lane of all bytes as bf16."""
        return self.groups * align16(8 * self.width)

    @property
    def end(self) -> int:
        return self.offset + self.groups * align16(4 * self.width)


def float_parts(shape: Shape, full_width: int, lanes: int) -> list[FloatPart]:
    """The parts of a tile (n, c, h, w) of float32 out of a tensor of this width. The elements of a
    part, in the order c, h, w, are dealt out to the lanes in runs of equal length; the length is a
    multiple of 8 but for the last of these parts, unless they were too large then. What the lanes
    do not divide (a row, a channel or an element) is one more part in the usual layout, a channel
    per lane; so is a tile out of rows too long for a part of them to be loaded."""
    n, c, h, w = shape
    if 4 * full_width > MAX_ROW_STRIDE:
        return [_usual_part(Region((0, n), (0, c), (0, h), (0, w)), 0, lanes)]
    c_even, h_even, w_even = _dealt_out(c, h, w, lanes)
    parts: list[FloatPart] = []
    if count := c_even * h_even * w_even:
        row = c_even * w_even
        unit = 8 * lanes // gcd(row, 8 * lanes)
        if unit * row > MOST_PART * lanes:
            unit = lanes // gcd(row, lanes)
        wanted = min(max(count // lanes // PARTS, LEAST_PART), MOST_PART)
        step = max(1, wanted * lanes // (row * unit)) * unit
        for a in range(0, h_even, step):
            b = min(a + step, h_even)
            box = Region((0, n), (0, c_even), (a, b), (0, w_even))
            offset = parts[-1].end if parts else 0
            parts.append(FloatPart(box, lanes, row * (b - a) // lanes, offset, 1))
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


def plane_counts(layer: Layer) -> tuple[int, ...]:
    """Planes of m0, m1, hi."""
    return tuple(len(k) for k in quantise_factors(layer.op.attrs["inv_scale"]))


@dataclass(frozen=True)
class Temporary:
    """The memory behind the result, which all parts of a tile share: `middle` bytes per lane for
    the bytes of a part as bf16, then the planes, as large as those of the `largest` part. counts:
    `plane_counts`."""

    middle: int
    largest: FloatPart
    counts: tuple[int, ...]

    @classmethod
    def of(cls, parts: list[FloatPart], counts: tuple[int, ...]) -> Temporary:
        return cls(max(p.middle for p in parts), max(parts, key=lambda p: p.plane), counts)

    @property
    def planes(self) -> int:
        """Rows of the matrix."""
        return sum(self.counts) + ONES

    @property
    def size(self) -> int:
        return self.middle + self.planes * self.largest.plane


def quantize_temp(layer: Layer, shape: Shape, lanes: int) -> int:
    """Bytes behind the result: middle and the planes. Also enough for a tile that is one column
    narrower, if the width is cut: its parts may be larger."""
    n, c, h, w = shape
    full_width = layer.inputs[0].shape[3]
    widths = (w,) if w in (1, full_width) else (w, w - 1)
    tilings = [float_parts((n, c, h, width), full_width, lanes) for width in widths]
    return max(Temporary.of(parts, plane_counts(layer)).size for parts in tilings)


def quantize_cycles(chip: Chip, shape: Shape, full_width: int, counts: tuple[int, ...]) -> float:
    """What the busier engine does once the first part of the first tile is there, and the
    conversions of the last part; `transfer_cycles` counts the load of the first part only. (The
    TDMA may have loaded the others before.)"""
    parts = float_parts(shape, full_width, chip.lanes)
    temporary = Temporary.of(parts, counts)
    tiu = cost.arith_cycles(chip, "copy", bf16=True, **_size(temporary.largest, ONES))
    tdma = -load_cycles(chip, shape[0], parts[0])
    for p in parts:
        commands = cost.arith_cycles(chip, "copy", bf16=True, **_size(p, counts[2]))
        commands += cost.arith_cycles(chip, "and", **_size(p))
        commands += cost.arith_cycles(chip, "mul", bf16=True, **_size(p, 2))
        if counts[1] > 1:
            commands += cost.arith_cycles(chip, "mul", bf16=True, **_size(p))
        commands += cost.matrix_cycles(
            chip, rows=1, inner=temporary.planes, res_c=p.channels, res_w=p.width, bf16=True
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
    words = part.channels * (-(-part.width // 4) + -(-part.width // 8))
    return words + 2 * chip.tdma_command_cycles


def quantize_factors(layer: Layer) -> bytes:
    """The left matrix, bf16 numbers, and 1.0 for the planes of ones."""
    k = layer.op.attrs["inv_scale"]
    if not 2.0**-60 < k < 2.0**60:
        raise InternalError(f"{layer.name}: factor {k} of a quantisation")
    low, middle, high = quantise_factors(k)
    left = [x * 2.0**-23 for x in low] + [x * 2.0**-15 for x in middle] + high
    left += [0.5, FLOOR, -FLOOR, 1.0]
    return bf16_truncated(np.array(left, np.float32)).astype("<u2").tobytes()


def quantize(e: Emitter, c: Compute) -> None:
    """See the module. The loaded tile is used up."""
    out, (x,) = e.operands(c)
    tile, region = c.ins[0]
    if tile.region != region or x.lane or out.lane:
        raise InternalError(f"{c.layer.name}: the float tile is shared")
    start, counts = c.out.buffer.addr + c.out.buffer.size, plane_counts(c.layer)
    parts = tile_parts(tile, e.chip.lanes)
    temporary = Temporary.of(parts, counts)
    planes, largest = temporary.planes, temporary.largest
    places = [
        _place(tile, out, image, part, start, temporary, e.chip.lanes)
        for image in range(out.shape[0])
        for part in parts
    ]
    factors = (e.blob(c), e.blob(c) + FACTOR_BYTES)
    left = Operand((1, 1, 1, planes), 0, factors[0], (32, 32, 2 * planes, 2), factors)
    end = start + temporary.size
    ones = _whole_planes(end - ONES * largest.plane, largest, ONES, e.chip.lanes)
    one = Operand(ones.shape, 0, factors[0] + 2 * planes, (0, 0, 0, 0), factors)
    waiting = tile.region.h[0] == 0  # for the first floats of the program
    if waiting:
        e.tiu.copy_bf16(ones, one)
    e.late_transfer_of((tile, parts[0]))
    _split(e, places[0])
    if not waiting:
        e.tdma.fill(ones, ones.shape, ONE, 2)
    for k, p in enumerate(places):
        e.tiu.copy_bf16(p.high, _times(counts[2], p.upper))
        e.tiu.bit_and(p.upper, p.upper, 0x80)
        e.tiu.multiply_bf16(p.low, p.bytes, _times(2, p.upper))
        if counts[1] > 1:
            e.tiu.multiply_bf16(p.more, p.second, p.upper)
        if k + 1 < len(places):
            e.late_transfer_of((tile, parts[(k + 1) % len(parts)]))
            e.late_transfers(len(e.late) // (len(places) - 1 - k))
            _split(e, places[k + 1])
        e.tiu.matrix_bf16(left, p.right, p.sums)
        e.tdma.copy(
            IN_LOCAL, p.sums, p.out, p.sums.shape, dst_shape=p.out.shape,
            src_fmt=2, dst_fmt=1, int8_sign=1,
        )  # fmt: skip
    e.late_transfers(len(e.late))


def _split(e: Emitter, p: _Place) -> None:
    """All bytes of a part as bf16."""
    e.tdma.copy(IN_LOCAL, p.floats, p.middle, p.floats.shape, src_fmt=1, dst_fmt=2)


@dataclass
class _Place:
    """A part of an image in local memory. floats: its bytes (1, channels, 1, 4 * width); middle:
    these as bf16; low: the planes of m0 and m1; more: another one of m1; high: those of hi; right:
    all planes as a matrix; sums: the product, in the place of the floats; out: the box of the
    result."""

    floats: Operand
    middle: Operand
    low: Operand
    more: Operand
    high: Operand
    right: Operand
    sums: Operand
    out: Operand

    @property
    def upper(self) -> Operand:
        """The upper half of every float; as bytes its lower one."""
        return _each(self.floats, 2, 4)

    @property
    def second(self) -> Operand:
        """The second byte of every float as bf16."""
        return _each(self.middle, 2, 8)

    @property
    def bytes(self) -> Operand:
        """The first byte of every float as bf16, and the second one."""
        x = _each(self.middle, 0, 8)
        return replace(x, shape=(2, *x.shape[1:]), strides=(2, *x.strides[1:]))


def _each(x: Operand, start: int, step: int) -> Operand:
    """Elements every `step` bytes of a row, a quarter of it."""
    shape, strides = (*x.shape[:3], x.shape[3] // 4), (*x.strides[:3], step)
    return replace(x, shape=shape, offset=x.offset + start, strides=strides)


def _times(count: int, x: Operand) -> Operand:
    """The same plane several times."""
    return replace(x, shape=(count, *x.shape[1:]), strides=(0, *x.strides[1:]))


def _place(
    tile: Tile,
    out: Operand,
    image: int,
    part: FloatPart,
    behind: int,
    temporary: Temporary,
    lanes: int,
) -> _Place:
    """Where a part of an image lies. behind: where the temporary begins. The planes: m0, m1 (the
    one with the larger factor last), hi, ones, which all parts share."""
    floats, counts = float_operand(tile, part), temporary.counts
    _, c_stride, width, _ = floats.strides
    start, size = floats.offset + image * floats.strides[0], part.groups * c_stride
    _, c, h, w = part.box.shape
    group, lane = divmod(part.box.c[0], lanes)
    begin = out.offset + image * out.strides[0] + group * out.strides[1]
    begin += part.box.h[0] * out.strides[2] + part.box.w[0]
    end = out.span[1] - (out.shape[0] - 1 - image) * out.strides[0]
    right = behind + temporary.middle + sum(counts) * (temporary.largest.plane - part.plane)
    low, middle = _dense(right, part, 2, 1 + counts[1]), _dense(behind, part, 8)
    return _Place(
        floats=Operand(
            (1, part.channels, 1, width), 0, start, (size, c_stride, width, 1),
            (start, start + size),
        ),
        middle=replace(middle, shape=(1, part.channels, 1, width)),
        low=replace(
            low, shape=(2, *low.shape[1:]), strides=(counts[1] * low.strides[0], *low.strides[1:])
        ),
        more=_dense(right + part.plane, part, 2),
        high=_dense(right + (1 + counts[1]) * part.plane, part, 2, counts[2]),
        right=_dense(right, part, 2, temporary.planes),
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
