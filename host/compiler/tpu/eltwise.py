"""Element-wise ops."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ir import TensorType, bool_, int_, ints, register
from . import arith
from .base import TpuOp, i8, per_channel

I8: TypeAlias = NDArray[np.int8]


class _Unary(TpuOp):
    operand_names = ("x",)

    def infer(self) -> list[TensorType]:
        return [i8(self.shape4(), self.scale_of())]


@register
class Add(TpuOp):
    """sat8(relu(R(a * m0 + b * m1, shift))), R rounds half up. A multiplier is 0..255 (unsigned
    constant) or -128..127 (signed constant), so that a * m0 fits 16 bits; each operand has its own
    signedness. a, b (n, c, h, w) i8."""

    operand_names = ("a", "b")
    multipliers = ints()
    shift = int_()
    do_relu = bool_(default=False)

    def infer(self) -> list[TensorType]:
        self.require(self.shape4(0) == self.shape4(1), "operands differ in shape")
        self.require(
            len(self.multipliers) == 2 and all(-128 <= m <= 255 for m in self.multipliers),
            f"multipliers {self.multipliers}",
        )
        self.require(0 <= self.shift <= 31, f"shift {self.shift}")
        return [i8(self.shape4(), None)]

    def reference(self, a: Any, b: Any) -> I8:
        m0, m1 = self.multipliers
        acc = a.astype(np.int32) * np.int32(m0) + b.astype(np.int32) * np.int32(m1)
        return arith.saturate(arith.shift_round(acc, self.shift), relu=self.do_relu)  # type: ignore[return-value]


@register
class Mul(TpuOp):
    """sat8(relu(Q(a * b, multiplier, shift))). a (n, c, h, w); b the same shape or (n, c, 1, 1)."""

    operand_names = ("a", "b")
    multiplier = int_()
    shift = int_()
    do_relu = bool_(default=False)

    def infer(self) -> list[TensorType]:
        a, b = self.shape4(0), self.shape4(1)
        self.require(b in (a, (*a[:2], 1, 1)), f"operands {a} and {b}")
        return [i8(a, None)]

    def reference(self, a: Any, b: Any) -> I8:
        acc = a.astype(np.int32) * b.astype(np.int32)
        return arith.saturate(arith.requantise(acc, self.multiplier, self.shift), relu=self.do_relu)  # type: ignore[return-value]


@register
class Requant(TpuOp):
    """sat8(relu(Q(x * factor, multiplier, shift))), factor -128..127."""

    operand_names = ("x",)
    factor = int_(default=1)
    multiplier = int_()
    shift = int_()
    do_relu = bool_(default=False)

    def infer(self) -> list[TensorType]:
        self.require(-128 <= self.factor <= 127, f"factor {self.factor}")
        return [i8(self.shape4(), None)]

    def reference(self, x: Any) -> I8:
        acc = x.astype(np.int32) * np.int32(self.factor)
        return arith.saturate(arith.requantise(acc, self.multiplier, self.shift), relu=self.do_relu)  # type: ignore[return-value]


@register
class Relu(_Unary):
    """max(x, 0)."""

    def reference(self, x: Any) -> I8:
        return np.maximum(x, np.int8(0))


@register
class LeakyRelu(_Unary):
    """max(x, sat8(Q(x * factor, multiplier, shift))), 0 <= slope <= 1, factor 1..127."""

    factor = int_(default=1)
    multiplier = int_()
    shift = int_()

    def reference(self, x: Any) -> I8:
        acc = x.astype(np.int32) * np.int32(self.factor)
        return np.maximum(x, arith.saturate(arith.requantise(acc, self.multiplier, self.shift)))


@register
class PRelu(TpuOp):
    """x > 0: x; else sat8(Q(x * slope[c], multiplier[c], shift[c])). slope [c] i8, multiplier [c]
    i32, shift [c] i8."""

    operand_names = ("x", "slope", "multiplier", "shift")

    def infer(self) -> list[TensorType]:
        shape = self.shape4()
        for v in self.operands[1:]:
            self.require(
                v is not None and v.shape == (shape[1],), f"parameters are not [{shape[1]}]"
            )
        return [i8(shape, self.scale_of())]

    def reference(self, x: Any, slope: Any, multiplier: Any, shift: Any) -> I8:
        acc = x.astype(np.int32) * per_channel(slope).astype(np.int32)
        negative = arith.saturate(
            arith.requantise(acc, per_channel(multiplier), per_channel(shift))
        )
        return np.where(x > 0, x, negative).astype(np.int8)
