"""Fully connected layers.

    y[n, o] = sum over k of x[n, k] * r[k, o] + b[o]      k = (c*H + h)*W + w of x (n, c, h, w)

Two forms compute it; x (a, b, k) is read as a*b rows and the result is renamed back:

* a convolution whose kernel is the whole picture, quantised per output channel. The chip makes one
  sum per lane at a time: rows * ceil(cols / lanes) * ceil(k / d) cycles.
* a matrix multiplication (hw/cv18xx-tiu.md section 5.11) with one multiplier and shift for all
  columns: sixteen sums per lane at a time.

The first is more accurate and as fast while its sums take no longer than the weights need to arrive
from DDR; it is taken there, and where they take less than _SMALL cycles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import top, tpu
from ...chip import Chip
from ...ir import Value
from .context import Context, constant_data, lowers, shape4
from .conv import convolve
from .weights import quantise

_CHANNELS_MOST = 4063  # input channels of a convolution (hw/cv18xx-tiu.md section 1.3)
_SMALL = 20_000


@lowers(top.MatMul)
def lower_matmul(ctx: Context, op: top.MatMul) -> Value:
    right = constant_data(op, "right")
    right = right.T if op.right_transpose else right
    b = constant_data(op, "bias").reshape(-1) if op.operand("bias") is not None else None
    out, rows = op.results[0], op.x.type.count // right.shape[0]
    shape = shape4(out.shape)
    name = op.name if shape == (rows, right.shape[1], 1, 1) else f"{op.name}_rows"
    if sums_take_longest(ctx.chip, rows, *right.shape):
        y = _matrix(ctx, op, rows, right, b, name)
    else:
        x = _picture(ctx, op.x, rows)
        y = convolve(ctx, op, x, right.T.reshape(-1, *x.shape[1:]), b, name=name)
    scale = y.type.scale
    return y if name == op.name else ctx.add(tpu.Reshape, [y], op.name, scale, shape=shape)


def sums_take_longest(chip: Chip, rows: int, k: int, columns: int) -> bool:
    """Does the convolution form take more cycles than the transfer of its weights (and _SMALL)?"""
    sums = rows * -(-columns // chip.lanes) * -(-k // chip.conv_macs_per_step)
    return sums > max(k * columns / chip.ddr_bytes_per_cycle, _SMALL)


def _matrix(
    ctx: Context,
    op: top.MatMul,
    rows: int,
    right: NDArray[Any],
    b: NDArray[Any] | None,
    name: str,
) -> Value:
    """tpu.MatMul with the scale and relu of `op`."""
    x, scale = _source(ctx, op.x, rows) or ctx.get(op.x), ctx.scale(op.results[0])
    if x.shape[0] != rows:
        x = _renamed(ctx, op.x, (rows, right.shape[0], 1, 1))
    assert x.type.scale is not None
    q = quantise(right.T, b, x.type.scale, scale, keep_sums=x not in ctx.centred, per_channel=False)
    operands = [
        x,
        ctx.const(f"{name}_right", q.weights.T, np.int8),
        None if q.bias is None else ctx.const(f"{name}_bias", q.bias, np.int32),
    ]
    m, s = int(q.multiplier[0]), int(q.shift[0])
    return ctx.add(tpu.MatMul, operands, name, scale, multiplier=m, shift=s, do_relu=op.do_relu)


def _source(ctx: Context, x: Value, rows: int) -> Value | None:
    """The picture (rows, c, h, w) that reshapes only flatten, if there is one."""
    while isinstance(x.owner, top.Reshape):
        x = x.owner.x
        if len(x.shape) == 4 and x.shape[0] == rows:
            return ctx.get(x)
    return None


def _picture(ctx: Context, x: Value, rows: int) -> Value:
    """The input as (rows, c, h, w) with c*h*w = k and c that a convolution can take."""
    source, k = _source(ctx, x, rows), x.type.count // rows
    if source is not None and source.shape[1] <= _CHANNELS_MOST:
        return source
    f = next(f for f in range(1, k + 1) if k % f == 0 and k // f <= _CHANNELS_MOST)
    return _renamed(ctx, x, (rows, k // f, f, 1))


def _renamed(ctx: Context, x: Value, shape: tuple[int, int, int, int]) -> Value:
    """x with this shape."""
    value = ctx.get(x)
    if value.shape == shape:
        return value
    name = f"{x.name}_rows_{len(ctx.graph.ops)}"
    return ctx.add(tpu.Reshape, [value], name, value.type.scale, shape=shape)
