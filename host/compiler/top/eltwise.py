"""Element by element: Add, Mul, AddConst, MulConst, Scale, BatchNorm."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..ir import TensorType, float_, register
from .base import Fusable, OnnxBuilder, channel_shape


class _Eltwise(Fusable):
    operand_names = ("inputs*",)

    def infer(self) -> list[TensorType]:
        shapes = [v.shape for v in self.operands if v is not None]
        if len(shapes) < 2:
            self.bad("two or more operands are needed")
        try:
            return self.result(np.broadcast_shapes(*shapes))
        except ValueError:
            self.bad(f"the shapes {', '.join(str(list(s)) for s in shapes)} do not fit together")

    def chain(self, b: OnnxBuilder, kind: str, ins: list[str], out: str) -> None:
        acc = ins[0]
        for i, x in enumerate(ins[1:], 1):
            acc = b.node(kind, [acc, x], out if i == len(ins) - 1 else f"{out}/{i}")


@register
class Add(_Eltwise):
    """y = sum of the operands (two or more, shapes may broadcast)."""

    foreign: ClassVar[dict[str, Any]] = {"is_scalar": False, "coeff": [1.0, 1.0]}

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        self.chain(b, "Add", ins, out)


@register
class Mul(_Eltwise):
    """y = product of the operands (two or more, shapes may broadcast)."""

    foreign: ClassVar[dict[str, Any]] = {"is_scalar": False}

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        self.chain(b, "Mul", ins, out)


class _Const(Fusable):
    operand_names = ("input",)
    foreign: ClassVar[dict[str, Any]] = {"is_scalar": False}
    const_val = float_()

    def infer(self) -> list[TensorType]:
        return self.result(self.x.shape)


@register
class AddConst(_Const):
    """y = x + const_val."""

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node("Add", [ins[0], b.const(np.float32(self.const_val))], out)


@register
class MulConst(_Const):
    """y = x * const_val."""

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node("Mul", [ins[0], b.const(np.float32(self.const_val))], out)


@register
class Scale(Fusable):
    """y[n,c] = x[n,c] * scale[c] + bias[c]; axis 1 is the channel."""

    operand_names = ("input", "scale", "bias")

    def infer(self) -> list[TensorType]:
        x = self.x.shape
        for v in map(self.arg, range(1, len(self.operands))):
            if len(x) < 2 or v.type.count != x[1]:
                self.bad(f"{list(v.shape)} numbers do not fit the shape {list(x)} of the input")
        return self.result(x)

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        shape = channel_shape(len(self.x.shape))
        scale = b.const(self.arg(1).array.reshape(shape), f"{out}/scale")
        bias = b.const(self.arg(2).array.reshape(shape), f"{out}/bias")
        b.node("Add", [b.node("Mul", [ins[0], scale], f"{out}/mul"), bias], out)


@register
class BatchNorm(Fusable):
    """y[n,c] = (x[n,c] - mean[c]) / sqrt(variance[c] + epsilon) * gamma[c] + beta[c]."""

    operand_names = ("input", "mean", "variance", "gamma", "beta")
    epsilon = float_(default=1e-5)

    def infer(self) -> list[TensorType]:
        x = self.x.shape
        for v in map(self.arg, range(1, len(self.operands))):
            if len(x) < 2 or v.type.count != x[1]:
                self.bad(f"{list(v.shape)} numbers do not fit the shape {list(x)} of the input")
        return self.result(x)

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        x, mean, variance, gamma, beta = ins
        b.node("BatchNormalization", [x, gamma, beta, mean, variance], out, epsilon=self.epsilon)
