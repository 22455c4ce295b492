"""Concat, Pad, Reshape and its relatives, Transpose, and the operations that do nothing."""

from __future__ import annotations

import math

from onnx import TensorProto

from ..ir import Value
from ..top import Concat, Pad, Permute, Reshape
from .onnx_fold import reshape_to
from .onnx_node import Node, converts


@converts("Concat")
def concat(n: Node) -> Value:
    values = [n.value(i) for i in range(len(n.inputs))]
    axis = n.axis(n.attr("axis", 1), len(values[0].shape))
    return n.emit(Concat, values, axis=axis) if len(values) > 1 else values[0]


@converts("Pad")
def pad(n: Node) -> Value:
    """pads: (begins, ends) of all axes, or of the `axes` that input 3 names."""
    x, mode = n.value(), n.attr("mode", "constant")
    pads, rank = n.ints(1, "pads", "list of pads") or [], len(x.shape)
    val = (
        float(n.attr("value", 0.0))
        if n.opset < 11
        else float(n.floats(2, "value").reshape(()))
        if n.has(2)
        else 0.0
    )
    if n.has(3):
        axes = n.axes([int(a) for a in n.array(3, "list of axes").reshape(-1)], rank)
        full = [0] * (2 * rank)
        for i, a in enumerate(axes):
            full[a], full[rank + a] = pads[i], pads[len(axes) + i]
        pads = full
    if mode not in ("constant", "reflect", "edge") or min(pads, default=0) < 0:
        n.unsupported(f"mode {mode!r} with pads {pads}")
    if not any(pads):
        return x
    return n.emit(Pad, [x], paddings=pads, val=val, mode=mode)


@converts("Reshape")
def reshape(n: Node) -> Value:
    wanted = n.ints(1, "shape", "shape") or []
    return n.emit(
        Reshape,
        [n.value()],
        shape=reshape_to(n.value().shape, wanted, bool(n.attr("allowzero", 0))),
    )


@converts("Flatten")
def flatten(n: Node) -> Value:
    x = n.value()
    rank, axis = len(x.shape), n.attr("axis", 1)
    axis = rank if axis == rank else n.axis(axis, rank)
    return n.emit(Reshape, [x], shape=(math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@converts("Squeeze")
def squeeze(n: Node) -> Value:
    x = n.value()
    axes = n.ints(1, "axes", "list of axes")
    drop = (
        n.axes(axes, len(x.shape))
        if axes is not None
        else [i for i, d in enumerate(x.shape) if d == 1]
    )
    return n.emit(Reshape, [x], shape=tuple(d for i, d in enumerate(x.shape) if i not in drop))


@converts("Unsqueeze")
def unsqueeze(n: Node) -> Value:
    x, axes = n.value(), n.ints(1, "axes", "list of axes") or []
    rank = len(x.shape) + len(axes)
    new = n.axes(axes, rank)
    old = iter(x.shape)
    return n.emit(Reshape, [x], shape=tuple(1 if i in new else next(old) for i in range(rank)))


@converts("Transpose")
def transpose(n: Node) -> Value:
    x = n.value()
    return n.emit(Permute, [x], order=n.attr("perm", tuple(reversed(range(len(x.shape))))))


@converts("Identity", "Dropout")
def nothing(n: Node) -> Value:
    if n.has(2) and n.array(2, "training mode").item():
        n.unsupported("training mode")
    return n.value()


@converts("Cast")
def cast(n: Node) -> Value:
    """Between float types: nothing to do, the graph is float32."""
    if n.attr("to") not in (
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.DOUBLE,
        TensorProto.BFLOAT16,
    ):
        n.unsupported("a cast to whole numbers")
    return n.value()
