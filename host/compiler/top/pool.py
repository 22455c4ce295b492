"""MaxPool and AvgPool. A global pool is a pool whose kernel is the whole picture."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..ir import TensorType, bool_, ints, register
from .base import Fusable, OnnxBuilder, ShapeError, pads4, window_count


class Pool(Fusable):
    """x (n, c, h, w); windows as in `window_count`; keepdims false: the result is (n, c), its h and
    w must be 1.
    """

    operand_names = ("input",)
    foreign: ClassVar[dict[str, Any]] = {"is_adaptive": False, "pad_value": 0}
    kernel_shape = ints()
    strides = ints(default=(1, 1))
    pads = ints(default=(0, 0, 0, 0))
    ceil_mode = bool_(default=False)
    keepdims = bool_(default=True)

    def infer(self) -> list[TensorType]:
        x = self.x.shape
        if len(x) != 4 or len(self.kernel_shape) != 2 or len(self.strides) != 2:
            self.bad(f"input {list(x)}, kernel {list(self.kernel_shape)}: only 2-D pools exist")
        t, left, bottom, right = pads4(self.pads)
        (kh, kw), (sh, sw) = self.kernel_shape, self.strides
        if max(t, bottom) >= kh or max(left, right) >= kw:
            self.bad(
                f"pads {list(self.pads)} must be smaller than the kernel {list(self.kernel_shape)}"
            )
        oh = window_count(x[2], kh, sh, t, bottom, ceil=self.ceil_mode)
        ow = window_count(x[3], kw, sw, left, right, ceil=self.ceil_mode)
        if self.keepdims:
            return self.result((x[0], x[1], oh, ow))
        if (oh, ow) != (1, 1):
            self.bad(f"keepdims is false but {oh} x {ow} windows fit")
        return self.result((x[0], x[1]))

    @classmethod
    def adopt(
        cls, attrs: dict[str, Any], operands: list[TensorType | None], results: list[TensorType]
    ) -> dict[str, Any]:
        """Foreign files may lack ceil_mode: the result type tells."""
        attrs = super().adopt(attrs, operands, results)
        x, out = operands[0], results[0].shape
        kernel, strides = attrs.get("kernel_shape", ()), attrs.get("strides", (1, 1))
        if "ceil_mode" in attrs or x is None or not len(x.shape) == len(out) == 4:
            return attrs
        if not len(kernel) == len(strides) == 2:
            return attrs
        pads = pads4(tuple(attrs.get("pads", (0, 0, 0, 0))))
        floor = [
            window_count(x.shape[2 + i], kernel[i], strides[i], pads[i], pads[2 + i])
            for i in (0, 1)
        ]
        return {**attrs, "ceil_mode": tuple(floor) != out[2:]}

    def overhang(self, axis: int) -> int:
        """Positions by which the last window along axis 0 (h) or 1 (w) ends behind the declared
        padding; below 0: before its end."""
        size, k, s = self.x.shape[2 + axis], self.kernel_shape[axis], self.strides[axis]
        pads = pads4(self.pads)
        before, after = pads[axis], pads[2 + axis]
        n = window_count(size, k, s, before, after, ceil=self.ceil_mode)
        return (n - 1) * s + k - (size + before + after)

    def onnx_attrs(self) -> dict[str, Any]:
        """With ceil_mode the padding behind the data ends where the last window does, if that is
        earlier: readers of ONNX do not agree whether a window in the padding alone is dropped."""
        pads, beyond = list(pads4(self.pads)), False
        for i in (0, 1) if self.ceil_mode else ():
            overhang = self.overhang(i)
            beyond |= overhang > 0
            pads[2 + i] = max(0, pads[2 + i] + min(overhang, 0))
        return {
            "kernel_shape": self.kernel_shape,
            "strides": self.strides,
            "pads": tuple(pads),
            "ceil_mode": int(beyond),
        }

    def pool_to_onnx(
        self, b: OnnxBuilder, kind: str, ins: list[str], out: str, **attrs: Any
    ) -> None:
        whole = self.kernel_shape == self.x.shape[2:] and not any(self.pads)
        name = out if self.keepdims else f"{out}/pool"
        if whole and self.infer()[0].shape[2:] in ((1, 1), ()):
            b.node("Global" + kind, ins, name)
        else:
            b.node(kind, ins, name, **self.onnx_attrs(), **attrs)
        if not self.keepdims:
            b.node("Flatten", [name], out, axis=1)


@register
class MaxPool(Pool):
    """y = maximum over the window; padding never wins."""

    foreign: ClassVar[dict[str, Any]] = {"is_adaptive": False}

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        self.pool_to_onnx(b, "MaxPool", ins, out)


@register
class AvgPool(Pool):
    """y = sum over the window (padding 0) / number of positions.

    The positions counted are those inside the data; with count_include_pad also those in the
    declared padding (not those that ceil_mode adds behind it).
    """

    count_include_pad = bool_(default=False)

    def counts(self, axis: int) -> list[int]:
        """Positions counted in each window along axis 0 (h) or 1 (w); the divisor is the product of
        both.
        """
        size, k, s = self.x.shape[2 + axis], self.kernel_shape[axis], self.strides[axis]
        before, after = self.pads[axis], self.pads[2 + axis]
        low, high = (-before, size + after) if self.count_include_pad else (0, size)
        n = window_count(size, k, s, before, after, ceil=self.ceil_mode)
        starts = [i * s - before for i in range(n)]
        return [max(min(a + k, high) - max(a, low), 0) for a in starts]

    def infer(self) -> list[TensorType]:
        types = super().infer()
        if min(self.counts(0) + self.counts(1)) < 1:
            raise ShapeError(f"AvgPool of {self.x.name!r}: a window lies in the padding entirely")
        return types

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        """onnxruntime before 1.24 divides wrongly when ceil_mode adds positions behind padding that
        counts: then the mean over the whole kernel, times kernel size / counted positions."""
        if not (self.count_include_pad and self._ceil_adds()):
            include = int(self.count_include_pad)
            self.pool_to_onnx(b, "AveragePool", ins, out, count_include_pad=include)
            return
        counts = np.outer(self.counts(0), self.counts(1))
        factor = (self.kernel_shape[0] * self.kernel_shape[1] / counts).astype(np.float32)
        attrs = self.onnx_attrs() | {"ceil_mode": 0, "count_include_pad": 1}
        t, left, bottom, right = pads4(self.pads)
        bottom, right = bottom + self._ceil_adds(0), right + self._ceil_adds(1)
        if bottom >= self.kernel_shape[0] or right >= self.kernel_shape[1]:
            pads = np.array([0, 0, t, left, 0, 0, bottom, right], np.int64)
            padded = b.node("Pad", [*ins[:1], b.const(pads, f"{out}/pads")], f"{out}/pad")
            ins, t, left, bottom, right = [padded], 0, 0, 0, 0
        b.node("AveragePool", ins[:1], f"{out}/mean", **attrs | {"pads": (t, left, bottom, right)})
        name = out if self.keepdims else f"{out}/pool"
        b.node("Mul", [f"{out}/mean", b.const(factor, f"{out}/factor")], name)
        if not self.keepdims:
            b.node("Flatten", [name], out, axis=1)

    def _ceil_adds(self, axis: int | None = None) -> int:
        """Positions behind the declared padding that the last window of ceil_mode reaches into."""
        if axis is None:
            return self._ceil_adds(0) + self._ceil_adds(1)
        return max(self.overhang(axis), 0)
