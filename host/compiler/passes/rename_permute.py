"""A Permute that moves no element in memory (only sizes 1 change place) is a Reshape."""

from __future__ import annotations

from ..ir import Graph
from ..top import Permute, Reshape


def run(graph: Graph) -> None:
    for i, op in enumerate(graph.ops[:]):
        if isinstance(op, Permute) and op.only_renames():
            old = op.results[0]
            new = graph.add(Reshape, [op.x], old.name, index=i + 1, shape=old.shape)
            graph.replace(old, new)
            graph.erase(op)
