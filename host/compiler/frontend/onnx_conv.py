"""Conv, Gemm, MatMul, BatchNormalization."""

from __future__ import annotations

import numpy as np

from ..ir import Value
from ..top import BatchNorm, Conv, MatMul, Permute
from .onnx_node import Node, converts


def same_pads(
    node: Node,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """The pads (begins, ends) of a window operation, auto_pad resolved.

    SAME: ceil(size / stride) windows; the odd pixel goes behind (UPPER) or before (LOWER) the data.
    """
    mode = node.attr("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = tuple(node.attr("pads", [0] * (2 * len(size))))
        if len(pads) != 2 * len(size) or min(pads) < 0:
            node.unsupported(f"pads {list(pads)}")
        return pads
    if mode == "VALID":
        return (0,) * (2 * len(size))
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        node.unsupported(f"auto_pad {mode!r}")
    total = [
        max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    less, more = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return less + more if mode == "SAME_UPPER" else more + less


@converts("Conv")
def conv(n: Node) -> Value:
    x, w = n.value(), n.floats(1, "filter")
    if len(x.shape) != 4 or w.ndim != 4:
        n.unsupported(f"input {list(x.shape)}: only convolutions over two dimensions are supported")
    kernel = tuple(n.attr("kernel_shape", w.shape[2:]))
    strides, dilations = tuple(n.attr("strides", (1, 1))), tuple(n.attr("dilations", (1, 1)))
    pads = same_pads(n, x.shape[2:], kernel, strides, dilations)
    bias = n.weight(2, "bias") if n.has(2) else None
    return n.emit(
        Conv,
        [x, n.weight(1, "filter"), bias],
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=n.attr("group", 1),
    )


@converts("Gemm")
def gemm(n: Node) -> Value:
    """alpha * A' B' + beta * C with constant B and C."""
    x, w = n.value(), n.floats(1, "matrix")
    if n.attr("transA", 0):
        x = n.emit(Permute, [x], "transpose", order=(1, 0))
    fixed = n.attr("alpha", 1.0) * w.T if n.attr("transB", 0) else n.attr("alpha", 1.0) * w
    right = n.new_weight(n.input_names[1] + "_fix", np.ascontiguousarray(fixed, np.float32))
    bias = _gemm_bias(n, right.shape[-1]) if n.has(2) and n.attr("beta", 1.0) != 0 else None
    return n.emit(MatMul, [x, right, bias])


def _gemm_bias(n: Node, outputs: int) -> Value:
    """beta * C as one row."""
    c, beta = n.floats(2, "bias"), np.float32(n.attr("beta", 1.0))
    if c.size not in (1, outputs) or c.shape[-1:] not in ((), (1,), (outputs,)):
        n.unsupported(f"C of the shape {list(c.shape)}: only one row is possible")
    if c.shape == (outputs,) and beta == 1:
        return n.weight(2, "bias")
    return n.new_weight(n.input_names[2] + "_fix", np.broadcast_to(c.reshape(-1) * beta, outputs))


@converts("MatMul")
def matmul(n: Node) -> Value:
    """The right side may have further dimensions of size 1, no more than x has."""
    x, w = n.value(0), n.floats(1, "right matrix")
    one_matrix = w.ndim >= 2 and w.size == w.shape[-2] * w.shape[-1]
    if not one_matrix or len(x.shape) < w.ndim:
        n.unsupported(f"{list(x.shape)} times {list(w.shape)}: the right side must be a matrix")
    if w.ndim == 2:
        return n.emit(MatMul, [x, n.weight(1, "right matrix")])
    return n.emit(MatMul, [x, n.new_weight(f"{n.name}_right", w.reshape(w.shape[-2:]))])


@converts("BatchNormalization")
def batch_norm(n: Node) -> Value:
    if n.attr("training_mode", 0) or not n.attr("spatial", 1):
        n.unsupported("training mode")
    gamma, beta, mean, var = (
        n.weight(i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    return n.emit(BatchNorm, [n.value(), mean, var, gamma, beta], epsilon=n.attr("epsilon", 1e-5))
