"""Dequantize on the TPU: int8 -> float32, exactly (tpu.boundary.Dequantize).

The scale has 16 significant bits: scale = high + low, both bf16 numbers, and

    y[element] = high * q + low * q

is exact in fp32, so one matrix product over two planes of q as bf16 makes y. Its halves lie in two
planes of 16 bits and are moved together.

Per image; temporary behind the result: the two planes of q, the two of the product.

    TDMA  both planes = bf16(q)
    TIU   product = (high, low) x planes, as fp32
    TIU   bytes 2, 3 of the result = upper halves, bytes 0, 1 = lower halves
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...chip import Chip, align16
from ...errors import InternalError
from ...isa.cv18xx import cost
from ...schedule.program import Compute
from .operand import Operand
from .tdma import IN_LOCAL, Shape

if TYPE_CHECKING:
    from ...schedule.layers import Layer
    from .compute import Emitter

PLANES = 2


def dequantize_temp(shape: Shape, lanes: int) -> int:
    """Bytes behind the result: four planes of 16 bits of one image."""
    _, c, h, w = shape
    return 2 * PLANES * -(-c // lanes) * align16(2 * h * w)


def dequantize_cycles(chip: Chip, shape: Shape) -> float:
    """The conversion, the product, two moves."""
    n, c, h, w = shape
    size: dict[str, Any] = {"n": 1, "c": c, "h": h * w, "w": 2}
    product = cost.matrix_cycles(
        chip, rows=1, inner=PLANES, res_c=c, res_w=h * w, bf16=True, ps32=2
    )
    words = PLANES * c * -(-h * w // 8)
    return n * (
        words + chip.tdma_command_cycles + product + 2 * cost.arith_cycles(chip, "copy", **size)
    )


def dequantize_factors(layer: Layer) -> bytes:
    """The left matrix: the upper and the lower eight significant bits of the scale."""
    scale = np.float32(layer.op.attrs["scale"])
    high = (scale.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    halves = np.array([high, scale - high], "<f4").view("<u4")
    if (halves & 0xFFFF).any() or not 2**-100 < scale < 2**100:
        raise InternalError(f"{layer.name}: scale {scale} of a conversion to float")
    return (halves >> 16).astype("<u2").tobytes()


def dequantize(e: Emitter, c: Compute) -> None:
    """See the module."""
    out, (x,) = e.operands(c)
    if x.lane or out.lane:
        raise InternalError(f"{c.layer.name}: begins between lanes")
    n, channels, h, w = out.shape
    groups, width = -(-channels // e.chip.lanes), h * w
    plane = groups * align16(2 * width)
    temp = c.out.buffer.addr + c.out.buffer.size
    one = (1, channels, 1, width)
    both = _planes(temp, (PLANES, *one[1:]), plane, 0)
    product = _planes(temp + PLANES * plane, one, plane, plane)
    left = Operand((1, 1, 1, PLANES), 0, e.blob(c), (16, 16, 4, 2), (e.blob(c), e.blob(c) + 16))
    for i in range(n):
        rows = (1, width) if x.strides[2] == w else (h, w)  # of a wider tile: one by one
        q = _rows(x, i, (0, x.strides[1], x.strides[2], 1), (PLANES, channels, *rows))
        e.tdma.copy(
            IN_LOCAL, q, both, q.shape, dst_shape=both.shape, src_fmt=1, dst_fmt=2, int8_sign=1
        )
        e.tiu.matrix_bf16(left, both, product, fp32=True)
        for k, half in ((2, product.offset), (0, product.offset + plane)):
            place = _rows(out, i, (plane, out.strides[1], 4, 1), (1, channels, width, 2), k)
            source = Operand(
                place.shape, 0, half, (plane, align16(2 * width), 2, 1), (half, half + plane)
            )
            e.tiu.copy(place, source)


def _planes(start: int, shape: Shape, plane: int, more: int) -> Operand:
    """Planes of 16-bit numbers one behind the other; `more` bytes behind them belong to it."""
    strides = (plane, align16(2 * shape[3]), 2 * shape[3], 2)
    return Operand(shape, 0, start, strides, (start, start + shape[0] * plane + more))


def _rows(whole: Operand, image: int, strides: Shape, shape: Shape, offset: int = 0) -> Operand:
    """An image of a tile seen with other strides."""
    start = whole.offset + image * whole.strides[0]
    end = whole.span[1] - (whole.shape[0] - 1 - image) * whole.strides[0]
    return Operand(shape, 0, start + offset, strides, (start, end))
