"""Activations that were not fused.

Relu, Clip(0, k): y = min(max(x, 0), k): the result threshold is at most k (thresholds.py), so
saturation is the upper limit. Equal scales: tpu.Relu; other scales: Requant with relu.

LeakyRelu, 0 <= alpha <= 1   y = max(x, alpha * x)  ->  max(x_q, Q(x_q * 127, m, s)),
                             m / 2^(31+s) = alpha / 127
PRelu, other LeakyRelu       x_q > 0: x_q, else Q(x_q * slope_q[c], m[c], s[c]),
                             slope_q = +-127, m / 2^(31+s) = |slope| / 127
Both keep the scale.

Softmax, as the last layer (Reshapes may follow): tpu.Softmax, a bf16 recipe with float32 result;
its table entry is not used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import top, tpu
from ...errors import UnsupportedError
from ...ir import Value
from ...tpu.arith import multiplier_and_shift
from .context import Context, constant_data, lowers
from .shape import only_renamed
from .weights import multipliers_and_shifts


@lowers(top.Relu)
def lower_relu(ctx: Context, op: top.Relu) -> Value:
    return _relu(ctx, op, op.x)


@lowers(top.Clip)
def lower_clip(ctx: Context, op: top.Clip) -> Value:
    if op.min != 0 or op.max <= 0:
        raise UnsupportedError(
            f"{op.name} is a Clip from {op.min:g} to {op.max:g}; in INT8 the lower limit must be 0 "
            "and the upper one positive"
        )
    return _relu(ctx, op, op.x)


def _relu(ctx: Context, op: Any, top_x: Value) -> Value:
    x, scale = ctx.get(top_x), ctx.scale(op.results[0])
    if x.type.scale == scale:
        return ctx.add(tpu.Relu, [x], op.name, scale)
    return ctx.requant(x, scale, op.name, relu=True)


@lowers(top.LeakyRelu)
def lower_leaky_relu(ctx: Context, op: top.LeakyRelu) -> Value:
    scale = ctx.scale(op.results[0])
    x = ctx.get(op.x, scale)
    if not 0 <= op.alpha <= 1:
        return _prelu(ctx, op, x, np.full(x.shape[1], op.alpha))
    m, s = multiplier_and_shift(op.alpha / 127) if op.alpha else (0, 0)
    return ctx.add(tpu.LeakyRelu, [x], op.name, scale, factor=127, multiplier=m, shift=s)


@lowers(top.PRelu)
def lower_prelu(ctx: Context, op: top.PRelu) -> Value:
    slope = constant_data(op, "slope").reshape(-1).astype(np.float64)
    x = ctx.get(op.x, ctx.scale(op.results[0]))
    return _prelu(ctx, op, x, np.broadcast_to(slope, (x.shape[1],)))


def _prelu(ctx: Context, op: Any, x: Value, slope: NDArray[Any]) -> Value:
    if np.abs(slope).max(initial=0) >= 127:
        raise UnsupportedError(f"{op.name} has a slope of {np.abs(slope).max():g} (limit 127)")
    used = np.abs(slope) / 127 >= 2.0**-32
    m, s = multipliers_and_shifts(np.where(used, np.abs(slope) / 127, 0.5))
    operands = [
        x,
        ctx.const(f"{op.name}_slope", np.where(used, np.copysign(127, slope), 0), np.int8),
        ctx.const(f"{op.name}_multiplier", m, np.int32),
        ctx.const(f"{op.name}_shift", s, np.int8),
    ]
    return ctx.add(tpu.PRelu, operands, op.name, x.type.scale)


@lowers(top.Softmax)
def lower_softmax(ctx: Context, op: top.Softmax) -> Value:
    rank = len(op.x.shape)
    x = ctx.get(op.x)
    if op.axis % rank != 1 or rank > 4 or not only_renamed(op.results[0]):
        raise UnsupportedError(
            f"{op.name} is a Softmax along axis {op.axis} of {list(op.x.shape)}; "
            "only one over axis 1 of at most 4 dimensions, as the last layer, works"
        )
    assert x.type.scale is not None
    name = f"{op.name}_f32"
    table = ctx.graph.const(f"{op.name}_table", tpu.softmax_table(x.type.scale), "bf16")
    return ctx.graph.add(tpu.Softmax, [x, table], name, axis=1)
