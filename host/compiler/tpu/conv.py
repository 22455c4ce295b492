"""Convolution, depthwise convolution, fully connected layers: one op."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import TensorType, bool_, int_, ints, register
from . import arith, kernels
from .base import TpuOp, i8, per_channel


@register
class Conv(TpuOp):
    """sat8(relu(Q(wrap32(acc + bias[oc]), multiplier[oc], shift[oc]))), acc = sum(x * filter).

    x (n, ic, h, w) i8; filter [oc, ic/group, kh, kw] i8; bias [oc] i32 or absent; multiplier [oc]
    i32; shift [oc] i8.
    pads (top, left, bottom, right) of 0. Depthwise: group = ic = oc.
    """

    operand_names = ("x", "filter", "bias?", "multiplier", "shift")
    kernel_shape = ints()
    strides = ints(default=(1, 1))
    pads = ints(default=(0, 0, 0, 0))
    dilations = ints(default=(1, 1))
    group = int_(default=1)
    do_relu = bool_(default=False)

    @property
    def is_depthwise(self) -> bool:
        """One filter per channel: the chip's depthwise instruction."""
        oc, icg = self.filter_shape[:2]
        return icg == 1 and oc == self.group and self.group == self.shape4()[1] and self.group > 1

    @property
    def filter_shape(self) -> tuple[int, ...]:
        f = self.operands[1]
        assert f is not None
        return f.shape

    def infer(self) -> list[TensorType]:
        n, ic, h, w = self.shape4()
        oc, icg, kh, kw = self.filter_shape
        self.require(
            (kh, kw) == self.kernel_shape,
            f"filter {self.filter_shape}, kernel_shape {self.kernel_shape}",
        )
        self.require(
            icg * self.group == ic and oc % self.group == 0,
            f"{ic} channels, filter {self.filter_shape}, group {self.group}",
        )
        for i in (2, 3, 4):
            v = self.operands[i]
            self.require(v is None or v.shape == (oc,), f"operand {i} is not [{oc}]")
        oh = kernels.out_size(h, kh, self.strides[0], self.pads[0], self.pads[2], self.dilations[0])
        ow = kernels.out_size(w, kw, self.strides[1], self.pads[1], self.pads[3], self.dilations[1])
        self.require(oh > 0 and ow > 0, f"empty result {oh} x {ow}")
        return [i8((n, oc, oh, ow), None)]

    def reference(
        self, x: Any, filter: Any, bias: Any, multiplier: Any, shift: Any
    ) -> NDArray[np.int8]:
        acc = kernels.conv2d(x, filter, self.strides, self.pads, self.dilations, self.group)
        if bias is not None:
            acc += per_channel(bias)  # int32 wraps
        q = arith.requantise(acc, per_channel(multiplier), per_channel(shift))
        return arith.saturate(q, relu=self.do_relu)  # type: ignore[return-value]
