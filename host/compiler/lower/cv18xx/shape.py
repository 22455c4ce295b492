"""Reshape, and Permute that moves nothing: the same bytes under another 4-D shape."""

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
    x = ctx.get(op.x)
    return ctx.add(tpu.Reshape, [x], op.name, x.type.scale, shape=shape4(op.results[0].shape))
