"""Convolution.

    y = sum(w * x) + b  ->  y_q = Q(sum(w_q * x_q) + b_q, m, s), see weights.py; per output channel.

Padding is real 0 = int8 0. Depthwise on generation B: the quantised depthwise instruction ignores
dilation (hw/cv18xx-tiu.md section 5.6), so the kernel is spread with zeros: k' = (k - 1) * d + 1.
The same is done anywhere for a dilation beyond the field's 15.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import top, tpu
from ...ir import Value
from .context import Context, constant_data, lowers
from .weights import quantise

_DILATION_MOST = 15


@lowers(top.Conv)
def lower_conv(ctx: Context, op: top.Conv) -> Value:
    w, dilations = constant_data(op, "filter"), op.dilations
    b = constant_data(op, "bias") if op.operand("bias") is not None else None
    is_depthwise = w.shape[1] == 1 and op.group == w.shape[0] > 1
    broken = is_depthwise and ctx.chip.generation == "B" and max(dilations) > 1
    if broken or max(dilations) > _DILATION_MOST:
        w, dilations = spread(w, dilations), (1, 1)
    return convolve(
        ctx, op, ctx.get(op.x), w, b,
        strides=op.strides, pads=op.pads, dilations=dilations, group=op.group,
    )  # fmt: skip


def convolve(
    ctx: Context,
    op: Any,
    x: Value,
    w: NDArray[Any],
    b: NDArray[Any] | None,
    *,
    name: str = "",
    **attrs: Any,
) -> Value:
    """tpu.Conv with float weights w [oc, ic/g, kh, kw] and bias, result in the scale and with the
    relu of `op`."""
    assert x.type.scale is not None
    name, scale = name or op.name, ctx.scale(op.results[0])
    q = quantise(w, b, x.type.scale, scale, keep_sums=x not in ctx.centred)
    operands = [
        x,
        ctx.const(f"{name}_filter", q.weights, np.int8),
        None if q.bias is None else ctx.const(f"{name}_bias", q.bias, np.int32),
        ctx.const(f"{name}_multiplier", q.multiplier, np.int32),
        ctx.const(f"{name}_shift", q.shift, np.int8),
    ]
    relu = getattr(op, "do_relu", False)
    return ctx.add(tpu.Conv, operands, name, scale, kernel_shape=w.shape[2:], do_relu=relu, **attrs)


def spread(w: NDArray[Any], dilations: tuple[int, ...]) -> NDArray[Any]:
    """The kernel with dilation - 1 zeros between its taps."""
    oc, ic, kh, kw = w.shape
    dy, dx = dilations
    out = np.zeros((oc, ic, (kh - 1) * dy + 1, (kw - 1) * dx + 1), w.dtype)
    out[:, :, ::dy, ::dx] = w
    return out
