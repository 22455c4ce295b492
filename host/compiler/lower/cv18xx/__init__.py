"""Lowering for CV18xx, INT8 symmetric (hw/cv18xx-quant.md is the baseline, not the rule)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import top
from ...chip import Chip
from ...errors import UnsupportedError
from ...ir import Graph, Value
from . import activation, concat, constant, conv, eltwise, matmul, pool, shape
from .boundary import lower_inputs, lower_outputs
from .context import LOWERINGS, Context
from .pointwise import merge_pairs
from .thresholds import unify

__all__ = [
    "activation",
    "concat",
    "constant",
    "conv",
    "eltwise",
    "lower",
    "matmul",
    "merge_pairs",
    "pool",
    "shape",
    "unify",
]


def lower(
    graph: Graph,
    table: Mapping[str, Any],
    chip: Chip,
    quant_input: bool,
    quant_output: bool,
    quantize_table: Mapping[str, str],
) -> Graph:
    """See tpuforge.compiler.lower.lower."""
    _only_int8(quantize_table)
    ctx = Context(graph, chip, unify(graph, table))
    lower_inputs(ctx, quant_input)
    problems = _lower_ops(ctx, [op for op in graph.ops if not isinstance(op, top.Input)])
    if problems:
        count = f"{len(problems)} layers" if len(problems) > 1 else "a layer"
        raise UnsupportedError(
            f"{graph.name}: {count} can not be compiled for {chip.name} in INT8: "
            + "; ".join(problems)
        )
    lower_outputs(ctx, quant_output)
    remove_unused(ctx.graph)
    ctx.graph.verify()
    return ctx.graph


def refusals(graph: Graph, chip: Chip) -> list[str]:
    """Why layers could not be lowered whatever their thresholds are, one sentence each.
    Convolutions and matrices with constant weights, whose lowering takes time, always can."""
    ctx = Context(graph, chip, {v.name: 1.0 for v in graph.values()})
    simple = (top.Input, top.Conv, top.MatMul)
    done = [op for op in graph.ops if isinstance(op, simple) and _constant_weights(op)]
    ctx.values |= {op.results[0]: ctx.placeholder(op.results[0]) for op in done}
    return _lower_ops(ctx, [op for op in graph.ops if op.results[0] not in ctx.values])


def _constant_weights(op: Any) -> bool:
    return all(v.data is not None for v in op.operands[1:] if v is not None)


def _lower_ops(ctx: Context, ops: list[Any]) -> list[str]:
    """Lower these ops, in order; the reasons of those for which it can not be done."""
    problems = []
    for op in ops:
        try:
            result = _lower_op(ctx, op)
        except UnsupportedError as e:
            problems.append(str(e))
            result = ctx.placeholder(op.results[0])
        ctx.values[op.results[0]] = result
    return problems


def _lower_op(ctx: Context, op: Any) -> Value:
    function = LOWERINGS.get(type(op))
    if function is None:
        known = ", ".join(sorted(cls.__name__ for cls in LOWERINGS))
        raise UnsupportedError(f"{op.name} is a {type(op).__name__} (supported: {known})")
    return function(ctx, op)


def _only_int8(quantize_table: Mapping[str, str]) -> None:
    other = [f"{name} {mode}" for name, mode in quantize_table.items() if mode.upper() != "INT8"]
    if other:
        raise UnsupportedError(
            "the quantize table asks for types that this version can not compile (only INT8): "
            + ", ".join(other)
        )


def remove_unused(graph: Graph) -> None:
    """Erase ops (not graph inputs) whose results nobody reads."""
    for op in reversed(list(graph.ops)):
        if type(op).__name__ != "Input" and not any(
            r.uses or r in graph.outputs for r in op.results
        ):
            graph.erase(op)
