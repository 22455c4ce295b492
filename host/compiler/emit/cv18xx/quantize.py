"""Quantize on the TPU: float32 -> int8 with one rounding (tpu.arith.quantise_f32_tpu).

A float32 x is hi + m1 * 2^-15 + m0 * 2^-23: hi its upper half, a bf16; m1 = base * b1 and
m0 = base * b0 with base = +-2^exponent (hi without its mantissa) and b1, b0 its lower bytes;
s = +-2^-126 is its sign over the lowest exponent. The factor is k1 + k2 + k3. All are bf16 numbers,
so one matrix product over seven planes makes x * k and a half of its sign in fp32:

    z[element] = 2^125 * s + (k1 * 2^-23) * m0 + (k1 * 2^-15) * m1 + (k2 * 2^-15) * m1
                 + k3 * hi + k2 * hi + k1 * hi

The upper half of the fp32 z is z truncated to 8 significant bits: its integer part, and more bits
below where |z| < 128. The TDMA's truncating conversion to int8 gives q, saturated at both ends.

The float tile lies in parts (`float_parts`): some rows of all channels, spread over the lanes as
one run of numbers where that is possible, so that every execution unit has work. Per part;
temporary behind the result: two slots of the seven planes and of the bytes b0, b1, taken in turn,
so that the engines overlap.

    TDMA  low bytes of s := 0x80 (once per slot)
    TIU   bytes = b0, b1 (of every four bytes of the part); hi = upper halves
          high bytes of s = fourth byte & 0x80
          third byte of the part &= 0x80, so that its upper halves are base
    TDMA  m0, m1 = bf16(bytes); hi twice more
    TIU   m0, m1 *= base; m1 once more; part = matrix product (two planes of 16 bits)
    TDMA  out = int8(upper halves of the product), truncated
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from ...chip import Chip, align16
from ...errors import InternalError
from ...isa.cv18xx import cost
from ...schedule.program import Compute, Tile
from ...tpu.arith import bf16_thirds, bf16_truncated
from .operand import Operand
from .tdma import IN_LOCAL, MAX_ROW_STRIDE, Shape

if TYPE_CHECKING:
    from ...schedule.layers import Layer
    from .compute import Emitter

LEAST_SIGN = 0x0080  # bf16 2^-126; with the sign bit -2^-126
HALF_OF_SIGN = 2.0**125
SIGN, LOW, TWICE, HIGH, PLANES = 0, 1, 3, 4, 7  # s; m0, m1; m1; hi, hi, hi
PARTS, LEAST_PART, MOST_PART = 12, 256, 512  # parts wished for; their elements per lane


@dataclass(frozen=True)
class FloatPart:
    """Rows h of a tile of floats, in local memory (channels, width) elements at byte `offset`.
    plane: bytes per lane as bf16 numbers; product_inside: the fp32 product takes its place."""

    h: tuple[int, int]
    channels: int
    width: int
    offset: int
    groups: int
    product_inside: bool = True

    @property
    def plane(self) -> int:
        return self.groups * align16(2 * self.width)

    @property
    def slot(self) -> int:
        """Bytes per lane of a slot."""
        return PLANES * self.plane + 2 * self.groups * align16(self.width)


def float_parts(shape: Shape, full_width: int, lanes: int) -> list[FloatPart]:
    """The parts of a tile (n, c, h, w) of float32 out of a tensor of this width. The elements of a
    part, in the order c, h, w, are dealt out to the lanes in runs of equal length; the length is a
    multiple of 8 but for the last part. Where the numbers do not allow that, or the last product
    would not fit, there is one part in the usual layout, a channel per lane."""
    _, c, h, w = shape
    groups, plane = -(-c // lanes), align16(4 * h * w)
    usual = FloatPart((0, h), c, h * w, 0, groups, 2 * align16(2 * h * w) <= plane)
    if c * h * w % lanes or 4 * full_width > MAX_ROW_STRIDE:
        return [usual]
    unit = 8 * lanes // gcd(c * w, 8 * lanes)
    wanted = min(max(c * h * w // lanes // PARTS, LEAST_PART), MOST_PART)
    rows = max(1, wanted * lanes // (c * w * unit)) * unit
    parts = []
    for a in range(0, h, rows):
        b = min(a + rows, h)
        parts.append(FloatPart((a, b), lanes, c * (b - a) * w // lanes, 4 * c * a * w // lanes, 1))
    end = parts[-1].offset + 2 * parts[-1].plane
    return parts if end <= groups * plane else [usual]


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
    """Bytes behind the result: the slots, and the product of a part that has no room for it."""
    parts = float_parts(shape, full_width, lanes)
    product = 0 if parts[0].product_inside else 2 * parts[0].plane
    return min(len(parts), 2) * parts[0].slot + product


def quantize_cycles(chip: Chip, shape: Shape, full_width: int) -> float:
    """TIU commands of all parts, and the two conversions of one part that they wait for."""
    total, longest = 0.0, 0.0
    for p in float_parts(shape, full_width, chip.lanes):
        size: dict[str, Any] = {"c": p.channels, "h": 1, "w": p.width}
        total += cost.arith_cycles(chip, "copy", n=2, **size)
        total += cost.arith_cycles(chip, "copy", n=1, bf16=True, **size)
        total += 2 * cost.arith_cycles(chip, "and", n=1, **size)
        total += cost.arith_cycles(chip, "mul", n=2, bf16=True, **size)
        total += cost.arith_cycles(chip, "copy", n=1, bf16=True, **size)
        total += cost.matrix_cycles(
            chip, rows=1, inner=PLANES, res_c=p.channels, res_w=p.width, bf16=True, ps32=2
        )
        words = p.channels * (2 * -(-p.width // 16) + -(-p.width // 8))
        longest = max(longest, words + 2 * chip.tdma_command_cycles)
    return shape[0] * total + longest


def quantize_factors(layer: Layer) -> bytes:
    """The left matrix: seven bf16 numbers; the powers of two change exponents only."""
    k1, k2, k3 = bf16_thirds(layer.op.attrs["inv_scale"])
    if not 2.0**-60 < k1 < 2.0**60:
        raise InternalError(f"{layer.name}: factor {layer.op.attrs['inv_scale']} of a quantisation")
    left = [HALF_OF_SIGN, k1 * 2.0**-23, k1 * 2.0**-15, k2 * 2.0**-15, k3, k2, k1]
    return bf16_truncated(np.array(left, np.float32)).astype("<u2").tobytes()


def quantize(e: Emitter, c: Compute) -> None:
    """See the module. The loaded tile is used up."""
    out, (x,) = e.operands(c)
    tile, region = c.ins[0]
    if tile.region != region or x.lane or out.lane:
        raise InternalError(f"{c.layer.name}: the float tile is shared")
    parts = tile_parts(tile, e.chip.lanes)
    temp, slots = c.out.buffer.addr + c.out.buffer.size, min(len(parts), 2)
    for k in range(slots):
        sign = _dense(temp + k * parts[0].slot, parts[0], 2)
        e.tdma.fill(sign, sign.shape, LEAST_SIGN, 2)
    e.load_late(1)
    left = Operand(
        (1, 1, 1, PLANES), 0, e.blob(c), (16, 16, 2 * PLANES, 2), (e.blob(c), e.blob(c) + 16)
    )
    waiting = None
    for k in range(out.shape[0] * len(parts)):
        image, part = k // len(parts), parts[k % len(parts)]
        place = _place(tile, out, image, part, temp + k % slots * parts[0].slot)
        _split(e, place)
        e.load_late(1)
        if slots == 1:
            _round(e, place, left)
        elif waiting:
            _round(e, waiting, left)
        waiting = place
    if slots > 1 and waiting:
        _round(e, waiting, left)


@dataclass
class _Place:
    """A part of an image in local memory. x, bytes: (1, channels, 1, width) elements of 4 bytes and
    of one, two of these; sign, low, twice, high, more: the planes; right: all as a matrix; sums:
    the fp32 product; out: the rows of the result."""

    x: Operand
    bytes: Operand
    sign: Operand
    low: Operand
    twice: Operand
    high: Operand
    more: Operand
    right: Operand
    sums: Operand
    out: Operand

    def byte(self, k: int, count: int = 1, step: int = 0) -> Operand:
        """Byte k of every float, or the 16 bits that begin there; `count` times, `step` bytes
        apart."""
        shape, strides = (count, *self.x.shape[1:]), (step, *self.x.strides[1:])
        return replace(self.x, shape=shape, offset=self.x.offset + k, strides=strides)


def _place(tile: Tile, out: Operand, image: int, part: FloatPart, slot: int) -> _Place:
    """Where a part of an image lies."""
    floats = float_operand(tile, part)
    _, c_stride, width, _ = floats.strides
    start, size = floats.offset + image * floats.strides[0], part.groups * c_stride
    sums = _dense(start if part.product_inside else slot + part.slot, part, 2)
    (a, b), (_, c, _, w) = part.h, out.shape
    begin = out.offset + image * out.strides[0] + a * out.strides[2]
    end = out.span[1] - (out.shape[0] - 1 - image) * out.strides[0]
    return _Place(
        x=Operand(
            (1, part.channels, 1, part.width), 0, start, (size, c_stride, width, 4),
            (start, start + size),
        ),
        bytes=_dense(slot + PLANES * part.plane, part, 1, 2),
        sign=_dense(slot + SIGN * part.plane, part, 2),
        low=_dense(slot + LOW * part.plane, part, 2, 2),
        twice=_dense(slot + TWICE * part.plane, part, 2),
        high=_dense(slot + HIGH * part.plane, part, 2),
        more=_dense(slot + (HIGH + 1) * part.plane, part, 2, 2),
        right=_dense(slot, part, 2, PLANES),
        sums=replace(sums, span=(sums.offset, sums.offset + 2 * part.plane)),
        out=Operand((1, c, 1, (b - a) * w), 0, begin, out.strides, (begin, end)),
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


def _split(e: Emitter, p: _Place) -> None:
    """The planes s, hi and the lower bytes as bf16; base in x."""
    e.tiu.copy(p.bytes, p.byte(0, 2, 1))
    e.tdma.copy(IN_LOCAL, p.bytes, p.low, p.low.shape, src_fmt=1, dst_fmt=2)
    e.tiu.copy_bf16(p.high, p.byte(2))
    high = replace(p.high, strides=(0, *p.high.strides[1:]))
    e.tdma.copy(IN_LOCAL, high, p.more, p.more.shape, src_fmt=2, dst_fmt=2)
    high_bytes = replace(p.sign, offset=p.sign.offset + 1)
    e.tiu.bit_and(high_bytes, p.byte(3), 0x80)
    e.tiu.bit_and(p.byte(2), p.byte(2), 0x80)


def _round(e: Emitter, p: _Place, left: Operand) -> None:
    """m0, m1, the product, int8."""
    e.tiu.multiply_bf16(p.low, p.low, p.byte(2, 2))
    e.tiu.copy_bf16(p.twice, replace(p.twice, offset=p.twice.offset - p.right.strides[0]))
    e.tiu.matrix_bf16_to_fp32(left, p.right, p.sums)
    e.tdma.copy(
        IN_LOCAL, p.sums, p.out, p.sums.shape, dst_shape=p.out.shape,
        src_fmt=2, dst_fmt=1, int8_sign=1, int8_rnd_mode=1,
    )  # fmt: skip
