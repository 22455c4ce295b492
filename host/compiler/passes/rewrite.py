"""Small tools that passes share."""

from __future__ import annotations

import numpy as np

from ..errors import UserInputError
from ..ir import Graph, Op, Value


def only_user(graph: Graph, value: Value) -> Op | None:
    """The single op that reads `value`, if it reads it once and the value is no output of the
    graph.
    """
    if len(value.uses) != 1 or value in graph.outputs:
        return None
    return value.uses[0][0]


def producer(graph: Graph, op: Op) -> Op | None:
    """The op that computes the first operand of `op`, if nobody else reads that operand."""
    value = op.operands[0] if op.operands else None
    if value is None or value.owner is None or only_user(graph, value) is not op:
        return None
    return value.owner


def absorb(graph: Graph, first: Op, second: Op, name: str | None = None) -> None:
    """`first` now computes what `second` did: it takes its name and its users, `second` is removed
    (cli.md section 3.4).
    """
    name = name or second.results[0].name
    graph.replace(second.results[0], first.results[0])
    graph.erase(second)
    first.results[0].name = name


def drop(graph: Graph, op: Op) -> None:
    """Remove an op that computes its own operand."""
    value = op.operands[0] if op.operands else None
    assert value is not None
    graph.replace(op.results[0], value)
    graph.erase(op)


def set_const(graph: Graph, op: Op, index: int, data: np.ndarray, name: str) -> None:
    """Give operand `index` of `op` (appended if it is the next one) new numbers, as float32, under
    a name not yet taken.

    A constant that only this op reads keeps its name.
    """
    old = op.operands[index] if index < len(op.operands) else None
    if old is not None:
        name = old.name
        op.set_operand(index, None)
    taken = {v.name for v in graph.consts()}
    unique, i = name, 0
    while unique in taken:
        i += 1
        unique = f"{name}_{i}"
    op.set_operand(index, graph.const(unique, to_float32(data, op.name)))


def to_float32(data: np.ndarray, layer: str) -> np.ndarray:
    """Folded weights, rounded once. UserInputError if they overflow, or are not numbers."""
    with np.errstate(all="ignore"):
        out = np.asarray(data).astype(np.float32)
    if not np.isfinite(out).all():
        raise UserInputError(
            f"layer {layer!r}: its weights, times the normalisation or the factors behind it, are "
            "no finite numbers (a negative variance, or values beyond 3.4e38)"
        )
    return out
