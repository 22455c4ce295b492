"""Quantize on the TPU: float32 -> int8 with one rounding (the reference: tpu.arith.quantise_f32_tpu).

A float32 x is hi + lo * 2^-15 but for its last byte: hi its upper half, a bf16; lo = base * b1 with base = +-2^exponent
(hi without its mantissa) and b1 its third byte. Both are bf16 numbers, so one matrix product over three planes with an
fp32 result makes x * k + 128 + a half exactly:

    z[element] = (k * 2^-15) * lo + k * hi + (153/256) * 215

The upper half of the fp32 z is z truncated to 8 significant bits: its integer part where z >= 128, more below. The
TDMA's truncating conversion to 0..255 gives q + 128, saturated at both ends.

Per image, tile of c x h x w, p = bytes of a bf16 plane (temporary: planes lo, hi, 215 behind the result):

    TIU   out = b1 (bytes of the tile, every fourth)          hi plane = upper halves       b2 of the tile &= 0x80: base
    TDMA  lo plane = bf16(out)                                third plane = 215
    TIU   lo plane *= base                                    tile = matrix product, two planes of 16 bits
    TDMA  out = u8(upper halves), truncated
    TIU   out ^= 0x80
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...errors import InternalError
from ...schedule.program import Compute
from .operand import Operand
from .tdma import IN_LOCAL

if TYPE_CHECKING:
    from ...schedule.layers import Layer
    from .compute import Emitter

CONSTANT, CONSTANT_FACTOR = 215.0, 153 / 256
PLANES = 3


def align16(x: int) -> int:
    return -(-x // 16) * 16


def quantize_temp(groups: int, h: int, w: int) -> int:
    """Bytes behind the result: three planes, and the fp32 result where it does not fit the place of the tile."""
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
    """See the module. The loaded tile is used up."""
    out, (x,) = e.operands(c)
    n, channels, h, w = out.shape
    if c.ins[0][0].region != c.ins[0][1] or x.lane or out.lane:
        raise InternalError(f"{c.layer.name}: the float tile is shared")
    groups, p = -(-channels // e.chip.lanes), align16(2 * h * w)
    temp = c.out.buffer.addr + c.out.buffer.size
    one = (1, channels, h, w)

    def plane(k: int) -> Operand:
        start = temp + k * groups * p
        return Operand(one, 0, start, (groups * p, p, 2 * w, 2), (start, start + groups * p))

    def image(i: int, byte: int) -> Operand:
        """Byte (or half) `byte` of all elements of an image of the tile."""
        start = x.offset + i * x.strides[0]
        return Operand(one, 0, start + byte, x.strides, (start, start + groups * x.strides[1]))

    left = Operand((1, 1, 1, PLANES), 0, e.blob(c), (16, 16, 6, 2), (e.blob(c), e.blob(c) + 16))
    dense = (1, channels, 1, h * w)
    for i in range(n):
        result = Operand(one, 0, out.offset + i * out.strides[0], out.strides, out.span)
        low, high, rest = plane(0), plane(1), plane(2)
        e.tdma.fill(rest, dense, bf16_bits(CONSTANT), 2)
        e.tiu.copy(result, image(i, 1))
        e.tdma.copy(IN_LOCAL, result, low, dense, src_fmt=1, dst_fmt=2)
        e.tiu.copy_bf16(high, image(i, 2))
        e.tiu.bit_and(image(i, 2), image(i, 2), 0x80)
        e.tiu.multiply_bf16(low, low, image(i, 2))
        start = x.offset + i * x.strides[0] if fits_tile(h, w) else temp + PLANES * groups * p
        fp32 = Operand(dense, 0, start, (groups * p, p, 2 * h * w, 2), (start, start + 2 * groups * p))
        right = Operand((PLANES, channels, 1, h * w), 0, low.offset, fp32.strides, (low.offset, low.offset + PLANES * groups * p))
        e.tiu.matrix_bf16_to_fp32(left, right, fp32)
        e.tdma.copy(IN_LOCAL, fp32, result, dense, src_fmt=2, dst_fmt=1, int8_rnd_mode=1)
    e.tiu.bit_xor(out, out, 0x80)
