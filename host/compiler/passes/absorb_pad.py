"""A Pad of height and width becomes the padding of the Conv or pool behind it.

Conv: the padding must be 0. MaxPool ignores its padding: allowed if the value is the lowest float,
or 0 while the data are not negative. AvgPool: 0, and its own padding must count, since the padded
zeros count.
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Value
from ..top import AvgPool, Conv, Fusable, MaxPool, Pad, Pool, Relu, Reshape, ShapeError


def run(graph: Graph) -> None:
    for op in graph.ops[:]:
        if not isinstance(op, Conv | Pool):
            continue
        pad = op.x.owner
        if not isinstance(pad, Pad) or not _value_fits(op, pad):
            continue
        absorb(op, pad)
        if not pad.results[0].uses and pad.results[0] not in graph.outputs:
            graph.erase(pad)


def absorb(op: Conv | Pool, pad: Pad) -> None:
    """Take over the paddings, unless the windows would then lie or count differently."""
    p = pad.paddings
    if pad.mode != "constant" or any(p[i] for i in (0, 1, 4, 5)):
        return
    before, counts, padded = dict(op.attrs), _counts(op), op.x
    op.pads = tuple(a + b for a, b in zip(op.pads, (p[2], p[3], p[6], p[7]), strict=True))
    if isinstance(op, AvgPool):
        op.count_include_pad = True
    op.set_operand(0, pad.x)
    try:
        same = op.infer()[0] == op.results[0].type and counts == _counts(op)
    except ShapeError:  # a pool whose padding is as large as its kernel
        same = False
    if not same:
        op.attrs.update(before)
        op.set_operand(0, padded)


def _counts(op: Conv | Pool) -> list[list[int]]:
    return [op.counts(0), op.counts(1)] if isinstance(op, AvgPool) else []


def _value_fits(op: Conv | Pool, pad: Pad) -> bool:
    if isinstance(op, MaxPool):
        lowest = float(np.finfo(np.float32).min)
        return pad.val <= lowest or (pad.val == 0 and not_negative(pad.x))
    if isinstance(op, AvgPool) and any(op.pads) and not op.count_include_pad:
        return False
    return pad.val == 0


def not_negative(value: Value) -> bool:
    """True if the value is the result of a rectifier, maybe moved or pooled since."""
    op = value.owner
    while isinstance(op, Pool | Reshape) and not getattr(op, "do_relu", False):
        op = op.x.owner
    return isinstance(op, Relu) or (isinstance(op, Fusable) and op.do_relu)
