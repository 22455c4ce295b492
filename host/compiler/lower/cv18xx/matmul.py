"""Fully connected layers become convolutions, so that they are quantised per output channel.

    y[n, o] = sum over k of x[n, k] * r[k, o] + b[o]

    x seen through Reshape as (n, c, h, w), k = (c*H + h)*W + w
                             ->  Conv with kernel (h, w), filter[o, c, h, w] = r[k, o]
    x any other (n, k)       ->  Conv 1x1 on (n, k, 1, 1)
    x (a, b, k)              ->  Conv 1x1 on (a*b, k, 1, 1), result renamed back

The hardware takes at most 4063 input channels (hw/cv18xx-tiu.md section 1.3): a longer k is viewed
as (k/f, f, 1).
"""

from __future__ import annotations

from ... import top, tpu
from ...ir import Value
from .context import Context, constant_data, lowers, shape4
from .conv import convolve

_CHANNELS_MOST = 4063


@lowers(top.MatMul)
def lower_matmul(ctx: Context, op: top.MatMul) -> Value:
    x, right = op.x, constant_data(op, "right")
    b = constant_data(op, "bias").reshape(-1) if op.operand("bias") is not None else None
    w = right if op.right_transpose else right.T
    value = _picture(ctx, x)
    c, h, wd = value.shape[1:]
    name = op.name if len(x.shape) == 2 else f"{op.name}_conv"
    y = convolve(ctx, op, value, w.reshape(-1, c, h, wd), b, name=name)
    shape = shape4(op.results[0].shape)
    if y.shape == shape and name == op.name:
        return y
    return ctx.add(tpu.Reshape, [y], op.name, y.type.scale, shape=shape)


def _picture(ctx: Context, x: Value) -> Value:
    """The input as (rows, c, h, w) with c*h*w = k."""
    k, rows = x.shape[-1], x.type.count // x.shape[-1]
    source = x
    while isinstance(source.owner, top.Reshape):
        source = source.owner.x
        if len(source.shape) == 4 and source.shape[0] == rows and source.shape[1] <= _CHANNELS_MOST:
            return ctx.get(source)
    value = ctx.get(x)
    f = next(f for f in range(1, k + 1) if k % f == 0 and k // f <= _CHANNELS_MOST)
    shape = (rows, k // f, f, 1)
    if value.shape == shape:
        return value
    return ctx.add(
        tpu.Reshape, [value], f"{x.name}_rows_{len(ctx.graph.ops)}", value.type.scale, shape=shape
    )
