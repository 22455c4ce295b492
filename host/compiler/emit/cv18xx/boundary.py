"""Quantize on the TPU: float32 -> int8 with one rounding (tpu.arith.quantise_f32_tpu).

A float32 x is hi + lo * 2^-15 but for its last byte: hi its upper half, a bf16; lo = base * b1 with
base = +-2^exponent (hi without its mantissa) and b1 its third byte. Both are bf16 numbers, so one
matrix product over three planes with an fp32 result makes x * k + 128 + a half exactly:

    z[element] = (k * 2^-15) * lo + k * hi + (153/256) * 215

The upper half of the fp32 z is z truncated to 8 significant bits: its integer part where z >= 128,
more below. The TDMA's truncating conversion to 0..255 gives q + 128, saturated at both ends.

Per image; temporary behind the result: the planes lo, hi, 215.

    TIU   out = b1 (every fourth byte of the tile); hi = upper halves
          third byte of the tile &= 0x80, so that its upper halves are base
    TDMA  lo = bf16(out); third plane = 215
    TIU   lo *= base; tile = matrix product (two planes of 16 bits)
    TDMA  out = u8(upper halves of the product), truncated
    TIU   out ^= 0x80
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InternalError
from ...schedule.plan import channel_slices
from ...schedule.program import Compute
from .operand import Operand
from .tdma import IN_LOCAL, Shape

if TYPE_CHECKING:
    from ...schedule.layers import Layer
    from .compute import Emitter

CONSTANT, CONSTANT_FACTOR = 215.0, 153 / 256
PLANES = 3


def align16(x: int) -> int:
    return -(-x // 16) * 16


def quantize_temp(groups: int, h: int, w: int) -> int:
    """Bytes behind the result: three planes; the fp32 product where the tile has no room for it."""
    p = align16(2 * h * w)
    return groups * p * (PLANES if fits_tile(h, w) else PLANES + 2)


def fits_tile(h: int, w: int) -> bool:
    """Two 16-bit planes, each padded, need no more than one plane of float32."""
    return 2 * align16(2 * h * w) <= align16(4 * h * w)


def quantize_factors(layer: Layer) -> bytes:
    """The left matrix: three bf16 numbers. k * 2^-15 is exact."""
    k = bf16_bits(layer.op.attrs["inv_scale"])
    if not 15 < (k >> 7 & 0xFF) < 255:
        raise InternalError(f"{layer.name}: factor {layer.op.attrs['inv_scale']} of a quantisation")
    return np.array([k - (15 << 7), k, bf16_bits(CONSTANT_FACTOR)], "<u2").tobytes()


def bf16_bits(value: float) -> int:
    """The bf16 nearest (even) to float32(value), as its pattern."""
    bits = int(np.float32(value).view(np.uint32))
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def quantize(e: Emitter, c: Compute) -> None:
    """See the module. The loaded tile is used up. Each image in two parts of its channels, so that
    the engines overlap."""
    out, (x,) = e.operands(c)
    if c.ins[0][0].region != c.ins[0][1] or x.lane or out.lane:
        raise InternalError(f"{c.layer.name}: the float tile is shared")
    temp = c.out.buffer.addr + c.out.buffer.size
    left = Operand((1, 1, 1, PLANES), 0, e.blob(c), (16, 16, 6, 2), (e.blob(c), e.blob(c) + 16))
    for i in range(out.shape[0]):
        parts = _parts(e, out, x, temp, i)
        for p in parts:
            e.tdma.fill(p.planes[2], p.dense, bf16_bits(CONSTANT), 2)
            e.tiu.copy(p.out, p.bytes(1))
            e.tdma.copy(IN_LOCAL, p.out, p.planes[0], p.dense, src_fmt=1, dst_fmt=2)
            e.tiu.copy_bf16(p.planes[1], p.bytes(2))
            e.tiu.bit_and(p.bytes(2), p.bytes(2), 0x80)
        for p in parts:
            e.tiu.multiply_bf16(p.planes[0], p.planes[0], p.bytes(2))
            e.tiu.matrix_bf16_to_fp32(left, p.right, p.sums)
            e.tdma.copy(IN_LOCAL, p.sums, p.out, p.dense, src_fmt=2, dst_fmt=1, int8_rnd_mode=1)
        for p in parts:
            e.tiu.bit_xor(p.out, p.out, 0x80)


@dataclass
class _Part:
    """Some channels of an image. planes: lo, hi, constant; right: all three as a matrix; sums: the
    fp32 product."""

    x: Operand
    out: Operand
    planes: list[Operand]
    right: Operand
    sums: Operand

    @property
    def dense(self) -> Shape:
        n, c, h, w = self.out.shape
        return n, c, 1, h * w

    def bytes(self, k: int) -> Operand:
        """Byte k of every float, or the 16 bits that begin there."""
        return replace(self.x, offset=self.x.offset + k)


def _parts(e: Emitter, out: Operand, x: Operand, temp: int, image: int) -> list[_Part]:
    _, channels, h, w = out.shape
    lanes, p = e.chip.lanes, align16(2 * h * w)
    groups = -(-channels // lanes)
    parts = []
    for g0, g1 in channel_slices(groups, 1, 2):
        c, g = min(g1 * lanes, channels) - g0 * lanes, g1 - g0
        one, size = (1, c, h, w), g * p
        source = x.offset + image * x.strides[0] + g0 * x.strides[1]
        result = out.offset + image * out.strides[0] + g0 * out.strides[1]
        first = temp + g0 * PLANES * p
        sums = source if fits_tile(h, w) else temp + groups * PLANES * p + g0 * 2 * p
        parts.append(
            _Part(
                _operand(source, one, x.strides, g * x.strides[1]),
                _operand(result, one, out.strides, g * out.strides[1]),
                [_operand(first + k * size, one, (size, p, 2 * w, 2), size) for k in range(PLANES)],
                _operand(first, (PLANES, c, 1, h * w), (size, p, 2 * h * w, 2), PLANES * size),
                _operand(sums, (1, c, 1, h * w), (size, p, 2 * h * w, 2), 2 * size),
            )
        )
    return parts


def _operand(start: int, shape: Shape, strides: Shape, size: int) -> Operand:
    return Operand(shape, 0, start, strides, (start, start + size))
