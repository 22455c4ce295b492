"""Arithmetic with constants.

MulConst                     y = x * k         -> Requant with the gain k
AddConst                     y = x + k         -> depthwise 1x1 Conv, weight 1, bias k
Scale, BatchNorm             y = x * s + b     -> depthwise 1x1 Conv, weight s, bias b
Add, Mul with a constant     one number or one per channel: as above
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import top
from ...errors import UnsupportedError
from ...ir import Value
from .context import Context, constant_data, lowers
from .conv import convolve


@lowers(top.MulConst)
def lower_mul_const(ctx: Context, op: top.MulConst) -> Value:
    return multiply_constant(ctx, op, op.x, np.float64(op.const_val))


@lowers(top.AddConst)
def lower_add_const(ctx: Context, op: top.AddConst) -> Value:
    return add_constant(ctx, op, op.x, np.float64(op.const_val))


@lowers(top.Scale)
def lower_scale(ctx: Context, op: top.Scale) -> Value:
    scale, bias = (constant_data(op, name).reshape(-1) for name in ("scale", "bias"))
    return affine(ctx, op, op.x, scale, bias)


@lowers(top.BatchNorm)
def lower_batch_norm(ctx: Context, op: top.BatchNorm) -> Value:
    mean, variance, gamma, beta = (
        constant_data(op, name).reshape(-1).astype(np.float64)
        for name in ("mean", "variance", "gamma", "beta")
    )
    scale = gamma / np.sqrt(variance + op.epsilon)
    return affine(ctx, op, op.x, scale, beta - mean * scale)


def multiply_constant(ctx: Context, op: Any, x: Value, k: Any) -> Value:
    """x * k, k one number or [c]."""
    if np.size(k) == 1:
        scale = ctx.scale(op.results[0])
        return ctx.requant(ctx.get(x), scale, op.name, gain=float(np.ravel(k)[0]), relu=op.do_relu)
    return affine(ctx, op, x, k, np.zeros(np.size(k)))


def add_constant(ctx: Context, op: Any, x: Value, k: Any) -> Value:
    """x + k, k one number or [c]."""
    c = ctx.get(x).shape[1]
    return affine(ctx, op, x, np.ones(c), np.broadcast_to(np.ravel(k), (c,)))


def affine(ctx: Context, op: Any, x: Value, scale: NDArray[Any], bias: NDArray[Any]) -> Value:
    """Depthwise 1x1 convolution with per-channel weight and bias."""
    c = ctx.get(x).shape[1]
    return convolve(
        ctx, op, ctx.get(x), np.reshape(scale, (c, 1, 1, 1)), np.reshape(bias, (c,)), group=c
    )


def split_constants(
    op: Any, neutral: float, combine: Callable[[Any, Any], Any]
) -> tuple[list[Value], NDArray[Any] | None]:
    """(activations, combined constant as one number or [c], None if there is none) of an Add or
    Mul."""
    xs = [v for v in op.operands if not v.is_const]
    constants = [v for v in op.operands if v.is_const]
    if not constants:
        return xs, None
    total = np.float64(neutral)
    for v in constants:
        total = combine(total, v.data.astype(np.float64))
    shape = op.results[0].shape
    if np.size(total) == 1:
        return xs, np.reshape(total, (1,))
    spread = np.shape(total)
    spread = (1,) * (len(shape) - len(spread)) + spread
    if len(shape) < 2 or spread[1] != shape[1] or np.size(total) != shape[1]:
        raise UnsupportedError(
            f"{op.name} has a constant operand of shape {list(spread)}; "
            "only one number, or one per channel, works"
        )
    return xs, np.reshape(total, (-1,))
