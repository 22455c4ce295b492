"""Two 1x1 convolutions in a row without anything between are one.

    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)

`run` does it where neither the work nor the weights grow. The vendor's compiler does it always, so that its calibration
tables lack the tensor between: `merge_missing` does it for the tensors that such a table does not know.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..ir import Graph, Op
from ..top import Conv
from .fold_affine import set_bias
from .rewrite import producer, set_const


def run(graph: Graph) -> None:
    for second in graph.ops[:]:
        first = _mergeable(graph, second)
        if first is not None:
            (c1, c0), c2 = first.operands[1].shape[:2], second.operands[1].shape[0]
            if c0 * c2 <= c1 * (c0 + c2) and second.strides == (1, 1):
                merge(graph, first, second)


def merge_missing(graph: Graph, known: Collection[str]) -> None:
    """Merge the pairs whose tensor between is not in `known` (the names of a calibration table) while its neighbours are."""
    for second in graph.ops[:]:
        first = _mergeable(graph, second)
        if first is not None and first.name not in known and second.name in known:
            merge(graph, first, second)


def _mergeable(graph: Graph, second: Op) -> Conv | None:
    """The convolution before `second` if both are plain 1x1 convolutions that can be merged."""
    first = producer(graph, second)
    if not isinstance(first, Conv) or not isinstance(second, Conv) or first.do_relu:
        return None
    for op in first, second:
        if op.kernel_shape != (1, 1) or op.group != 1 or any(op.pads) or not all(v is None or v.is_const for v in op.operands[1:]):
            return None
    return first


def merge(graph: Graph, first: Conv, second: Conv) -> None:
    """`second` computes both; in double precision, rounded once to float32."""
    w1, w2 = (op.operands[1].data[:, :, 0, 0].astype(np.float64) for op in (first, second))
    b1, b2 = (0.0 if op.operand("bias") is None else op.operand("bias").data.astype(np.float64) for op in (first, second))
    has_bias = first.operand("bias") is not None or second.operand("bias") is not None
    strides = tuple(a * b for a, b in zip(first.strides, second.strides, strict=True))
    second.set_operand(0, first.x)
    second.strides = strides
    set_const(graph, second, 1, (w2 @ w1)[:, :, None, None], "")
    if has_bias:
        set_bias(graph, second, w2 @ np.broadcast_to(b1, w1.shape[:1]) + b2)
    graph.erase(first)
