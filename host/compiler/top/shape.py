"""Operations that move data: Concat, Pad, Reshape, Permute."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ir import OPS, TensorType, float_, int_, ints, register, str_
from .base import Fusable, OnnxBuilder, TopOp


@register
class Concat(Fusable):
    """The operands one behind the other along `axis`."""

    operand_names = ("inputs*",)
    axis = int_()

    def infer(self) -> list[TensorType]:
        shapes = [v.shape for v in self.operands if v is not None]
        rank = len(shapes[0]) if shapes else 0
        if not 0 <= self.axis < rank:
            self.bad(f"axis {self.axis} of {[list(s) for s in shapes]}")
        rest = {(*s[: self.axis], *s[self.axis + 1 :]) for s in shapes}
        if len(rest) > 1 or any(len(s) != rank for s in shapes):
            self.bad(f"the shapes {[list(s) for s in shapes]} differ beside axis {self.axis}")
        first = list(shapes[0])
        first[self.axis] = sum(s[self.axis] for s in shapes)
        return self.result(tuple(first))

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node("Concat", ins, out, axis=self.axis)


@register
class Pad(TopOp):
    """x with paddings (all begins, then all ends) of `val`; mode constant, reflect or edge."""

    operand_names = ("input",)
    paddings = ints()
    val = float_(default=0.0)
    mode = str_(default="constant")

    def infer(self) -> list[TensorType]:
        x, p = self.x.shape, self.paddings
        if len(p) != 2 * len(x):
            self.bad(f"{len(p)} paddings, expected {2 * len(x)}")
        return self.result(tuple(d + p[i] + p[len(x) + i] for i, d in enumerate(x)))

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        pads = b.const(np.array(self.paddings, np.int64), f"{out}/pads")
        b.node("Pad", [ins[0], pads, b.const(np.float32(self.val))], out, mode=self.mode)


@register
class Reshape(TopOp):
    """The same elements in the same order under another shape (all sizes written out)."""

    operand_names = ("input",)
    shape = ints()

    def infer(self) -> list[TensorType]:
        if math.prod(self.shape) != self.x.type.count:
            self.bad(
                f"{list(self.x.shape)} can not become {list(self.shape)}: "
                f"{self.x.type.count} elements against {math.prod(self.shape)}"
            )
        return self.result(self.shape)

    @classmethod
    def adopt(
        cls, attrs: dict[str, Any], operands: list[TensorType | None], results: list[TensorType]
    ) -> dict[str, Any]:
        """The result type is the truth: foreign files may write 0 or -1 into shape, or leave it
        away.
        """
        return {**super().adopt(attrs, operands, results), "shape": results[0].shape}

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node("Reshape", [ins[0], b.const(np.array(self.shape, np.int64), f"{out}/shape")], out)


# Operations of foreign files that only give another shape: the result type says which.
OPS.update(dict.fromkeys(("top.Squeeze", "top.Unsqueeze", "top.Flatten"), Reshape))


@register
class Permute(TopOp):
    """y.shape[i] = x.shape[order[i]], as numpy.transpose."""

    operand_names = ("input",)
    order = ints()

    def infer(self) -> list[TensorType]:
        x = self.x.shape
        if sorted(self.order) != list(range(len(x))):
            self.bad(f"order {list(self.order)} is no permutation of {len(x)} dimensions")
        return self.result(tuple(x[i] for i in self.order))

    def only_renames(self) -> bool:
        """True if no element moves in memory: the dimensions larger than 1 keep their order."""
        moved = [i for i in self.order if self.x.shape[i] > 1]
        return moved == sorted(moved)

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node("Transpose", ins, out, perm=self.order)
