"""Tuning of thresholds, against trying everything (cli.md section 13.4)."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from lower.graphs import Net
from onnx import TensorProto, helper, numpy_helper
from tpuforge.compiler.calibrate.floatmodel import FloatModel, FloatOp, Parts
from tpuforge.compiler.calibrate.samples import InputSpec
from tpuforge.compiler.calibrate.tune import STEPS, Trial, fake_quantise, tune
from tpuforge.compiler.passes.merge_pointwise import merge_missing


@pytest.fixture(scope="module")
def model() -> FloatModel:
    """x -> conv+relu a -> conv b; a + b -> c; c + x' (a again) -> d, with fixed random weights."""
    rng = np.random.default_rng(3)
    weights = [
        numpy_helper.from_array(rng.standard_normal((4, 4, 3, 3)).astype(np.float32), n)
        for n in ("w0", "w1")
    ]
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0"], ["a/linear"], pads=[1, 1, 1, 1]),
        node("Relu", ["a/linear"], ["a"]),
        node("Conv", ["a", "w1"], ["b"], pads=[1, 1, 1, 1]),
        node("Add", ["a", "b"], ["c"]),
        node("Add", ["c", "a"], ["d"]),
    ]
    shape = (1, 4, 6, 6)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xabcd"]
    graph = helper.make_graph(nodes, "net", info[:1], info[1:], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    ops = (
        FloatOp("Conv", ("x",), ("a",)), FloatOp("Conv", ("a",), ("b",)),
        FloatOp("Add", ("a", "b"), ("c",)), FloatOp("Add", ("c", "a"), ("d",)),
    )  # fmt: skip
    return FloatModel(proto, (InputSpec("x", shape),), ops, ("d",), dict.fromkeys("xabcd", shape))


def inputs(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(7)
    return [{"x": rng.standard_normal((1, 4, 6, 6)).astype(np.float32)} for _ in range(count)]


def stated_fake_quantise(x: np.ndarray, th: float) -> np.ndarray:
    return np.clip(np.rint(x.astype(np.float64) * 127 / th), -128, 127) * th / 127


@pytest.mark.parametrize("size", [1, 7, 16, 33, 40_000])
def test_fake_quantisation(size):
    x = (np.random.default_rng(size).standard_normal(size) * 3).astype(np.float32)
    out = np.empty_like(x)
    fake_quantise(x, 2.5, out)
    off = np.abs(out - stated_fake_quantise(x, 2.5))  # float32 may round a near tie the other way
    assert np.count_nonzero(off > 1e-6) <= size // 1000 and off.max() < 2.5 / 127 + 1e-6
    assert out.min() >= -128 * 2.5 / 127 - 1e-6 and out.max() <= 2.5 + 1e-6


def test_fake_quantisation_rounds_half_to_even():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 200, -200], np.float32)
    out = np.empty_like(x)
    fake_quantise(x, 127.0, out)
    assert out.tolist() == [0, 2, 2, 0, -2, 127, -128]


def convolved(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    p = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return sum(
        np.einsum("oi,nihw->nohw", w[:, :, i, j], p[:, :, i : i + 6, j : j + 6])
        for i in range(3)
        for j in range(3)
    )


def test_distance_of_a_convolution(model):
    w = numpy_helper.to_array(model.proto.graph.initializer[0]).astype(np.float64)
    samples = inputs(2)
    trial = Trial(Parts(model), model.ops[0], samples, 1)
    for s, sample in enumerate(samples):
        ref = np.maximum(convolved(sample["x"], w), 0)
        out = np.maximum(convolved(stated_fake_quantise(sample["x"], 1.7), w), 0)
        expected = np.sqrt(((ref - out) ** 2).sum()) / np.abs(ref).sum()
        assert trial.distance(1.7, s) == pytest.approx(expected, rel=1e-4)


def test_all_inputs_of_an_operator_share_the_threshold(model):
    a, b = (
        np.random.default_rng(i).standard_normal((1, 4, 6, 6)).astype(np.float32) for i in (1, 2)
    )
    trial = Trial(Parts(model), model.ops[2], [{"a": a, "b": b}], 1)
    out = stated_fake_quantise(a, 1.2) + stated_fake_quantise(b, 1.2)
    ref = a.astype(np.float64) + b
    assert trial.distance(1.2, 0) == pytest.approx(
        np.sqrt(((ref - out) ** 2).sum()) / np.abs(ref).sum(), rel=1e-4
    )


@pytest.mark.parametrize("th0", [0.3, 0.9, 1.5, 2.2])
def test_first_smallest_is_that_of_trying_everything(model, th0):
    trial = Trial(Parts(model), model.ops[0], inputs(5), 1)
    top = 3.1
    grid = [th0 + k * (top - th0) / STEPS for k in range(STEPS + 1)]
    totals = [sum(trial.distance(t, s) for s in range(5)) for t in grid]
    assert trial.best(th0, top) == pytest.approx(grid[int(np.argmin(totals))])


def test_early_stopping_saves_work(model):
    trial = Trial(Parts(model), model.ops[0], inputs(5), 1)
    calls: list[float] = []
    distance = trial.distance
    trial.distance = lambda t, s: calls.append(t) or distance(t, s)  # type: ignore[method-assign]
    trial.best(0.05, 3.1)
    assert 22 <= len(calls) < 22 * 5


def test_ranges_hardly_larger_are_left_alone(model):
    trial = Trial(Parts(model), model.ops[0], inputs(1), 1)
    assert trial.best(3.0, 3.01) == 3.0 and trial.best(3.0, 2.0) == 3.0


def test_convolutions_that_the_vendor_merges():
    """What goes into 1x1 convolutions in a row is judged behind the last of them, as if they were
    one: the same thresholds as after merging them, and one for every tensor between."""
    net = Net(1, 4, 9, 7)
    x = net.conv(net.x, 32, 3, "a", do_relu=True)
    x = net.conv(net.conv(x, 4, 1, "b"), 8, 1, "c")
    x = net.conv(net.conv(x, 24, 1, "d", do_relu=True), 3, 3, "e")
    graph, _, values = net.finish(x)
    whole = FloatModel.from_graph(graph)
    assert {op.outputs[0]: op.judged for op in whole.ops} == {
        "a": (), "b": ("d",), "c": ("d",), "d": (), "e": (),
    }  # fmt: skip
    merge_missing(graph, "xade")
    merged = FloatModel.from_graph(graph)
    assert [op.outputs[0] for op in merged.ops] == ["a", "d", "e"]
    top = {t: float(np.abs(v).max()) for t, v in values.items()}
    start = {t: most / 8 for t, most in top.items()}
    samples = [{"x": net.random(1, 4, 9, 7)} for _ in range(3)]
    ours, theirs = (tune(m, start, top, samples) for m in (whole, merged))
    assert {t: ours[t] for t in "xade"} == pytest.approx({t: theirs[t] for t in "xade"}, rel=1e-6)
    assert all(start[t] < ours[t] for t in "xabcd") and ours["e"] == start["e"]


def test_the_whole_network(model):
    start = dict.fromkeys("xabcd", 0.5)
    top = {"x": 3.0, "a": 20.0, "b": 150.0, "c": 150.0, "d": 170.0}
    said: list[tuple[int, int]] = []
    tuned = tune(
        model, start, top, inputs(3), threads=1, progress=lambda d, t, _: said.append((d, t))
    )
    assert tuned["d"] == 0.5, "outputs of the network are never tuned"
    assert all(tuned[n] > 0.5 for n in "xabc") and said[-1] == (4, 4)
    assert all(tuned[n] <= top[n] for n in "xabc")
