"""Softmax over the channels in bf16 (the reference: tpu.Softmax).

    index = x                     8-bit copy into the low bytes of bf16 elements
    e     = exponentials[index]   look-up
    s     = sum of e over c       1x1 convolution with constant weight 1.0 and one result per lane
    r     = high[s >> 8] * low[s & 255]   look-ups
    y     = e * r                 upper halves of float32; the lower halves are e * 0

With hb the high byte of s, lsb and m the first bit and the rest of its low byte, s = 2^(2 hb - 127)
* 2^lsb * (1 + m / 128); high[hb] = 2^(127 - 2 hb), low = bf16_rne(1 / (2^lsb * (1 + m / 128))).

Image by image. Temporary behind the result (p bytes per bf16 plane): s and two more (a plane each)
and e (a plane per group of channels). A map of one position needs neither the copy nor room for e:
there a plane has 16 bytes whatever the element, so that x itself is the index, and e lies where the
lower halves of y will be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...chip import align16
from ...schedule.program import Compute
from ...tpu.arith import bf16_from_f32
from .operand import Operand

if TYPE_CHECKING:
    from ...schedule.layers import Layer
    from .compute import Emitter

TABLE = 512  # bytes of a look-up table of 256 bf16 numbers
SOFTMAX_BYTES = 3 * TABLE
ONE = 0x3F80


def softmax_temp(layer: Layer, groups: int, h: int, w: int) -> int:
    """Bytes behind the result of a tile."""
    return (3 if is_point(layer) else 3 + groups) * align16(2 * h * w)


def is_point(layer: Layer) -> bool:
    """A map of one position, not only a tile that is one."""
    return layer.output.shape[2:] == (1, 1)


def softmax_tables(layer: Layer) -> bytes:
    """The tables of e, of the high byte and of the low byte of the sum, one behind the other."""
    table = layer.op.operands[1]
    assert table is not None and table.data is not None
    high = [2.0 ** (127 - 2 * hb) if hb < 127 else 0.0 for hb in range(256)]
    low = [1 / ((1 + (b >> 7)) * (1 + (b & 127) / 128)) for b in range(256)]
    factors = bf16_from_f32(np.array([*high, *low], np.float32)).astype("<u2")
    return np.concatenate([table.data.astype("<u2"), factors]).tobytes()


def softmax(e: Emitter, c: Compute) -> None:
    """See the module."""
    out, (x,) = e.operands(c)
    for i in range(out.shape[0]):
        temp = c.out.buffer.addr + c.out.buffer.size
        _image(e, _image_of(out, i), _image_of(x, i), temp, e.blob(c), is_point(c.layer))


def _image_of(x: Operand, i: int) -> Operand:
    """One image of an operand."""
    start = x.offset + i * x.strides[0]
    end = start + x.span[1] - x.span[0] - (x.shape[0] - 1) * x.strides[0]
    return replace(x, shape=(1, *x.shape[1:]), offset=start, span=(start, end))


def _image(e: Emitter, out: Operand, x: Operand, temp: int, tables: int, point: bool) -> None:
    _, channels, h, w = out.shape
    lanes, p = e.chip.lanes, align16(2 * h * w)
    groups = -(-channels // lanes)

    def place(start: int, planes: int, channels: int) -> Operand:
        """bf16 planes."""
        strides, end = (planes * p, p, 2 * w, 2), start + planes * p
        return Operand((1, channels, h, w), 0, start, strides, (start, end))

    total, high, low = (place(temp + k * p, 1, lanes) for k in range(3))
    if point:
        index = place(x.offset, groups, channels)
        exponentials = place(out.offset, groups, channels)
    else:
        index = place(out.offset, groups, channels)
        exponentials = place(low.span[1], groups, channels)
        e.tiu.copy(index, x)
    e.tiu.look_up_bf16(exponentials, index, tables)
    e.tiu.sum_channels_bf16(exponentials, total, ONE)
    e.tiu.copy(high, replace(total, offset=total.offset + 1))
    e.tiu.look_up_bf16(low, high, tables + TABLE)
    e.tiu.look_up_bf16(high, total, tables + 2 * TABLE)
    e.tiu.multiply_bf16(total, high, low)
    inverse = replace(total, shape=out.shape, strides=(p, 0, 2 * w, 2))
    e.tiu.multiply_bf16(replace(out, offset=out.offset + 2), exponentials, inverse)
    e.tiu.multiply_bf16(out, exponentials, 0)
