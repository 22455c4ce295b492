"""MaxPool, AveragePool, the global pools, ReduceMean over the picture."""

from __future__ import annotations

from typing import Any

from ..ir import Value
from ..top import AvgPool, MaxPool
from .onnx_conv import same_pads
from .onnx_node import Node, converts


def _flat(n: Node) -> Value:
    x = n.value()
    if len(x.shape) != 4:
        n.unsupported(f"input {list(x.shape)}: only pools over two dimensions are supported")
    return x


@converts("MaxPool", "AveragePool")
def pool(n: Node) -> Value:
    x, kernel = _flat(n), tuple(n.attr("kernel_shape", ()))
    strides, dilations = tuple(n.attr("strides", (1, 1))), tuple(n.attr("dilations", (1, 1)))
    if any(d != 1 for d in dilations):
        n.unsupported(f"dilations {list(dilations)}")
    if len(kernel) != 2 or len(strides) != 2:
        n.unsupported(f"kernel {list(kernel)}, strides {list(strides)}")
    pads = same_pads(n, x.shape[2:], kernel, strides, dilations)
    ceil = bool(n.attr("ceil_mode", 0)) and n.attr("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    attrs: dict[str, Any] = dict(kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=ceil)
    if n.op_type == "MaxPool":
        return n.emit(MaxPool, [x], **attrs)
    return n.emit(AvgPool, [x], count_include_pad=bool(n.attr("count_include_pad", 0)), **attrs)


@converts("GlobalAveragePool")
def global_average(n: Node) -> Value:
    x = _flat(n)
    return n.emit(AvgPool, [x], kernel_shape=x.shape[2:], count_include_pad=True)


@converts("GlobalMaxPool")
def global_max(n: Node) -> Value:
    x = _flat(n)
    return n.emit(MaxPool, [x], kernel_shape=x.shape[2:])


@converts("ReduceMean")
def reduce_mean(n: Node) -> Value:
    x = _flat(n)
    axes = n.ints(1, "axes", "list of axes") or []
    if sorted(n.axes(axes, 4)) != [2, 3]:
        n.unsupported(f"axes {axes}: only the mean over height and width of a picture is supported")
    return n.emit(
        AvgPool,
        [x],
        kernel_shape=x.shape[2:],
        count_include_pad=True,
        keepdims=bool(n.attr("keepdims", 1)),
    )
