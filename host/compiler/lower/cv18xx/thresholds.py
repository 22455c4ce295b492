"""One threshold per value: the calibration table, consistent over ops that can not change a scale.

Baseline: hw/cv18xx-quant.md section 2. Three kinds of op:

    INHERIT   Reshape, Permute, Pad: the result has its input's threshold
    KEEP      MaxPool, LeakyRelu, PRelu: input and result share one.
              LeakyRelu: the result's entry when nobody else reads the input;
              MaxPool: the smaller of both (measured: googlenet's mean cosine 0.962 -> 0.965);
              PRelu, LeakyRelu with a slope outside 0..1: the larger, since the negative side
              matters as much
    FREE_RELU Relu, Clip, Concat: an input that only this op reads is produced with the result's
              threshold; any other input is requantised by the op

Everything else (Conv, MatMul, Add, Mul, AvgPool, ...) has independent thresholds. That of an
AvgPool moves a little where that makes it cheaper (pool.py), unless it is a graph output or shared.
Graph inputs keep their own. A value behind relu with an upper limit has a threshold of at most that
limit, so that saturation is the upper limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import top
from ...errors import UserInputError
from ...ir import Graph, Op, Value
from .pool import plain_threshold

INHERIT = (top.Reshape, top.Permute, top.Pad)
KEEP = (top.MaxPool, top.LeakyRelu, top.PRelu)
FREE_RELU = (top.Relu, top.Clip, top.Concat)


def unify(graph: Graph, table: Mapping[str, Any]) -> dict[str, float]:
    """Name -> threshold for every value. UserInputError lists all entries that are missing or not
    positive."""
    th = _read(graph, table)
    limits = {op.results[0].name: relu_limit(op) for op in graph.ops}
    for name, limit in limits.items():
        th[name] = min(th[name], limit)
    for op in reversed(graph.ops):
        for x in op.inputs():
            wanted = _wanted_by(op, x, th)
            if wanted is not None and wanted <= limits[x.name] and _may_change(op, x, graph):
                th[x.name] = wanted
    for op in graph.ops:
        if isinstance(op, (*INHERIT, *KEEP)):
            own, given = th[op.name], th[op.x.name]
            th[op.name] = max(given, own) if _is_steep(op) else min(given, limits[op.name])
        elif isinstance(op, top.AvgPool) and _is_free(op.results[0], graph):
            th[op.name] = plain_threshold(op, th[op.x.name], th[op.name])
    return th


def _is_free(v: Value, graph: Graph) -> bool:
    """True if no reader of v, also behind INHERIT, depends on its threshold."""
    return v not in graph.outputs and not any(
        isinstance(op, (*KEEP, *FREE_RELU))
        or (isinstance(op, INHERIT) and not _is_free(op.results[0], graph))
        for op, _ in v.uses
    )


def relu_limit(op: Op) -> float:
    """Upper limit of the op's result: of its (fused) relu, or infinite."""
    if isinstance(op, top.Clip):
        return op.max if op.max > 0 else float("inf")  # refused when it is lowered
    if isinstance(op, top.Relu) or getattr(op, "do_relu", False):
        limit = op.relu_limit  # type: ignore[attr-defined]
        return limit if limit > 0 else float("inf")
    return float("inf")


def _wanted_by(op: Op, x: Value, th: Mapping[str, float]) -> float | None:
    """The threshold that op would like its input x to have."""
    if isinstance(op, top.MaxPool):
        return min(th[x.name], th[op.name])
    if _is_steep(op):
        return max(th[x.name], th[op.name])
    return th[op.name] if isinstance(op, (*INHERIT, *KEEP, *FREE_RELU)) else None


def _is_steep(op: Op) -> bool:
    """A leaky relu whose negative side can exceed its positive side."""
    return isinstance(op, top.PRelu) or (isinstance(op, top.LeakyRelu) and not 0 <= op.alpha <= 1)


def _may_change(op: Op, x: Value, graph: Graph) -> bool:
    """True if x is computed for one reader only (for a MaxPool others may read it: the smaller
    entry suits them too)."""
    if isinstance(x.owner, top.Input) or x in graph.outputs:
        return False
    return len(x.uses) == 1 or isinstance(op, top.MaxPool)


def _read(graph: Graph, table: Mapping[str, Any]) -> dict[str, float]:
    th: dict[str, float] = {}
    missing, bad = [], []
    for op in graph.ops:
        if isinstance(op, INHERIT):
            th[op.name] = th.get(op.x.name, 1.0)
        elif isinstance(op, top.Softmax):
            th[op.name] = 1.0
        elif op.name not in table:
            missing.append(op.name)
        elif not table[op.name].threshold > 0:
            bad.append(f"{op.name} {table[op.name].threshold}")
        else:
            th[op.name] = float(table[op.name].threshold)
    if missing:
        raise UserInputError(
            f"the calibration table has no entry for {len(missing)} of the {len(graph.ops)} "
            f"tensors of {graph.name}: {', '.join(missing)}. Was it made from another model? "
            "Run run_calibration on this one."
        )
    if bad:
        raise UserInputError(
            f"the calibration table has thresholds that are not positive: {', '.join(bad)}"
        )
    return th
