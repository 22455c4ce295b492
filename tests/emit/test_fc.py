"""Fully connected layers as matrix multiplications: awkward rows, columns and inner dimensions,
cuts along each of them, what reads and writes them; on the simulator and (parity) the vendor's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from net_cases import Sampler
from tpuforge.compiler import tpu
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.ir import Value
from tpuforge.compiler.schedule.layers import build_layers
from tpuforge.compiler.schedule.search.matrix_plans import matrix_plans
from tpuforge.compiler.schedule.search.search import Search
from voices import Runner, check, local_memory, simulate

Build = Callable[[Sampler], list[Value]]


def head(n: Sampler) -> list[Value]:
    """The end of a network: pooling, two matrices, one of them also an output, then float."""
    x = n.conv(n.input(2, 5, 6, 6), 40, (3, 3))
    hidden = n.matrix(n.avg_pool(x, (4, 4)), 70, relu=True)
    return [n.dequantize(n.requant(n.matrix(hidden, 21, bias=False))), hidden]


def picture(n: Sampler) -> list[Value]:
    """A picture read as rows and as a picture."""
    x = n.conv(n.input(3, 7, 5, 4), 9, (2, 2))
    return [n.matrix(x, 30), n.relu(x)]


def beside(n: Sampler) -> list[Value]:
    """Rows that are parts of a concat, and matrices that write parts of one."""
    x = n.conv(n.input(3, 7, 2, 3), 16)
    y = n.concat(x, n.conv(x, 24))
    a, b = n.matrix(x, 16), n.matrix(y, 33)
    return [n.conv(n.concat(a, b), 5), y]


def renamed(n: Sampler) -> list[Value]:
    """Rows that are channels, from a tensor that also lies in a concat: (2, 6, 20) -> (12, 20)."""
    x = n.conv(n.input(2, 3, 20, 1), 6)
    y = n.concat(x, n.relu(x))
    z = n.matrix(n.reshape(x, 12, 20, 1, 1), 35)
    return [n.reshape(z, 2, 6, 35, 1), y]


def float_rows(n: Sampler) -> list[Value]:
    return [n.dequantize(n.matrix(n.quantize(n.input(2, 3, 6, 5, dtype="f32")), 40))]


SMALL: dict[str, Build] = {
    "one": lambda n: [n.matrix(n.input(1, 1, 1, 1), 1)],
    "15 columns": lambda n: [n.matrix(n.input(2, 3, 7, 3), 15)],
    "17 of 17": lambda n: [n.matrix(n.input(4, 17, 1, 1), 17, relu=True)],
    "513 columns": lambda n: [n.matrix(n.input(5, 33, 1, 1), 513, bias=False)],
    "long": lambda n: [n.matrix(n.input(1, 4500, 1, 2), 11)],
    "wide": lambda n: [n.matrix(n.input(2, 40, 1, 1), 5000)],
    "many rows": lambda n: [n.matrix(n.input(150, 100, 1, 1), 90)],
    "4100 rows": lambda n: [n.matrix(n.input(4100, 9, 1, 1), 7)],
    "head": head, "picture": picture, "beside": beside, "renamed": renamed, "float": float_rows,
}  # fmt: skip
CUT: dict[str, Build] = {
    "k": lambda n: [n.matrix(n.input(1, 700, 1, 1), 10)],
    "all": lambda n: [n.matrix(n.input(6, 400, 1, 1), 300, relu=True)],
    "odd": lambda n: [n.matrix(n.input(5, 13, 5, 7), 149)],
    "head": head,
}  # fmt: skip
LARGE: dict[str, Build] = {
    "classifier": lambda n: [n.matrix(n.input(1, 1280, 1, 1), 1000)],
    "classifier, 4": lambda n: [n.matrix(n.input(4, 1280, 1, 1), 1000, relu=True)],
    "vgg": lambda n: [n.matrix(n.input(1, 512, 7, 7), 200)],
    "vgg, 3": lambda n: [n.matrix(n.input(3, 512, 7, 7), 65)],
    "transformer": lambda n: [n.matrix(n.input(197, 768, 1, 1), 384)],
}  # fmt: skip


def run(build: Build, name: str, chip: str, *runners: Runner) -> list:
    """Plans of the network, compiled and compared."""
    net = Sampler(chip_named(chip), name)
    return check(net.done(*build(net)), chip_named(chip), *runners).program.plans


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", SMALL)
def test_awkward_sizes(name: str, chip: str) -> None:
    run(SMALL[name], name, chip, simulate)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", CUT)
def test_cuts_in_little_memory(name: str, chip: str) -> None:
    size = 2048 if chip == "cv183x" else 4096
    with local_memory(size):
        plans = run(CUT[name], name, chip, simulate)
    fc = [p for p in plans if p.layers[0].kind == "fc"]
    assert fc and all(p.estimate.peak <= size for p in fc)
    if name == "k":
        assert len(fc[0].ic_slices) > 1


@pytest.mark.parametrize("chip", CHIPS)
def test_every_plan_of_a_layer_computes_the_same(
    chip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans with cuts of rows, columns and k, constants that stay or not: all that are offered."""
    c = chip_named(chip)
    net = Sampler(c, "plans")
    graph = net.done(net.matrix(net.input(4, 300, 1, 1), 1100 if chip == "cv183x" else 200))
    backend = Cv18xxBackend(c)
    layers = build_layers(graph, c.lanes)
    layer, search = layers.layers[0], Search(layers, backend)
    monkeypatch.setattr("tpuforge.compiler.schedule.search.matrix_plans.KEEP", 1000)
    found = matrix_plans(layer, backend, 8192.0, search.evaluate)
    plans = [p for p in found if p is not None]
    seen: set[tuple[bool, bool, bool]] = set()
    for plan in sorted(plans, key=lambda p: p.cycles):
        kind = (plan.tiles[0] > 1, len(plan.channels) > 1, len(plan.ic_slices) > 1)
        if kind in seen:
            continue
        seen.add(kind)

        def only(l, b, limit, evaluate, plan=plan):  # noqa: E741
            plan.layers = [l]
            plan.weights = {l: next(iter(plan.weights.values()))}
            yield plan

        monkeypatch.setattr("tpuforge.compiler.schedule.search.search.matrix_plans", only)
        check(graph, c, simulate)
    assert len(seen) >= 6, seen


