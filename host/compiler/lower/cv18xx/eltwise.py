"""Add and Mul of activations (constants: constant.py).

Add: y = a + b  ->  y_q = R(a_q * m0 + b_q * m1, s), m_i / 2^s ~ r_i = s_i / s_out
The multipliers are unsigned bytes, the shift is the one with the least error |m_i / 2^s - r_i|, and
R rounds. More than two operands: ((a + b) + c) ..., partial sums with the threshold t_a + t_b,
which can not saturate.

Mul: y = a * b  ->  y_q = Q(a_q * b_q, m, s), m / 2^(31 + s) = s_a * s_b / s_out.
"""

from __future__ import annotations

from functools import reduce

from ... import top, tpu
from ...errors import UnsupportedError
from ...ir import Value
from ...tpu.arith import multiplier_and_shift
from .constant import add_constant, multiply_constant, split_constants
from .context import Context, lowers


@lowers(top.Add)
def lower_add(ctx: Context, op: top.Add) -> Value:
    xs, constant = split_constants(op, 0.0, lambda a, b: a + b)
    if constant is not None:
        if len(xs) != 1:
            raise UnsupportedError(f"{op.name} adds {len(xs)} activations and a constant")
        return add_constant(ctx, op, xs[0], constant)
    values = [ctx.get(x) for x in xs]
    if len({v.shape for v in values}) > 1:
        raise UnsupportedError(
            f"{op.name} adds tensors of different shapes {[v.shape for v in values]}"
        )
    total = values[0]
    for i, v in enumerate(values[1:], 1):
        last = i == len(values) - 1
        assert total.type.scale is not None and v.type.scale is not None
        scale = ctx.scale(op.results[0]) if last else total.type.scale + v.type.scale
        multipliers, shift = add_multipliers(
            (total.type.scale / scale, v.type.scale / scale), op.name
        )
        name = op.name if last else f"{op.name}_sum{i}"
        total = ctx.add(
            tpu.Add,
            [total, v],
            name,
            scale,
            multipliers=multipliers,
            shift=shift,
            do_relu=op.do_relu and last,
        )
    return total


def add_multipliers(ratios: tuple[float, float], name: str) -> tuple[tuple[int, int], int]:
    """((m0, m1), shift): unsigned bytes with m_i / 2^shift nearest to the ratios (sum of squared
    errors)."""
    best = None
    for shift in range(24):
        ms = tuple(round(r * 2**shift) for r in ratios)
        if max(ms) > 255:
            break
        error = sum((m / 2**shift - r) ** 2 for m, r in zip(ms, ratios, strict=True))
        if best is None or error < best[0]:
            best = error, ms, shift
    if best is None:
        raise UnsupportedError(
            f"{name}: an operand's threshold is {max(ratios):.3g} times the result's (limit 255); "
            "check the calibration table"
        )
    return (best[1][0], best[1][1]), best[2]


@lowers(top.Mul)
def lower_mul(ctx: Context, op: top.Mul) -> Value:
    xs, constant = split_constants(op, 1.0, lambda a, b: a * b)
    if constant is not None:
        if len(xs) != 1:
            raise UnsupportedError(f"{op.name} multiplies {len(xs)} activations and a constant")
        return multiply_constant(ctx, op, xs[0], constant)
    values = sorted((ctx.get(x) for x in xs), key=lambda v: -v.type.count)
    a, b = values[0], values[-1]
    if len(values) != 2 or b.shape not in (a.shape, (*a.shape[:2], 1, 1)):
        raise UnsupportedError(
            f"{op.name} multiplies tensors of the shapes {[v.shape for v in values]}"
        )
    scale = ctx.scale(op.results[0])
    ratio = reduce(lambda s, v: s * (v.type.scale or 0.0), values, 1.0) / scale
    if ratio >= 1:
        raise UnsupportedError(
            f"{op.name}: threshold {scale * 127:.3g} is too small for the product of its operands; "
            "check the calibration table"
        )
    m, s = multiplier_and_shift(ratio)
    return ctx.add(tpu.Mul, [a, b], op.name, scale, multiplier=m, shift=s, do_relu=op.do_relu)
