"""Pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import TensorType, bool_, int_, ints, register
from . import arith, kernels
from .base import TpuOp, i8


class _Pool(TpuOp):
    operand_names = ("x",)
    kernel_shape = ints()
    strides = ints(default=(1, 1))
    pads = ints(default=(0, 0, 0, 0))

    def infer(self) -> list[TensorType]:
        n, c, h, w = self.shape4()
        (kh, kw), (sy, sx), p = self.kernel_shape, self.strides, self.pads
        oh, ow = kernels.out_size(h, kh, sy, p[0], p[2]), kernels.out_size(w, kw, sx, p[1], p[3])
        self.require(oh > 0 and ow > 0, f"empty result {oh} x {ow}")
        return [i8((n, c, oh, ow), self.result_scale())]

    def result_scale(self) -> float | None:
        return None


@register
class MaxPool(_Pool):
    """Maximum over the window, then relu. pads (top, left, bottom, right) already include what
    ceil_mode adds; fill -128."""

    do_relu = bool_(default=False)

    def result_scale(self) -> float | None:
        return self.scale_of()

    def reference(self, x: Any) -> NDArray[np.int8]:
        y = kernels.max_pool(x, self.kernel_shape, self.strides, self.pads)
        return np.maximum(y, 0) if self.do_relu else y


@register
class AvgPool(_Pool):
    """Average over the window, fill 0, in one of two forms:

    sat8(relu(Q(factor * sum, multipliers[k], shifts[k]))), factor 1..127 only adds fraction bits
    sat8(R(factor * sum, shifts[0])), without multipliers: one count, factor 1..255, no relu

    k: index in `counts` (ascending) of the number of window positions that lie inside the input
    enlarged by counted_pads (top, left, bottom, right). pads already include what ceil_mode adds.
    """

    counted_pads = ints(default=(0, 0, 0, 0))
    factor = int_(default=1)
    counts = ints()
    multipliers = ints(default=())
    shifts = ints()
    do_relu = bool_(default=False)

    def window_counts(self) -> NDArray[np.int64]:
        """(oh, ow): the count of each output position."""
        _, _, h, w = self.shape4()
        return kernels.window_counts(
            (h, w), self.kernel_shape, self.strides, self.pads, self.counted_pads
        )

    def verify(self) -> None:
        super().verify()
        self.require(
            1 <= self.factor <= (127 if self.multipliers else 255), f"factor {self.factor}"
        )
        self.require(
            len(self.counts) == len(self.shifts) == (len(self.multipliers) or 1),
            "counts, multipliers, shifts differ in length",
        )
        self.require(bool(self.multipliers) or not self.do_relu, "a relu without multipliers")
        self.require(list(self.counts) == sorted(set(self.counts)), "counts are not ascending")
        self.require(
            set(np.unique(self.window_counts()).tolist()) <= set(self.counts),
            "a window count has no multiplier",
        )

    def reference(self, x: Any) -> NDArray[np.int8]:
        acc = kernels.sum_pool(x, self.kernel_shape, self.strides, self.pads) * np.int32(
            self.factor
        )
        if not self.multipliers:
            return arith.saturate(arith.shift_round(acc, self.shifts[0]))  # type: ignore[return-value]
        k = np.searchsorted(np.asarray(self.counts), self.window_counts())
        q = arith.requantise(
            acc, np.asarray(self.multipliers, np.int64)[k], np.asarray(self.shifts, np.int64)[k]
        )
        return arith.saturate(q, relu=self.do_relu)  # type: ignore[return-value]