def test_weights_are_read_once() -> None:
    """DDR traffic of a classifier: the right matrix and the bias once, x and the result."""
    for chip in CHIPS.values():
        net = Sampler(chip, "traffic")
        graph = net.done(net.matrix(net.input(1, 1280, 1, 1), 1000))
        program = check(graph, chip).program
        loads = [s for step in program.steps for s in step.loads if s.weights is not None]
        cells = [(p.oc, p.ic) for p in (s.weights for s in loads)]
        area = sum((o[1] - o[0]) * (i[1] - i[0]) for o, i in cells)
        assert len(set(cells)) == len(cells) and area == 1280 * 1000


def test_op_checks_its_operands() -> None:
    net = Sampler(chip_named("cv181x"), "bad")
    x, right = net.input(2, 3, 4, 5), net.graph.const("r", np.zeros((59, 4), np.int8))
    with pytest.raises(Exception, match=r"rows of 60 elements, right \(59, 4\)"):
        net.graph.add(tpu.MatMul, [x, right, None], "y", multiplier=1 << 30, shift=0)


@pytest.mark.parity
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_on_the_vendor(oracle: ModuleType, name: str, chip: str) -> None:
    run({**SMALL, **LARGE}[name], name, chip, simulate, oracle.vendor_run)


@pytest.mark.parity
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", CUT)
def test_cuts_on_the_vendor(oracle: ModuleType, name: str, chip: str) -> None:
    with local_memory(4096):
        run(CUT[name], name, chip, simulate, oracle.vendor_run)
