"""Pooling.

MaxPool keeps the scale; ceil_mode becomes padding (fill -128 never wins against data).

AvgPool: y = sum(x) / count -> y_q = Q(f * sum(x_q), m, s), m / 2^(31+s) = s_in / s_out / count / f
One (m, s) per count. f = 127 keeps fraction bits between the two roundings of Q; it is smaller
where 128 * f * count would not fit 31 bits.
"""

from __future__ import annotations

import numpy as np

from ... import top, tpu
from ...errors import UnsupportedError
from ...ir import Value
from ...tpu.arith import multiplier_and_shift
from ...tpu.kernels import window_counts
from .context import Context, lowers


@lowers(top.MaxPool)
def lower_max_pool(ctx: Context, op: top.MaxPool) -> Value:
    scale = ctx.scale(op.results[0])
    return ctx.add(
        tpu.MaxPool, [ctx.get(op.x, scale)], op.name, scale, kernel_shape=op.kernel_shape,
        strides=op.strides,
        pads=effective_pads(op), do_relu=op.do_relu,
    )  # fmt: skip


@lowers(top.AvgPool)
def lower_avg_pool(ctx: Context, op: top.AvgPool) -> Value:
    x, scale, pads = ctx.get(op.x), ctx.scale(op.results[0]), effective_pads(op)
    assert x.type.scale is not None
    counted = op.pads if op.count_include_pad else (0, 0, 0, 0)
    counts = np.unique(
        window_counts(x.shape[2:], op.kernel_shape, op.strides, pads, counted)
    ).tolist()
    factor = min(127, (2**31 - 1) // (128 * op.kernel_shape[0] * op.kernel_shape[1]))
    ratios = [x.type.scale / scale / count / factor for count in counts]
    if factor < 1 or max(ratios) >= 1:
        raise UnsupportedError(
            f"{op.name}: window {op.kernel_shape} with scales {x.type.scale:.3g} -> {scale:.3g} "
            "can not be averaged in INT8"
        )
    pairs = [multiplier_and_shift(r) for r in ratios]
    return ctx.add(
        tpu.AvgPool, [x], op.name, scale, kernel_shape=op.kernel_shape, strides=op.strides,
        pads=pads, counted_pads=counted,
        factor=factor, counts=counts, multipliers=[m for m, _ in pairs], shifts=[s for _, s in
        pairs], do_relu=op.do_relu,
    )  # fmt: skip


def effective_pads(op: top.Pool) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) so that rounding down gives the declared result: ceil_mode
    enlarges bottom and right."""
    shape = op.results[0].shape if op.keepdims else (*op.results[0].shape, 1, 1)
    pads = list(op.pads)
    for i in (0, 1):
        needed = (
            (shape[2 + i] - 1) * op.strides[i] + op.kernel_shape[i] - op.x.shape[2 + i] - pads[i]
        )
        pads[2 + i] = max(pads[2 + i], needed)
    return pads[0], pads[1], pads[2], pads[3]
