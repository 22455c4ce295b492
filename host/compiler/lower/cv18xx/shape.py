"""Reshape, and Permute that moves nothing: the same bytes under another 4-D shape. Behind a Softmax
they are float32."""

from __future__ import annotations

from typing import Any

from ... import top, tpu
from ...errors import UnsupportedError
from ...ir import Value
from .context import Context, lowers, shape4


@lowers(top.Reshape)
def lower_reshape(ctx: Context, op: top.Reshape) -> Value:
    return _rename(ctx, op)


@lowers(top.Permute)
def lower_permute(ctx: Context, op: top.Permute) -> Value:
    if not op.only_renames():
        raise UnsupportedError(
            f"{op.name} is a Permute {list(op.order)} of {list(op.x.shape)} that moves data"
        )
    return _rename(ctx, op)


def _rename(ctx: Context, op: Any) -> Value:
    x, shape = ctx.get(op.x), shape4(op.results[0].shape)
    if x.type.dtype == "f32":
        return ctx.graph.add(tpu.Reshape, [x], f"{op.name}_f32", shape=shape)
    return ctx.add(tpu.Reshape, [x], op.name, x.type.scale, shape=shape)


def only_renamed(v: Value) -> bool:
    """Do nothing but Reshapes, and Permutes that move nothing, depend on v?"""
    return all(
        (isinstance(op, top.Reshape) or (isinstance(op, top.Permute) and op.only_renames()))
        and only_renamed(op.results[0])
        for op, _ in v.uses
    )
