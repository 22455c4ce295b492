"""Remove operations whose results nobody uses. Inputs stay: they are the interface."""

from __future__ import annotations

from ..ir import Graph
from ..top import Input


def run(graph: Graph) -> None:
    for op in reversed(graph.ops[:]):
        if not isinstance(op, Input) and not any(r.uses or r in graph.outputs for r in op.results):
            graph.erase(op)
