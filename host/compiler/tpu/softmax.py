"""Softmax of an int8 vector, in bf16 on the chip."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import TensorType, int_, register
from . import arith
from .base import TpuOp


@register
class Softmax(TpuOp):
    """i8 (n, c, h, w) -> f32 of the same shape: y = exp(x) / sum over c of exp(x). axis = 1.

    All steps are bf16 instructions (hw/cv18xx-tiu.md section 4), so every result has 8
    significant bits:

        e[i] = table[x[i] & 255]        table[q & 255] = bf16_rne(exp(q * scale - o)), a look-up
        s    = bf16_rne(e[0] + e[1] + ...)   fp32, each addition truncated, in order of c: a 1x1
                                             convolution with constant weight 1.0
        r    = bf16_rne(1 / s)          two look-ups and a product (emit/cv18xx/softmax.py)
        y[i] = f32(bf16_mul(e[i], r))   upper halves of fp32

    table: bf16 [256] (`softmax_table`).
    """

    operand_names = ("x", "table")
    axis = int_(default=1)

    def infer(self) -> list[TensorType]:
        shape = self.shape4()
        table = self.operands[1]
        self.require(self.axis == 1, f"axis {self.axis} of {shape}")
        self.require(table is not None and table.shape == (256,), "the table has not 256 entries")
        return [TensorType(shape, "f32")]

    def reference(self, x: Any, table: Any) -> NDArray[np.float32]:
        e = table[x.view(np.uint8)]
        values = arith.f32_from_bf16(e)
        total = np.zeros_like(values[:, 0])
        for i in range(values.shape[1]):
            total = arith.f32_add_truncated(total, values[:, i])
        s = arith.f32_from_bf16(arith.bf16_from_f32(total)).astype(np.float64)
        r = arith.bf16_from_f32((1.0 / s).astype(np.float32))
        return arith.f32_from_bf16(arith.bf16_mul(e, np.broadcast_to(r[:, None], e.shape)))


def softmax_table(scale: float) -> NDArray[np.uint16]:
    """bf16 [256]: entry q & 255 = max(exp(q * scale - o), 2^-126), o = max(0, 127 * scale - 78).

    The largest entry is at most exp(78), so that a sum of 4095 stays below 2^126 and 1 / sum
    above 2^-126; none is 0, so
    that the sum is not. Results are exact to bf16 while no vector has all its elements below 127
    * scale - 165.
    """
    q = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64)
    exponent = q * scale - max(0.0, 127 * scale - 78.0)
    return arith.bf16_from_f32(np.exp(np.maximum(exponent, math.log(2.0**-126))))
