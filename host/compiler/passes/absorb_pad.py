"""A Pad of height and width becomes the padding of the Conv or pool behind it.

Conv: the padding must be 0. MaxPool ignores its padding: allowed if the value is the lowest float, or 0 while the data
are not negative. AvgPool: 0, and its own padding must count, since the padded zeros count.
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Value
from ..top import AvgPool, Conv, Fusable, MaxPool, Pad, Pool, Relu, Reshape, ShapeError


def run(graph: Graph) -> None:
    for op in graph.ops[:]:
        pad = op.operands[0].owner if op.operands and op.operands[0] is not None else None
        if isinstance(pad, Pad) and isinstance(op, Conv | Pool) and _try(op, pad):
            if not pad.results[0].uses and pad.results[0] not in graph.outputs:
                graph.erase(pad)


def _try(op: Conv | Pool, pad: Pad) -> bool:
    p = pad.paddings
    if pad.mode != "constant" or any(p[i] for i in (0, 1, 4, 5)) or not _value_fits(op, pad):
        return False
    old_pads, old_include, old_x = op.pads, getattr(op, "count_include_pad", None), op.x
    counts = [op.counts(0), op.counts(1)] if isinstance(op, AvgPool) else None
    op.pads = tuple(a + b for a, b in zip(old_pads, (p[2], p[3], p[6], p[7]), strict=True))
    if isinstance(op, AvgPool):
        op.count_include_pad = True
    op.set_operand(0, pad.x)
    try:
        if op.infer()[0] == op.results[0].type and (counts is None or counts == [op.counts(0), op.counts(1)]):
            return True
    except ShapeError:
        pass
    op.pads = old_pads
    op.set_operand(0, old_x)
    if isinstance(op, AvgPool):
        op.count_include_pad = old_include
    return False


def _value_fits(op: Conv | Pool, pad: Pad) -> bool:
    if isinstance(op, MaxPool):
        return pad.val <= float(np.finfo(np.float32).min) or (pad.val == 0 and not_negative(pad.x))
    if isinstance(op, AvgPool) and any(op.pads) and not op.count_include_pad:
        return False
    return pad.val == 0


def not_negative(value: Value) -> bool:
    """True if the value is the result of a rectifier, maybe moved or pooled since."""
    op = value.owner
    while isinstance(op, Pool | Reshape) and not getattr(op, "do_relu", False):
        op = op.x.owner
    return isinstance(op, Relu) or (isinstance(op, Fusable) and op.do_relu)
