"""One threshold per value: the calibration table, made consistent over ops that can not change a scale.

Baseline: hw/cv18xx-quant.md section 2. Three kinds of op:

    INHERIT   Reshape, Permute, Pad: the result has its input's threshold
    KEEP      MaxPool, LeakyRelu, PRelu: input and result share one: the result's entry when nobody else reads the input
    FREE_RELU Relu, Clip, Concat: an input that only this op reads is produced with the result's threshold;
              any other input is requantised by the op

Everything else (Conv, MatMul, Add, Mul, AvgPool, ...) has independent thresholds. Graph inputs keep their own. A value
behind relu with an upper limit has a threshold of at most that limit, so that saturation is the upper limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import top
from ...errors import UserInputError
from ...ir import Graph, Op, Value

INHERIT = (top.Reshape, top.Permute, top.Pad)
KEEP = (top.MaxPool, top.LeakyRelu, top.PRelu)
FREE_RELU = (top.Relu, top.Clip, top.Concat)


def unify(graph: Graph, table: Mapping[str, Any]) -> dict[str, float]:
    """Name -> threshold for every value. UserInputError lists all entries that are missing or not positive."""
    th = _read(graph, table)
    limits = {op.results[0].name: relu_limit(op) for op in graph.ops}
    for name, limit in limits.items():
        th[name] = min(th[name], limit)
    for op in reversed(graph.ops):
        if isinstance(op, (*INHERIT, *KEEP, *FREE_RELU)):
            for x in op.inputs():
                if _may_change(x, graph) and th[op.name] <= limits[x.name]:
                    th[x.name] = th[op.name]
    for op in graph.ops:
        if isinstance(op, (*INHERIT, *KEEP)):
            th[op.name] = min(th[op.operands[0].name], limits[op.name])  # type: ignore[union-attr]
    return th


def relu_limit(op: Op) -> float:
    """Upper limit of the op's result: of its (fused) relu, or infinite."""
    if isinstance(op, top.Clip):
        return op.max
    if isinstance(op, top.Relu) or getattr(op, "do_relu", False):
        limit = op.relu_limit  # type: ignore[attr-defined]
        return limit if limit > 0 else float("inf")
    return float("inf")


def _may_change(x: Value, graph: Graph) -> bool:
    """True if x is computed for one reader only."""
    return len(x.uses) == 1 and x not in graph.outputs and not isinstance(x.owner, top.Input)


def _read(graph: Graph, table: Mapping[str, Any]) -> dict[str, float]:
    th: dict[str, float] = {}
    missing, bad = [], []
    for op in graph.ops:
        if isinstance(op, INHERIT):
            th[op.name] = th.get(op.operands[0].name, 1.0)  # type: ignore[union-attr]
        elif op.name not in table:
            missing.append(op.name)
        elif not table[op.name].threshold > 0:
            bad.append(f"{op.name} {table[op.name].threshold}")
        else:
            th[op.name] = float(table[op.name].threshold)
    if missing:
        raise UserInputError(
            f"the calibration table has no entry for {len(missing)} of the {len(graph.ops)} tensors of {graph.name}: "
            f"{', '.join(missing)}. Was it made from another model? Run run_calibration on this one."
        )
    if bad:
        raise UserInputError(
            f"the calibration table has thresholds that are not positive: {', '.join(bad)}"
        )
    return th
