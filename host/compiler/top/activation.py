"""Relu, Clip, LeakyRelu, PRelu, Softmax."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..ir import TensorType, float_, int_, register
from .base import OnnxBuilder, TopOp, channel_shape


class _Pointwise(TopOp):
    operand_names: ClassVar[tuple[str, ...]] = ("input",)

    def infer(self) -> list[TensorType]:
        return self.result(self.x.shape)


@register
class Relu(_Pointwise):
    """y = min(max(x, 0), relu_limit); relu_limit < 0: no upper limit."""

    relu_limit = float_(default=-1.0)

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        relu_to_onnx(b, ins[0], out, self.relu_limit)


def relu_to_onnx(b: OnnxBuilder, x: str, out: str, limit: float) -> None:
    """Relu, or Clip(0, limit) for limit >= 0."""
    if limit < 0:
        b.node("Relu", [x], out)
    else:
        b.node("Clip", [x, b.const(np.float32(0)), b.const(np.float32(limit))], out)


@register
class Clip(_Pointwise):
    """y = min(max(x, min), max)."""

    min = float_()
    max = float_()

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node("Clip", [ins[0], b.const(np.float32(self.min)), b.const(np.float32(self.max))], out)


@register
class LeakyRelu(_Pointwise):
    """y = x for x > 0, else alpha * x."""

    alpha = float_(default=0.01)

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node("LeakyRelu", ins, out, alpha=self.alpha)


@register
class PRelu(_Pointwise):
    """y = x for x > 0, else slope[c] * x. slope holds c numbers (axis 1), or one for all; its own
    shape does not matter.
    """

    operand_names = ("input", "slope")

    def infer(self) -> list[TensorType]:
        slope = self.arg(1)
        if slope.type.count not in (1, self.x.shape[1] if len(self.x.shape) > 1 else 1):
            self.bad(
                f"slope {list(slope.shape)} is neither one number nor one per channel of "
                f"{list(self.x.shape)}"
            )
        return self.result(self.x.shape)

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        slope = self.arg(1).array.reshape(channel_shape(len(self.x.shape)))
        b.node("PRelu", [ins[0], b.const(slope, f"{out}/slope")], out)


@register
class Softmax(_Pointwise):
    """y = exp(x) / sum over `axis` of exp(x)."""

    foreign: ClassVar[dict[str, Any]] = {"log": False, "beta": 1.0}
    axis = int_()

    def infer(self) -> list[TensorType]:
        if not -len(self.x.shape) <= self.axis < len(self.x.shape):
            self.bad(f"axis {self.axis} of {list(self.x.shape)}")
        return self.result(self.x.shape)

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node("Softmax", ins, out, axis=self.axis)
