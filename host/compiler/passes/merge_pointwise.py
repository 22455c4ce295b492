"""Two 1x1 convolutions in a row without anything between are one.

    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)

`run` does it where neither the work nor the weights grow, `merge_cheaper` where a chip takes no
longer. The vendor's compiler does it always, so that its calibration tables lack the tensor
between: `merge_missing` does it for the tensors that such a table does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from ..ir import Graph, Op
from ..top import Conv
from .fold_affine import set_bias
from .rewrite import producer, set_const


def run(graph: Graph) -> None:
    for first, second in mergeable(graph):
        (c1, c0), c2 = first.arg(1).shape[:2], second.arg(1).shape[0]
        if c0 * c2 <= c1 * (c0 + c2) and second.strides == (1, 1):
            merge(graph, first, second)


def merge_missing(graph: Graph, known: Collection[str]) -> None:
    """Merge the pairs whose tensor between is not in `known` (the names of a calibration table),
    while the tensor behind is; rows of more than two from their end."""

    def missing(pair: tuple[Conv, Conv]) -> bool:
        return pair[0].name not in known and pair[1].name in known

    while pair := next(filter(missing, mergeable(graph)), None):
        merge(graph, *pair)


def merge_cheaper(graph: Graph, cycles: Callable[[tuple[int, ...], int], float]) -> None:
    """Merge the pairs that take no longer as one; cycles(result shape, input channels) is the time
    of a 1x1 convolution."""
    for first, second in mergeable(graph):
        outer, inner = second.results[0].type.shape, first.results[0].type.shape
        channels = first.arg(1).shape[1]
        if cycles(outer, channels) <= cycles(inner, channels) + cycles(outer, inner[1]):
            merge(graph, first, second)


def mergeable(graph: Graph) -> list[tuple[Conv, Conv]]:
    """Convolutions that can be merged, each with the next. A chain of three gives two pairs."""
    found = []
    for second in graph.ops:
        first = producer(graph, second)
        if not isinstance(first, Conv) or not isinstance(second, Conv) or first.do_relu:
            continue
        if _plain(first) and _plain(second):
            found.append((first, second))
    return found


def _plain(op: Op) -> bool:
    return (
        isinstance(op, Conv)
        and (op.kernel_shape, op.group, any(op.pads)) == ((1, 1), 1, False)
        and all(v is None or v.is_const for v in op.operands[1:])
    )


def merge(graph: Graph, first: Conv, second: Conv) -> None:
    """`second` computes both; in double precision, rounded once to float32."""
    w1, w2 = (op.arg(1).array[:, :, 0, 0].astype(np.float64) for op in (first, second))
    bias = w2 @ _bias(first, w1) + _bias(second, w2)
    has_bias = any(op.operand("bias") is not None for op in (first, second))
    second.strides = tuple(a * b for a, b in zip(first.strides, second.strides, strict=True))
    second.set_operand(0, first.x)
    set_const(graph, second, 1, (w2 @ w1)[:, :, None, None], "")
    if has_bias:
        set_bias(graph, second, bias)
    graph.erase(first)


def _bias(op: Conv, weight: np.ndarray) -> np.ndarray:
    bias = op.operand("bias")
    return np.zeros(len(weight)) if bias is None else bias.array.astype(np.float64)
