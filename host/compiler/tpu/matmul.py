"""Matrix multiplication by constants: fully connected layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import TensorType, bool_, int_, register
from . import arith, kernels
from .base import TpuOp, i8


@register
class MatMul(TpuOp):
    """sat8(relu(Q(wrap32(rows @ right + bias), multiplier, shift))), one pair for the whole tensor.

    x (n, c, h, w) i8, read as n rows of k = c*h*w elements; right [k, cols] i8; bias [cols] i32 or
    absent; result (n, cols, 1, 1).
    """

    operand_names = ("x", "right", "bias?")
    multiplier = int_()
    shift = int_()
    do_relu = bool_(default=False)

    def infer(self) -> list[TensorType]:
        n, c, h, w = self.shape4()
        right, bias = self.operands[1:]
        assert right is not None
        self.require(
            len(right.shape) == 2 and right.shape[0] == c * h * w,
            f"rows of {c * h * w} elements, right {right.shape}",
        )
        cols = right.shape[1]
        self.require(bias is None or bias.shape == (cols,), f"bias is not [{cols}]")
        self.require(0 <= self.multiplier < 1 << 31, f"multiplier {self.multiplier}")
        self.require(0 <= self.shift <= 31, f"shift {self.shift}")
        return [i8((n, cols, 1, 1), None)]

    def reference(self, x: Any, right: Any, bias: Any) -> NDArray[np.int8]:
        acc = kernels.matmul_exact(x.reshape(x.shape[0], -1), right)
        if bias is not None:
            acc += bias  # int32 wraps
        y = arith.saturate(arith.requantise(acc, self.multiplier, self.shift), relu=self.do_relu)
        return y.reshape(*y.shape, 1, 1)  # type: ignore[return-value]
