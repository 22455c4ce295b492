"""Helpers of the lowering tests: Top graphs with random weights, their table, and the float
comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from tpuforge.compiler import top
from tpuforge.compiler.calibrate.table import CalibrationTable, Entry
from tpuforge.compiler.chip import chip_named
from tpuforge.compiler.ir import Graph, TensorType, Value
from tpuforge.compiler.lower import lower
from tpuforge.compiler.top import reference
from tpuforge.compiler.tpu import interpreter


class Net:
    """A Top graph under construction; every method appends one op and returns its value."""

    def __init__(self, *shape: int, seed: int = 3):
        self.graph, self.rng = Graph("net"), np.random.default_rng(seed)
        self.x = self.graph.add(top.Input, [], "x", types=[TensorType(shape)])

    def random(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def conv(
        self,
        x: Value,
        oc: int,
        k: int,
        name: str,
        *,
        group: int = 1,
        bias: bool = True,
        **attrs: Any,
    ) -> Value:
        w = self.random(oc, x.shape[1] // group, k, k) / np.sqrt(k * k * x.shape[1] / group)
        b = self.graph.const(f"{name}.bias", self.random(oc)) if bias else None
        weight = self.graph.const(f"{name}.weight", w.astype(np.float32))
        return self.graph.add(top.Conv, [x, weight, b], name,
                              kernel_shape=(k, k), group=group, **attrs)  # fmt: skip

    def add(self, op: Any, operands: list[Value], name: str, **attrs: Any) -> Value:
        return self.graph.add(op, operands, name, **attrs)

    def const(self, name: str, data: Any) -> Value:
        return self.graph.const(name, np.asarray(data, np.float32))

    def finish(self, *outputs: Value) -> tuple[Graph, CalibrationTable, dict[str, np.ndarray]]:
        """(graph, table with the largest absolute values on one random input, float values of that
        input)."""
        self.graph.outputs = list(outputs)
        self.graph.verify()
        values = reference.run(self.graph, {"x": self.random(*self.x.shape)}, "all")
        table = CalibrationTable()
        for name, v in values.items():
            most = float(np.abs(v).max()) or 1.0
            table.entries[name] = Entry(most, float(v.min()), float(v.max()))
        return self.graph, table, values


def check(
    net: Net, *outputs: Value, chip: str = "cv181x", worst: float = 2.0, **options: Any
) -> Graph:
    """Lower, run, and compare each output with float: at most `worst` int8 steps. Returns the
    Tpu graph."""
    graph, table, values = net.finish(*outputs)
    lowered = lower(graph, table, chip_named(chip), **options)
    results = interpreter.run(lowered, {"x": values["x"]})
    for v, (name, got) in zip(outputs, results.items(), strict=True):
        assert name == f"{v.name}_f32"
        step = table[v.name].threshold / 127
        error = np.abs(got.ravel() - values[v.name].ravel()).max() / step
        assert error <= worst, f"{v.name}: {error:.2f} steps"
    return lowered


def ops(graph: Graph, name: str) -> list[Any]:
    """All ops of one class."""
    return [op for op in graph.ops if type(op).__name__ == name]
