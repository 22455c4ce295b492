"""Run a Tpu graph by its ops' references: what a compiled file must compute, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UserInputError
from ..ir import DTYPES, Graph, TensorType, Value
from .base import TpuOp


def run(
    graph: Graph, inputs: Mapping[str, Any], keep: Literal["all", "outputs"] = "outputs"
) -> dict[str, NDArray[Any]]:
    """Name -> array for every value (keep "all") or for the graph outputs.

    inputs: one array per graph input under its name, float32 or int8 as declared, of the declared
    number of elements (reshaped). A missing, unknown or ill-shaped array raises UserInputError.
    """
    known = {v.name: v for v in graph.inputs}
    if set(inputs) != set(known):
        raise UserInputError(
            f"inputs given: {', '.join(inputs) or 'none'}; "
            f"the model {graph.name} takes: {', '.join(known)}"
        )
    last_use = {id(v): op for op in graph.ops for v in op.operands if v is not None}
    kept = {id(v) for v in graph.outputs} if keep == "outputs" else {id(v) for v in graph.values()}
    values: dict[int, NDArray[Any]] = {id(v): _input(v, inputs[name]) for name, v in known.items()}
    for op in graph.ops:
        result = op.results[0]
        if id(result) not in values:
            assert isinstance(op, TpuOp)
            args = [
                None if v is None else v.data if v.is_const else values[id(v)] for v in op.operands
            ]
            values[id(result)] = op.reference(*args)
        for v in op.inputs():
            if last_use[id(v)] is op and id(v) not in kept:
                values.pop(id(v), None)
    wanted = graph.outputs if keep == "outputs" else graph.values()
    return {v.name: values[id(v)] for v in wanted}


def dequantised(graph: Graph, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The arrays of `run` as real numbers: q * scale where the value is quantised, unchanged where
    it is float."""
    types = {v.name: v.type for v in graph.values()}
    return {name: _real(x, types[name]) for name, x in values.items()}


def _real(x: NDArray[Any], type: TensorType) -> NDArray[np.float32]:
    return (
        x.astype(np.float32)
        if type.scale is None
        else x.astype(np.float32) * np.float32(type.scale)
    )


def _input(v: Value, x: Any) -> NDArray[Any]:
    a = np.asarray(x)
    if a.size != v.type.count:
        raise UserInputError(f"input {v.name!r}: shape {a.shape} given, the model takes {v.shape}")
    if v.type.dtype == "i8" and a.dtype != np.int8:
        raise UserInputError(f"input {v.name!r}: {a.dtype} given, the model takes int8")
    return np.ascontiguousarray(a, DTYPES[v.type.dtype]).reshape(v.shape)
