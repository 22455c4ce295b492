"""BatchNorm, Scale, MulConst and AddConst behind a Conv or MatMul go into its weights and bias.

    (W x + b) * s + t = (W * s) x + (b * s + t)   per output channel, in double precision,
                                                  rounded once to float32

The MatMul result must have two dimensions for per-channel factors (axis 1 is then the column).
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Op
from ..top import BatchNorm, Conv, Fusable, MatMul, Scale
from .affine import AFFINE, coefficients
from .origins import note_origin, origin_of
from .rewrite import absorb, producer, set_const


def run(graph: Graph) -> None:
    normalised: set[int] = set()  # ids of operations that have taken a BatchNorm
    for op in graph.ops[:]:
        if not isinstance(op, AFFINE):
            continue
        into = producer(graph, op)
        if not isinstance(into, Conv | MatMul) or into.do_relu:
            continue
        if all(v is None or v.is_const for v in into.operands[1:]):
            fold(graph, into, op, after_norm=id(into) in normalised)
            if isinstance(op, BatchNorm):
                normalised.add(id(into))


def fold(graph: Graph, into: Conv | MatMul, op: Fusable, after_norm: bool = False) -> None:
    """Let `into` compute what `op` does, if it can. after_norm: it has taken a BatchNorm before."""
    scale, bias = coefficients(op)
    if isinstance(into, MatMul) and scale.ndim + bias.ndim and len(into.results[0].shape) != 2:
        return
    name = merged_name(graph, into, op, scale, bias, after_norm)
    weight = into.arg(1).array.astype(np.float64)
    rows = isinstance(into, Conv) or into.right_transpose  # output channel: first axis or last
    if (scale != 1).any():
        spread = scale.reshape(-1, *(1,) * (weight.ndim - 1)) if rows else scale
        set_const(graph, into, 1, weight * spread, "")
    old = into.operand("bias")
    channels = into.results[0].shape[1 if isinstance(into, Conv) else -1]
    new = (0.0 if old is None else old.array.reshape(-1).astype(np.float64)) * scale + bias
    if old is not None or np.any(bias):
        set_bias(graph, into, np.broadcast_to(new, (channels,)))
    into.do_relu, into.relu_limit = op.do_relu, op.relu_limit
    if name != op.name:
        note_origin(graph, name, origin_of(graph, op.name))
    absorb(graph, into, op, name)


def merged_name(
    graph: Graph,
    into: Conv | MatMul,
    op: Op,
    scale: np.ndarray,
    bias: np.ndarray,
    after_norm: bool,
) -> str:
    """The name that the vendor's tool (1.30.2) gives to `into` with `op` in it.

    It simplifies the ONNX model before it names anything. A Conv keeps its tensor, or takes that
    of a graph output, when it swallows a BatchNorm, a factor, or its first bias; MatMul + bias
    becomes Gemm. What it does not merge has the name of the last operation.
    """
    tensor, kind = op.name.rpartition("_")[0], into.name.rpartition("_")[2]
    if graph.attrs.get("platform") != "ONNX":
        return op.name
    adds = isinstance(op, Scale) and bool((scale == 1).all()) and into.operand("bias") is None
    factor = not bias.any() and not isinstance(op, BatchNorm) and not after_norm
    if kind == "Conv" and (isinstance(op, BatchNorm) or factor or adds):
        return f"{tensor}_{kind}" if op.results[0] in graph.outputs else into.name
    return f"{tensor}_Gemm" if kind == "MatMul" and adds else op.name


def set_bias(graph: Graph, op: Op, data: np.ndarray) -> None:
    """Replace the bias of a Conv or MatMul, or add one."""
    if len(op.operands) < 3:
        op.add_operand(None)
    set_const(graph, op, 2, data, f"{op.name}_bias")
