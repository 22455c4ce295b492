"""Relu, Clip, LeakyRelu, PRelu, Softmax."""

from __future__ import annotations

import numpy as np

from ..ir import Value
from ..top import Clip, LeakyRelu, PRelu, Relu, Softmax
from .onnx_node import Node, converts

_LARGEST = float(np.finfo(np.float32).max)


@converts("Relu")
def relu(n: Node) -> Value:
    return n.emit(Relu, [n.value()])


@converts("Clip")
def clip(n: Node) -> Value:
    """min 0: Relu with a limit. Limits are attributes before opset 11, inputs since."""
    low, high = (
        _limit(n, i, name, d) for i, name, d in ((1, "min", -_LARGEST), (2, "max", _LARGEST))
    )
    if low <= -_LARGEST and high >= _LARGEST:
        return n.value()
    if low == 0 and high > 0:
        return n.emit(Relu, [n.value()], relu_limit=-1.0 if high >= _LARGEST else high)
    return n.emit(Clip, [n.value()], min=max(low, -_LARGEST), max=min(high, _LARGEST))


def _limit(n: Node, i: int, name: str, default: float) -> float:
    if name in n.attrs:
        return float(n.attrs[name])
    return float(n.floats(i, name).reshape(())) if n.has(i) else default


@converts("LeakyRelu")
def leaky_relu(n: Node) -> Value:
    return n.emit(LeakyRelu, [n.value()], alpha=n.attr("alpha", 0.01))


@converts("PRelu")
def prelu(n: Node) -> Value:
    """slope: one number, or one per channel (axis 1)."""
    x, slope = n.value(), n.floats(1, "slope")
    dims = (1,) * (len(x.shape) - slope.ndim) + slope.shape
    if slope.size != 1 and (len(dims) < 2 or any(d != 1 for i, d in enumerate(dims) if i != 1)):
        n.unsupported(
            f"slope {list(slope.shape)} is neither one number nor one per channel of "
            f"{list(x.shape)}"
        )
    return n.emit(PRelu, [x, n.weight(1, "slope")])


@converts("Softmax")
def softmax(n: Node) -> Value:
    """Before opset 13 the sum goes over all axes from `axis` on: the same if the others behind have
    size 1.
    """
    x = n.value()
    rank = len(x.shape)
    axis = n.attr("axis", -1 if n.opset >= 13 else 1)
    if not -rank <= axis < rank:
        n.unsupported(f"axis {axis} of {list(x.shape)}")
    axis %= rank
    if n.opset < 13:
        large = [i for i in range(axis, rank) if x.shape[i] > 1]
        if len(large) > 1:
            n.unsupported(f"the sum over several axes ({large}) of {list(x.shape)}")
        axis = large[0] if large else axis
    return n.emit(Softmax, [x], axis=axis)
