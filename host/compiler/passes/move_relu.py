"""A Relu behind a Concat moves before it, where the operations that compute the operands take it.

    relu(concat(a, b)) = concat(relu(a), relu(b))

Names are the vendor's: <operand>_move_ahead_relu and <concat>_relu.
"""

from __future__ import annotations

from ..ir import Graph, Value
from ..top import Concat, Relu
from .origins import note_origin, origin_of
from .rewrite import absorb, producer


def run(graph: Graph) -> None:
    for op in graph.ops[:]:
        concat = producer(graph, op)
        if not isinstance(op, Relu) or not isinstance(concat, Concat) or concat.do_relu:
            continue
        rectified: dict[int, Value] = {}
        for i, x in enumerate(concat.operands):
            if x is None:
                continue
            if id(x) not in rectified:
                rectified[id(x)] = _relu(graph, x, op.relu_limit, graph.ops.index(concat))
            concat.set_operand(i, rectified[id(x)])
        name = f"{concat.name}_relu"
        note_origin(graph, name, origin_of(graph, op.name))
        absorb(graph, concat, op, name)


def _relu(graph: Graph, x: Value, limit: float, index: int) -> Value:
    name = f"{x.name}_move_ahead_relu"
    return graph.add(Relu, [x], name, index=index, relu_limit=limit)
