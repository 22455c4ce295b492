"""Concat along channels: bytes are moved. Operands that only the Concat reads are produced in its
scale (thresholds.py); the others are requantised with an exact 31-bit multiplier."""

from __future__ import annotations

from ... import top, tpu
from ...errors import UnsupportedError
from ...ir import Value
from .context import Context, lowers


@lowers(top.Concat)
def lower_concat(ctx: Context, op: top.Concat) -> Value:
    if op.axis != 1:
        raise UnsupportedError(
            f"{op.name} is a Concat along axis {op.axis}; only axis 1 (channels) works"
        )
    if any(v.is_const for v in op.operands if v is not None):
        raise UnsupportedError(f"{op.name} is a Concat with a constant")
    scale = ctx.scale(op.results[0])
    xs: list[Value | None] = [ctx.get(v, scale) for v in op.inputs()]
    name = f"{op.name}_concat" if op.do_relu else op.name
    y = ctx.add(tpu.Concat, xs, name, scale, axis=1)
    return ctx.add(tpu.Relu, [y], op.name, scale) if op.do_relu else y
