"""Softmax: the emitted commands give the bytes of the reference on every chip, and the reference is
softmax to eight significant bits."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from nets import Net
from tpuforge.compiler import tpu
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.errors import DoesNotFitError
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.tpu import interpreter
from voices import compiled, difference, local_memory, simulate

# (shape, scale of the input, layer in front, bytes of local memory or None)
CASES = [
    ((1, 1, 1, 1), 0.02, False, None),
    ((1, 10, 1, 1), 0.05, True, None),
    ((3, 1000, 1, 1), 0.1, False, None),
    ((1, 1900, 1, 1), 0.07, False, None),
    ((2, 5, 3, 7), 0.5, True, None),
    ((1, 21, 20, 33), 1.3, False, None),
    ((2, 2, 1, 300), 0.3, True, None),
    ((4, 19, 9, 11), 2.5, True, 6000),
    ((5, 40, 1, 1), 0.2, True, 4096),
]


def graph_of(chip: str, shape: tuple[int, ...], scale: float, front: bool) -> Graph:
    net = Net(chip_named(chip), f"softmax {shape}")
    x = net.input(*shape)
    table = net.graph.const("table", tpu.softmax_table(scale), "bf16")
    y = net.requant(x) if front else x
    outputs = [net.graph.add(tpu.Softmax, [y, table], "y", axis=1)]
    if front:
        n, c, h, w = shape
        outputs.append(net.graph.add(tpu.Reshape, outputs[:], "flat", shape=(n, c * h * w, 1, 1)))
    return net.done(*outputs, *([y] if front else []))


def problems(chip: str, case: tuple, *runners) -> str:
    shape, scale, front, memory = case
    graph = graph_of(chip, shape, scale, front)
    with local_memory(memory):
        _, model = compiled(graph, chip_named(chip))
    x = {"in1": np.random.default_rng(4).integers(-128, 128, shape, np.int8)}
    want = interpreter.run(graph, x)
    return "; ".join(filter(None, (difference(want, run(model, x)) for run in runners)))


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c[0]))
@pytest.mark.parametrize("chip", CHIPS)
def test_bytes(chip: str, case: tuple) -> None:
    assert not problems(chip, case, simulate)


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c[0]))
@pytest.mark.parametrize("chip", CHIPS)
def test_bytes_of_the_vendor(oracle: ModuleType, chip: str, case: tuple) -> None:
    assert not problems(chip, case, oracle.vendor_run)


@pytest.mark.parametrize("value", [-128, 127])
def test_equal_inputs(value: int) -> None:
    """All elements at either end of the range: 1 / c in bf16, also where exp is tiny or huge."""
    graph = graph_of("cv181x", (1, 8, 1, 1), 0.6, False)
    _, model = compiled(graph, chip_named("cv181x"))
    y = simulate(model, {"in1": np.full((1, 8, 1, 1), value, np.int8)})["y"]
    np.testing.assert_allclose(y, 0.125, rtol=2.0**-7)


def test_reference_is_softmax() -> None:
    graph = graph_of("cv181x", (2, 30, 3, 3), 0.08, False)
    q = np.random.default_rng(5).integers(-128, 128, (2, 30, 3, 3), np.int8)
    e = np.exp(q * 0.08)
    want = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(interpreter.run(graph, {"in1": q})["y"], want, rtol=3 * 2.0**-8)


def test_too_many_classes() -> None:
    with pytest.raises(DoesNotFitError, match="softmax"):
        compiled(graph_of("cv180x", (1, 4000, 1, 1), 0.1, False), chip_named("cv180x"))
