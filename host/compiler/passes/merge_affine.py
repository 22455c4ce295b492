"""Two affine operations in a row become one Scale; a BatchNorm that is left alone becomes a Scale.

(x * s1 + t1) * s2 + t2 = x * (s1 * s2) + (t1 * s2 + t2)
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph
from ..top import BatchNorm, Fusable, Scale
from .affine import AFFINE, coefficients
from .rewrite import absorb, producer, to_float32


def run(graph: Graph) -> None:
    for op in graph.ops[:]:
        if not isinstance(op, AFFINE) or len(op.results[0].shape) < 2:
            continue
        first = producer(graph, op)
        if isinstance(first, AFFINE) and not first.do_relu:
            (s1, t1), (s2, t2) = coefficients(first), coefficients(op)
            merged = _scale(graph, first, s1 * s2, t1 * s2 + t2)
            merged.do_relu, merged.relu_limit = op.do_relu, op.relu_limit
            absorb(graph, merged, op)
        elif isinstance(op, BatchNorm):
            _scale(graph, op, *coefficients(op))


def _scale(graph: Graph, op: Fusable, scale: np.ndarray, bias: np.ndarray) -> Scale:
    """Replace `op` by a Scale of the same name."""
    old, size = op.results[0], op.results[0].shape[1]
    taken = {v.name for v in graph.consts()}
    consts = []
    for kind, data in ("scale", scale), ("bias", bias):
        name = f"{old.name}_{kind}"
        while name in taken:
            name += "_"
        consts.append(graph.const(name, to_float32(np.broadcast_to(data, (size,)), old.name)))
    new = graph.add(
        Scale,
        [op.arg(0), *consts],
        old.name,
        index=graph.ops.index(op),
        do_relu=op.do_relu,
        relu_limit=op.relu_limit,
    )
    graph.replace(old, new)
    graph.erase(op)
    assert isinstance(new.owner, Scale)
    return new.owner
