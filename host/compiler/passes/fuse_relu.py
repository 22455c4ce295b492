"""Relu and Clip(0, limit) go into the op before (do_relu, relu_limit); Relu of Relu is one."""

from __future__ import annotations

from ..ir import Graph
from ..top import Add, AddConst, BatchNorm, Conv, MatMul, Mul, MulConst, Pool, Relu, Scale
from .rewrite import absorb, producer

COMPUTES = (Add, AddConst, BatchNorm, Conv, MatMul, Mul, MulConst, Pool, Scale)


def run(graph: Graph) -> None:
    for op in graph.ops[:]:
        if not isinstance(op, Relu):
            continue
        into = producer(graph, op)
        if isinstance(into, COMPUTES):
            into.relu_limit = _both(into.relu_limit if into.do_relu else -1.0, op.relu_limit)
            into.do_relu = True
        elif isinstance(into, Relu):
            into.relu_limit = _both(into.relu_limit, op.relu_limit)
        else:
            continue
        absorb(graph, into, op)


def _both(a: float, b: float) -> float:
    """The lower of two limits; negative = none."""
    return max(a, b) if min(a, b) < 0 else min(a, b)
