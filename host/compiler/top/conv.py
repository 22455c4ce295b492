"""Conv and MatMul: the operations with a matrix of weights."""

from __future__ import annotations

from typing import Any, ClassVar

from ..ir import TensorType, bool_, int_, ints, register
from .base import Fusable, OnnxBuilder, pads4, window_count


@register
class Conv(Fusable):
    """y[n,o] = sum over c,i,j of x[n, c, oh*sh - pt + i*dh, ow*sw - pl + j*dw] * filter[o,c,i,j] +
    bias[o], padding 0.

    x (n, ic, h, w); filter (oc, ic/group, kh, kw); bias (oc); pads (top, left, bottom, right).
    """

    operand_names = ("input", "filter", "bias?")
    foreign: ClassVar[dict[str, Any]] = {"dynweight_reorderd": False, "weight_is_coeff": 1}
    kernel_shape = ints()
    strides = ints(default=(1, 1))
    pads = ints(default=(0, 0, 0, 0))
    dilations = ints(default=(1, 1))
    group = int_(default=1)

    def infer(self) -> list[TensorType]:
        x, w, b = self.x.shape, self.arg(1).shape, self.operand("bias")
        if len(x) != 4 or len(w) != 4:
            self.bad(f"input {list(x)} and filter {list(w)} must have four dimensions")
        if self.group < 1 or w[1] * self.group != x[1] or w[0] % self.group:
            self.bad(f"filter {list(w)} and group {self.group} do not fit {x[1]} input channels")
        if w[2:] != self.kernel_shape:
            self.bad(f"kernel_shape {list(self.kernel_shape)} differs from the filter {list(w)}")
        if b is not None and b.shape != (w[0],):
            self.bad(f"bias {list(b.shape)} does not fit {w[0]} output channels")
        t, left, bottom, right = pads4(self.pads)
        (sh, sw), (dh, dw) = self.strides, self.dilations
        oh = window_count(x[2], w[2], sh, t, bottom, dh)
        ow = window_count(x[3], w[3], sw, left, right, dw)
        return self.result((x[0], w[0], oh, ow))

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        b.node(
            "Conv",
            [i for i in ins if i],
            out,
            kernel_shape=self.kernel_shape,
            strides=self.strides,
            pads=self.pads,
            dilations=self.dilations,
            group=self.group,
        )


@register
class MatMul(Fusable):
    """y = x @ right + bias: x (..., K), right (K, N) (right_transpose: (N, K)), bias (N)."""

    operand_names = ("input", "right", "bias?")
    foreign: ClassVar[dict[str, Any]] = {
        "left_transpose": False,
        "output_transpose": False,
        "hdim_is_batch": False,
        "is_lora": False,
        "dq_type": "NONE",
    }
    right_transpose = bool_(default=False)

    def infer(self) -> list[TensorType]:
        x, r, b = self.x.shape, self.arg(1).shape, self.operand("bias")
        if len(r) != 2 or len(x) < 2:
            self.bad(f"input {list(x)}, right {list(r)}: two or more dimensions, and two")
        k, n = r[::-1] if self.right_transpose else r
        if x[-1] != k:
            self.bad(f"input {list(x)} has {x[-1]} columns, right {list(r)} needs {k}")
        if b is not None and b.type.count != n:
            self.bad(f"bias {list(b.shape)} does not fit {n} outputs")
        return self.result((*x[:-1], n))

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        if len(self.x.shape) == 2:
            b.node("Gemm", [i for i in ins if i], out, transB=int(self.right_transpose))
            return
        right = (
            b.node("Transpose", [ins[1]], f"{out}/right", perm=[1, 0])
            if self.right_transpose
            else ins[1]
        )
        if len(ins) < 3 or not ins[2]:
            b.node("MatMul", [ins[0], right], out)
        else:
            b.node("Add", [b.node("MatMul", [ins[0], right], f"{out}/matmul"), ins[2]], out)
