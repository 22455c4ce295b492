"""Every result and every constant gets a name of its own: a second x is called x_1."""

from __future__ import annotations

from ..ir import Graph, Value
from .origins import forget_unused


def run(graph: Graph) -> None:
    for values in graph.values(), graph.consts():
        taken: set[str] = set()
        given = {v.name for v in values}
        for v in values:
            v.name = _free(v, taken, given)
            taken.add(v.name)
    forget_unused(graph)


def _free(v: Value, taken: set[str], given: set[str]) -> str:
    base = v.name or "unnamed"
    name, i = base, 0
    while name in taken or (i and name in given):
        i += 1
        name = f"{base}_{i}"
    return name
