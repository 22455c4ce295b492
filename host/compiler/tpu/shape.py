"""Ops that only move or rename bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import TensorType, int_, ints, register
from .base import TpuOp, i8


@register
class Concat(TpuOp):
    """The operands (n, c_i, h, w) behind each other along channels; all have one scale."""

    operand_names = ("x*",)
    axis = int_(default=1)

    def infer(self) -> list[TensorType]:
        shapes = [self.shape4(i) for i in range(len(self.operands))]
        n, _, h, w = shapes[0]
        self.require(self.axis == 1, f"axis {self.axis}")
        self.require(all((s[0], s[2], s[3]) == (n, h, w) for s in shapes), f"operands {shapes}")
        scales = {self.scale_of(i) for i in range(len(shapes))}
        self.require(len(scales) == 1, f"operands have different scales {scales}")
        return [i8((n, sum(s[1] for s in shapes), h, w), scales.pop())]

    def reference(self, *xs: Any) -> NDArray[np.int8]:
        return np.concatenate(xs, axis=self.axis)


@register
class Reshape(TpuOp):
    """The same bytes in row-major order under another 4-D shape."""

    operand_names = ("x",)
    shape = ints()

    def infer(self) -> list[TensorType]:
        x = self.operands[0]
        assert x is not None
        self.require(
            int(np.prod(self.shape)) == x.type.count and len(self.shape) == 4,
            f"{x.shape} -> {self.shape}",
        )
        return [x.type.with_shape(self.shape)]

    def reference(self, x: Any) -> NDArray[Any]:
        return np.ascontiguousarray(x).reshape(self.shape)
