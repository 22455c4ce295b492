"""Reshape(Reshape(x)) -> Reshape(x), and a Reshape to the shape that x already has vanishes, unless
both are outputs of the graph."""

from __future__ import annotations

from ..ir import Graph
from ..top import Reshape
from .rewrite import drop


def run(graph: Graph) -> None:
    for op in graph.ops[:]:
        if not isinstance(op, Reshape):
            continue
        first = op.x.owner
        if isinstance(first, Reshape):
            op.set_operand(0, first.x)
            if not first.results[0].uses and first.results[0] not in graph.outputs:
                graph.erase(first)
        both_out = op.x in graph.outputs and op.results[0] in graph.outputs
        if op.x.shape == op.shape and not both_out:
            drop(graph, op)
