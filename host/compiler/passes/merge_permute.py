"""Permute(Permute(x)) -> Permute(x) with the product of both; a Permute that changes nothing
vanishes.
"""

from __future__ import annotations

from ..ir import Graph
from ..top import Permute
from .rewrite import drop


def run(graph: Graph) -> None:
    for op in graph.ops[:]:
        if not isinstance(op, Permute):
            continue
        first = op.x.owner
        if isinstance(first, Permute):
            op.order = tuple(first.order[i] for i in op.order)
            op.set_operand(0, first.x)
            if not first.results[0].uses and first.results[0] not in graph.outputs:
                graph.erase(first)
        if op.order == tuple(range(len(op.order))):
            drop(graph, op)
