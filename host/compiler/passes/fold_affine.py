"""BatchNorm, Scale, MulConst and AddConst behind a Conv or MatMul go into its weights and bias.

    (W x + b) * s + t = (W * s) x + (b * s + t)      per output channel, in double precision,
    rounded once to float32

The MatMul result must have two dimensions for per-channel factors (axis 1 is then the column).
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Op
from ..top import Conv, Fusable, MatMul
from .affine import AFFINE, coefficients
from .rewrite import absorb, producer, set_const


def run(graph: Graph) -> None:
    for op in graph.ops[:]:
        if not isinstance(op, AFFINE):
            continue
        into = producer(graph, op)
        if (
            isinstance(into, Conv | MatMul)
            and not into.do_relu
            and all(v is None or v.is_const for v in into.operands[1:])
        ):
            fold(graph, into, op)


def fold(graph: Graph, into: Conv | MatMul, op: Fusable) -> None:
    scale, bias = coefficients(op)
    if isinstance(into, MatMul) and scale.ndim + bias.ndim and len(into.results[0].shape) != 2:
        return
    weight = into.arg(1).array.astype(np.float64)
    rows = (
        isinstance(into, Conv) or into.right_transpose
    )  # where the output channel is: first axis or last
    if (scale != 1).any():
        spread = scale.reshape(-1, *(1,) * (weight.ndim - 1)) if rows else scale
        set_const(graph, into, 1, weight * spread, "")
    old = into.operand("bias")
    channels = into.results[0].shape[1 if isinstance(into, Conv) else -1]
    new = (0.0 if old is None else old.array.reshape(-1).astype(np.float64)) * scale + bias
    if old is not None or np.any(bias):
        set_bias(graph, into, np.broadcast_to(new, (channels,)))
    into.do_relu, into.relu_limit = op.do_relu, op.relu_limit
    absorb(graph, into, op)


def set_bias(graph: Graph, op: Op, data: np.ndarray) -> None:
    """Replace the bias of a Conv or MatMul, or add one."""
    if len(op.operands) < 3:
        op.add_operand(None)
    set_const(graph, op, 2, data, f"{op.name}_bias")
