"""Each lowering on a small graph, against float within a few int8 steps, and its structure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lower.graphs import Net, check, ops
from tpuforge.compiler import top
from tpuforge.compiler.calibrate.table import CalibrationTable, Entry
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.errors import UnsupportedError, UserInputError
from tpuforge.compiler.lower import lower
from tpuforge.compiler.tpu import interpreter


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(
    "attrs",
    [
        {"pads": (1, 0, 2, 1)},
        {"strides": (2, 1), "do_relu": True},
        {"group": 2, "bias": False},
        {"group": 6, "dilations": (2, 1)},
    ],
)
def test_conv(chip: str, attrs: dict[str, Any]) -> None:
    net = Net(2, 6, 11, 9)
    y = net.conv(net.x, 12 if attrs.get("group") != 6 else 6, 3, "c", **attrs)
    g = check(net, y, chip=chip, worst=3)
    (conv,) = ops(g, "Conv")
    expanded = chip != "cv183x" and conv.group == 6
    assert conv.kernel_shape == ((5, 3) if expanded else (3, 3))
    assert (conv.dilations == (1, 1)) == (expanded or conv.group != 6)
    assert (conv.operands[2] is None) == (attrs.get("bias") is False)
    assert conv.do_relu == attrs.get("do_relu", False)


def test_conv_channels_without_weights_and_with_extreme_scales() -> None:
    net = Net(1, 3, 5, 5)
    y = net.conv(net.x, 6, 1, "c")
    w, b = (v.data for v in y.owner.operands[1:])
    w[0], w[1], b[1] = 0, 0, 0
    w[2], b[2] = w[2] * 1e-12, 0.7
    w[3], b[3] = w[3] * 1e-9, 0
    b[4] = 4000
    check(net, y)


def test_conv_scale_of_one_and_more_saturates_the_weights() -> None:
    net = Net(1, 1, 2, 2)
    y = net.conv(net.x, 1, 1, "c", bias=False)
    graph, table, values = net.finish(y)
    y.owner.operands[1].data[:] = 1.0
    table.entries["x"], table.entries["c"] = Entry(127.0, -1, 1), Entry(0.5, -1, 1)
    g = lower(graph, table, chip_named("cv183x"))
    (conv,) = ops(g, "Conv")
    assert conv.operands[1].data.max() == 127 and conv.operands[4].data.min() >= 0
    got = interpreter.run(g, {"x": np.sign(values["x"])})["c_f32"]
    assert np.abs(got).max() <= 0.51 and (np.sign(got) == np.sign(values["x"])).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul_behind_flatten_is_a_conv_with_the_picture_as_kernel(transposed: bool) -> None:
    net = Net(2, 4, 3, 5)
    c = net.conv(net.x, 8, 1, "c", do_relu=True)
    flat = net.add(top.Reshape, [c], "flat", shape=(2, 120))
    r = net.random(120, 7)
    right = net.const("r", r.T.copy() if transposed else r)
    y = net.add(
        top.MatMul, [flat, right, net.const("b", net.random(7))], "fc", right_transpose=transposed
    )
    g = check(net, y, worst=4)
    conv = ops(g, "Conv")[-1]
    assert conv.kernel_shape == (3, 5) and conv.name == "fc" and not ops(g, "Reshape")
    assert conv.results[0].shape == (2, 7, 1, 1)


def test_matmul_on_rows_and_long_rows() -> None:
    net = Net(2, 3, 10)
    y = net.add(top.MatMul, [net.x, net.const("r", net.random(10, 4))], "fc", do_relu=True)
    g = check(net, y)
    assert y.shape == (2, 3, 4) and g.outputs[0].shape == (2, 3, 4, 1)
    net = Net(3, 5000)
    g = check(net, net.add(top.MatMul, [net.x, net.const("r", net.random(5000, 2))], "fc"))
    assert ops(g, "Conv")[0].operands[0].shape == (3, 2500, 2, 1)


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul_that_pays_as_matrix(transposed: bool) -> None:
    """Where the sums of a convolution take longer than its weights: one scale for all columns, the
    picture read as rows without a Reshape."""
    net = Net(2, 4, 9, 8)
    c = net.conv(net.x, 8, 1, "c", do_relu=True)
    flat = net.add(top.Reshape, [c], "flat", shape=(2, 576))
    r = net.random(576, 80)
    r[:, 7] *= 0.1
    right = net.const("r", r.T.copy() if transposed else r)
    y = net.add(
        top.MatMul, [flat, right, net.const("b", net.random(80))], "fc", right_transpose=transposed
    )
    g = check(net, y, chip="cv180x", worst=4)
    (fc,) = ops(g, "MatMul")
    assert fc.name == "fc" and not ops(g, "Reshape") and fc.results[0].shape == (2, 80, 1, 1)
    assert fc.operands[0].shape == (2, 8, 9, 8) and fc.operands[1].shape == (576, 80)
    most = np.abs(fc.operands[1].data).max(axis=0)
    assert most.max() == 127 and most[7] < 20
    assert ops(check(net, y, chip="cv183x", worst=4), "Conv")[-1].name == "fc"


def test_matmul_on_many_rows_is_a_matrix() -> None:
    net = Net(30, 20, 64)
    b = net.const("b", net.random(50))
    y = net.add(top.MatMul, [net.x, net.const("r", net.random(64, 50)), b], "fc", do_relu=True)
    g = check(net, y, worst=3)
    (fc,) = ops(g, "MatMul")
    assert fc.do_relu and fc.operands[0].shape == (600, 64, 1, 1)
    assert g.outputs[0].shape == (30, 20, 50, 1)


def test_matmul_with_extreme_scales() -> None:
    for scale, bias in ((1e-12, 0.7), (0.0, 0.0), (1e-9, 4000.0), (1.0, 1e9)):
        net = Net(600, 40)
        right = net.const("r", net.random(40, 33) * scale)
        check(net, net.add(top.MatMul, [net.x, right, net.const("b", np.full(33, bias))], "fc"),
              chip="cv180x")  # fmt: skip


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("ceil", [False, True])
def test_avg_pool(include: bool, ceil: bool) -> None:
    net = Net(2, 3, 9, 8)
    y = net.add(top.AvgPool, [net.x], "p", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1),
                count_include_pad=include, ceil_mode=ceil, do_relu=True)  # fmt: skip
    g = check(net, y)
    (pool,) = ops(g, "AvgPool")
    # against the exact average of the int8 input: half a step (+ the slack of 7 fraction bits)
    _, _, values = net.finish(y)
    x8 = interpreter.run(g, {"x": values["x"]}, keep="all")
    exact = np.maximum(_average(x8["x_si8"], pool), 0)
    assert np.abs(x8["p"] - np.clip(exact, -128, 127)).max() <= 0.5 + 1 / 64


def _average(x: np.ndarray, pool: Any) -> np.ndarray:
    from tpuforge.compiler.tpu import kernels

    total = kernels.sum_pool(x, pool.kernel_shape, pool.strides, pool.pads)
    return total / pool.window_counts() * pool.scale_of() / pool.results[0].type.scale


def test_average_whose_threshold_is_free_is_plain() -> None:
    """Its threshold moves by at most 0.4 % to where ratio = factor / 2^shift."""
    net = Net(1, 5, 7, 7)
    pool = net.add(top.AvgPool, [net.x], "p", kernel_shape=(7, 7), keepdims=False)
    y = net.add(top.MatMul, [pool, net.const("r", net.random(5, 4)), None], "fc")
    check(net, y, worst=2)
    graph, table, _ = net.finish(y)
    g = lower(graph, table, chip_named("cv181x"))
    (plain,) = ops(g, "AvgPool")
    scale = plain.results[0].type.scale
    assert not plain.multipliers and 128 <= plain.factor < 256
    assert abs(scale * 127 / table["p"].threshold - 1) < 1 / 255
    assert plain.factor / 2 ** plain.shifts[0] == pytest.approx(
        plain.scale_of() / scale / 49, rel=1e-12
    )


def test_average_with_a_shared_threshold_keeps_it() -> None:
    """A graph output, an operand of Concat (also behind Reshape), counts that differ, a relu."""
    net = Net(1, 5, 8, 8)
    pool = lambda name, **more: net.add(  # noqa: E731
        top.AvgPool, [net.x], name, kernel_shape=(3, 3), pads=(1, 1, 1, 1), **more
    )
    a, b = pool("a", count_include_pad=True), pool("b", count_include_pad=True)
    joined = net.add(
        top.Concat, [net.add(top.Reshape, [b], "r", shape=(1, 5, 8, 8)), net.x], "j", axis=1
    )
    c, d = pool("c"), pool("d", count_include_pad=True, do_relu=True)
    e = net.add(top.Add, [c, d], "e")
    g = check(net, a, joined, e, worst=3)
    assert all(op.multipliers for op in ops(g, "AvgPool"))


def test_global_average_without_dims() -> None:
    net = Net(1, 5, 7, 7)
    y = net.add(top.AvgPool, [net.x], "p", kernel_shape=(7, 7), keepdims=False)
    g = check(net, y, worst=1)
    assert g.outputs[0].shape == (1, 5, 1, 1)


def test_averages_and_maxima_of_huge_pictures() -> None:
    """Too large for the memory of a lane: as a matrix product, and strip by strip; exactly what one
    window would give."""
    for shape in ((1, 3, 224, 224), (2, 2, 40, 900)):
        net = Net(*shape)
        kernel = shape[2:]
        a = net.add(top.AvgPool, [net.x], "a", kernel_shape=kernel, do_relu=True)
        m = net.add(top.MaxPool, [net.x], "m", kernel_shape=kernel)
        graph, table, values = net.finish(a, m)
        table.entries["a"] = Entry(0.01, 0, 0)
        g = lower(graph, table, chip_named("cv181x"))
        (product,) = ops(g, "MatMul")
        got = interpreter.run(g, {"x": values["x"]}, keep="all")
        x8 = got["x_si8"].astype(np.int64)
        real = x8.mean((2, 3)) * g.ops[1].results[0].type.scale / product.results[0].type.scale
        exact = np.clip(real, 0, 127)
        assert exact.max() > 5
        assert np.abs(got["a"].reshape(exact.shape) - exact).max() <= 0.5 + 1 / 64
        strips, pool = ops(g, "MaxPool")
        assert pool.operands[0] is strips.results[0]
        requant = strips.operands[0].owner
        of = got[requant.name if requant is not None else "x_si8"]
        assert (got["m"].reshape(exact.shape) == of.max((2, 3))).all()


@pytest.mark.parametrize(
    ("shape", "kernel", "strides", "pads", "most"),
    [
        ((1, 3, 220, 230), (190, 200), (9, 7), (0, 0, 0, 0), 20),
        ((2, 3, 200, 200), (190, 200), (3, 1), (5, 0, 6, 0), 5),
        ((1, 2, 60, 1000), (40, 900), (10, 10), (0, 3, 1, 0), 10),
    ],
)
def test_huge_windows(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    most: int,
) -> None:
    """Larger than the memory of a lane, but not the whole picture: the same bytes as the poolings
    of a chip that has room for them."""
    got = []
    chip = chip_named("cv181x")
    for size in (chip.lane_bytes, 1 << 20):
        net = Net(*shape)
        window = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        a = net.add(top.AvgPool, [net.x], "a", **window, do_relu=True, count_include_pad=True)
        m = net.add(top.MaxPool, [net.x], "m", **window, do_relu=True)
        graph, table, values = net.finish(a, m)
        table.entries["a"] = Entry(0.02, 0, 0)
        g = lower(graph, table, replace(chip, lane_bytes=size))
        small = size == chip.lane_bytes
        assert len(ops(g, "MatMul")) == small == (not ops(g, "AvgPool"))
        assert len(ops(g, "MaxPool")) == 1 + small
        got.append(interpreter.run(g, {"x": values["x"]}))
        if small:  # what a computation needs at once fits
            assert max(np.prod(op.kernel_shape) for op in ops(g, "MaxPool")) <= 900
    for name in ("a_f32", "m_f32"):
        assert got[0][name].tobytes() == got[1][name].tobytes()
        assert len(np.unique(got[0][name])) >= (most if name == "a_f32" else 2)


def test_huge_windows_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that count differently, and a matrix of too many bytes."""
    for more, limit in (({"pads": (3, 3, 3, 3)}, 1 << 26), ({}, 1000)):
        monkeypatch.setattr("tpuforge.compiler.lower.cv18xx.pool.MOST_CONSTANTS", limit)
        net = Net(1, 2, 200, 220)
        y = net.add(top.AvgPool, [net.x], "a", kernel_shape=(190, 190), strides=(8, 8), **more)
        graph, table, _ = net.finish(y)
        g = lower(graph, table, chip_named("cv181x"))
        assert ops(g, "AvgPool") and not ops(g, "MatMul")


def test_max_pool_shares_the_smaller_threshold() -> None:
    net = Net(1, 3, 10, 10)
    c = net.conv(net.x, 4, 3, "c")
    p = net.add(
        top.MaxPool,
        [c],
        "p",
        kernel_shape=(3, 3),
        strides=(4, 4),
        pads=(1, 1, 0, 0),
        ceil_mode=True,
    )
    graph, table, values = net.finish(p)
    table.entries["p"] = Entry(table["c"].threshold * 0.9, 0, 0)
    g = lower(graph, table, chip_named("cv180x"))
    conv, pool = ops(g, "Conv")[0], ops(g, "MaxPool")[0]
    assert conv.results[0].type.scale == pool.results[0].type.scale == table["p"].threshold / 127
    assert pool.pads == (1, 1, 2, 2) and pool.results[0].shape == (1, 4, 3, 3)
    got = interpreter.run(g, {"x": values["x"]})["p_f32"]
    assert (
        np.abs(got - np.minimum(values["p"], table["p"].threshold)).max()
        <= 4 * pool.results[0].type.scale
    )


def test_add_relu_and_more_operands() -> None:
    net = Net(1, 4, 6, 6)
    a, b = net.conv(net.x, 4, 3, "a", pads=(1, 1, 1, 1)), net.conv(net.x, 4, 1, "b")
    s = net.add(top.Add, [a, b], "s", do_relu=True)
    t = net.add(top.Add, [a, net.x, s], "t")
    g = check(net, s, t, worst=4)
    assert [op.name for op in ops(g, "Add")] == ["s", "t_sum1", "t"]
    assert all(0 < m <= 255 for op in ops(g, "Add") for m in op.multipliers)


def test_add_multipliers_are_the_best() -> None:
    from tpuforge.compiler.lower.cv18xx.eltwise import add_multipliers

    assert add_multipliers((1.0, 0.5), "n") == ((2, 1), 1)
    (m0, m1), s = add_multipliers((0.77, 0.31), "n")
    assert (
        128 <= m0 <= 255
        and abs(m0 / 2**s - 0.77) <= 0.5 / 2**s
        and abs(m1 / 2**s - 0.31) <= 0.5 / 2**s
    )
    with pytest.raises(UnsupportedError, match="calibration table"):
        add_multipliers((300.0, 1.0), "n")


def test_mul_of_tensors() -> None:
    net = Net(2, 5, 4, 6)
    gate = net.add(top.AvgPool, [net.x], "gate", kernel_shape=(4, 6))
    se = net.add(top.Mul, [gate, net.x], "se")
    sq = net.add(top.Mul, [net.x, net.x], "sq", do_relu=True)
    check(net, se, sq, worst=3)


def test_constants() -> None:
    net = Net(2, 5, 4, 6)
    c = net.random(5)
    outputs = [
        net.add(top.MulConst, [net.x], "mc", const_val=-0.37),
        net.add(top.MulConst, [net.x], "mr", const_val=3.7, do_relu=True),
        net.add(top.AddConst, [net.x], "ac", const_val=1.3),
        net.add(
            top.Scale,
            [net.x, net.const("s", c), net.const("b", c[::-1].copy())],
            "sc",
            do_relu=True,
        ),
        net.add(top.Add, [net.x, net.const("k", c.reshape(5, 1, 1))], "ak"),
        net.add(top.Mul, [net.x, net.const("m", c.reshape(1, 5, 1, 1))], "mk"),
        net.add(top.Mul, [net.x, net.const("one", [0.25])], "m1"),
        net.add(
            top.BatchNorm,
            [
                net.x,
                net.const("mean", c),
                net.const("var", c * c + 0.1),
                net.const("g", c),
                net.const("be", c),
            ],
            "bn",
        ),
    ]
    g = check(net, *outputs, worst=2)
    assert len(ops(g, "Requant")) == 3 and len(ops(g, "Conv")) == 5


def test_activations() -> None:
    net = Net(1, 4, 6, 6)
    a, b, c, d = (net.conv(net.x, 4, 1, n) for n in "abcd")
    slope = np.array([0.2, -0.4, 0.0, 1.5])
    outputs = [
        net.add(top.Relu, [a], "r"),
        net.add(top.LeakyRelu, [b], "l", alpha=0.1),
        net.add(top.PRelu, [c, net.const("s", slope)], "p"),
        net.add(top.Clip, [d], "k", min=0.0, max=0.8),
        net.add(top.LeakyRelu, [net.x], "steep", alpha=1.25),
        net.add(top.Relu, [net.x], "other"),
    ]
    graph, table, values = net.finish(*outputs)
    table.entries["other"] = Entry(table["x"].threshold * 0.9, 0, 0)
    g = lower(graph, table, chip_named("cv181x"))
    results = interpreter.run(g, {"x": values["x"]}, keep="all")
    real = interpreter.dequantised(g, results)
    slopes = {
        "r": np.zeros(4),
        "l": np.full(4, 0.1),
        "p": slope,
        "steep": np.full(4, 1.25),
        "other": np.zeros(4),
    }
    for name, a in slopes.items():  # against the exact function of the int8 input
        op = next(op for op in g.ops if op.name == name)
        x, step = real[op.operands[0].name], op.results[0].type.scale
        want = np.where(x > 0, x, x * a.reshape(4, 1, 1))
        assert np.abs(real[name] - np.clip(want, -128 * step, 127 * step)).max() <= 0.51 * step
    assert real["k"].max() == pytest.approx(0.8) and real["k"].min() == 0
    assert len(ops(g, "PRelu")) == 2 and len(ops(g, "LeakyRelu")) == 1
    # a relu whose input has other readers is a requantisation; otherwise both sides share a scale
    assert {op.name for op in ops(g, "Relu")} == {"r", "k"}
    assert {op.name: op.do_relu for op in ops(g, "Requant")}["other"]


def test_relu_limit_is_the_largest_threshold() -> None:
    net = Net(1, 3, 6, 6)
    y = net.conv(net.x, 8, 1, "c", do_relu=True, relu_limit=0.6)
    w = y.owner.operands[1].data
    step = np.abs(w).max(axis=1, keepdims=True) / 127
    w[:] = np.rint(w / step) * step
    graph, table, values = net.finish(y)
    table.entries["c"] = Entry(2.0, 0, 2)
    g = lower(graph, table, chip_named("cv181x"))
    got = interpreter.run(g, {"x": values["x"]})["c_f32"]
    assert got.max() == pytest.approx(0.6) and np.abs(got - values["c"]).max() < 0.015


@pytest.mark.parametrize("gain", [0.2, 4.0, 40.0])
def test_softmax(gain: float) -> None:
    net = Net(3, 50)
    net.rng = np.random.default_rng(1)
    x = net.add(top.MulConst, [net.x], "logits", const_val=gain)
    y = net.add(top.Softmax, [x], "soft", axis=1)
    graph, table, values = net.finish(y)
    g = lower(graph, table, chip_named("cv181x"))
    results = interpreter.run(g, {"x": values["x"]}, keep="all")
    logits = results["logits"].astype(np.float64) * ops(g, "Softmax")[0].scale_of()
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    want = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(results["soft_f32"], want, rtol=3 * 2.0**-8, atol=1e-30)
    np.testing.assert_array_equal(results["soft_f32"].view(np.uint32) & 0xFFFF, 0)
    assert g.outputs[0].name == "soft_f32" and g.outputs[0].type.dtype == "f32"


def test_concat_in_one_scale() -> None:
    net = Net(1, 3, 6, 6)
    a, b = net.conv(net.x, 4, 1, "a"), net.conv(net.x, 2, 1, "b")
    cat = net.add(top.Concat, [a, b, net.x], "cat", axis=1, do_relu=True)
    other = net.add(top.Relu, [b], "other")
    g = check(net, cat, other, worst=4)
    scales = {v.type.scale for v in ops(g, "Concat")[0].inputs()}
    assert len(scales) == 1
    assert [op.name for op in ops(g, "Requant")][:2] == ["b_requant", "x_si8_requant"]
    assert (
        ops(g, "Conv")[0].results[0].type.scale in scales
    )  # a is produced in the scale of the Concat


def test_reshape_and_permute() -> None:
    net = Net(1, 6, 1, 4)
    p = net.add(top.Permute, [net.x], "p", order=(0, 2, 1, 3))
    r = net.add(top.Reshape, [p], "r", shape=(2, 3, 2, 2))
    g = check(net, r, worst=0.51)
    assert g.outputs[0].shape == (2, 3, 2, 2)


def test_inputs_and_outputs() -> None:
    net = Net(1, 3, 4, 4)
    y = net.conv(net.x, 2, 1, "c")
    graph, table, values = net.finish(y)
    for chip, engine in (("cv181x", "cpu"), ("cv180x", "tpu")):
        g = lower(graph, table, chip_named(chip))
        assert [v.name for v in g.values()] == ["x", "x_si8", "c", "c_f32"]
        assert ops(g, "Quantize")[0].engine == engine and g.inputs[0].type.dtype == "f32"
        quantize = ops(g, "Quantize")[0]
        scale = quantize.results[0].type.scale
        assert quantize.inv_scale == pytest.approx(1 / scale, rel=1e-12)
        assert scale == pytest.approx(table["x"].threshold / 127, rel=1e-12)
    # the product with the scale of an output is exact on the TPU
    (dequantize,) = ops(g, "Dequantize")
    assert np.float32(dequantize.scale).view(np.uint32) & 0xFF == 0
    assert dequantize.scale == pytest.approx(table["c"].threshold / 127, rel=2.0**-16)
    g = lower(graph, table, chip_named("cv180x"), quant_input=True, quant_output=True)
    assert [v.name for v in g.values()] == ["x", "c"] and g.inputs[0].type.dtype == g.outputs[
        0
    ].type.dtype == "i8"
    assert g.inputs[0].type.scale == table["x"].threshold / 127
    x8 = np.clip(np.rint(values["x"] / g.inputs[0].type.scale), -128, 127).astype(np.int8)
    got = interpreter.run(g, {"x": x8})["c"] * g.outputs[0].type.scale
    assert np.abs(got - values["c"]).max() <= 2 * g.outputs[0].type.scale


def test_all_missing_entries_are_listed() -> None:
    net = Net(1, 3, 4, 4)
    y = net.add(top.Relu, [net.conv(net.x, 2, 1, "c")], "r")
    graph, table, _ = net.finish(y)
    with pytest.raises(UserInputError, match=r"2 of the 3 .*c, r"):
        lower(graph, CalibrationTable({"x": table["x"]}), chip_named("cv181x"))
    table.entries["c"] = Entry(0.0, 0, 0)
    with pytest.raises(UserInputError, match="c 0"):
        lower(graph, table, chip_named("cv181x"))


def test_reshape_behind_softmax() -> None:
    net = Net(1, 3, 4, 4)
    soft = net.add(top.Softmax, [net.conv(net.x, 2, 1, "c")], "s", axis=1)
    flat = net.add(top.Reshape, [soft], "flat", shape=(1, 32))
    turned = net.add(top.Permute, [flat], "turned", order=(1, 0))
    graph, table, _ = net.finish(turned)
    g = lower(graph, table, chip_named("cv181x"))
    (y,) = g.outputs
    assert (y.name, y.type.dtype, y.shape) == ("turned_f32", "f32", (32, 1, 1, 1))
    graph, table, _ = net.finish(net.add(top.Relu, [flat], "r"))
    with pytest.raises(UnsupportedError, match="as the last layer"):
        lower(graph, table, chip_named("cv181x"))


@pytest.mark.parametrize("name, threshold", [("x", 1e-20), ("c", 1e30)])
def test_thresholds_beyond_the_conversion_on_the_tpu(name: str, threshold: float) -> None:
    net = Net(1, 3, 4, 4)
    graph, table, _ = net.finish(net.conv(net.x, 2, 1, "c"))
    table.entries |= {"x": Entry(1e-20, 0, 0), "c": Entry(1e-20, 0, 0)}
    table.entries[name] = Entry(threshold, 0, 0)
    if name == "c":
        table.entries["x"] = Entry(1e14, 0, 0)
    with pytest.raises(UnsupportedError, match=f"{name} has the threshold"):
        lower(graph, table, chip_named("cv180x"))


def test_all_unsupported_layers_are_listed() -> None:
    net = Net(1, 3, 4, 4)
    c = net.add(top.Clip, [net.x], "clip", min=-1.0, max=1.0)
    p = net.add(top.Permute, [c], "turn", order=(0, 2, 3, 1))
    cat = net.add(top.Concat, [p, p], "cat", axis=2)
    soft = net.add(top.Softmax, [cat], "soft", axis=2)
    rows = net.add(top.Reshape, [net.x], "rows", shape=(12, 4))
    columns = net.add(top.Reshape, [net.x], "columns", shape=(4, 12))
    product = net.add(top.MatMul, [rows, columns], "product")
    dead = net.add(top.Clip, [net.conv(net.x, 2, 1, "c")], "dead", min=0.0, max=0.0)
    graph, table, _ = net.finish(soft, product, dead)
    with pytest.raises(UnsupportedError, match="6 layers") as e:
        lower(graph, table, chip_named("cv181x"))
    assert all(n in str(e.value) for n in ("clip", "turn", "cat", "soft", "product", "dead"))
    with pytest.raises(UnsupportedError, match="c BF16"):
        lower(graph, table, chip_named("cv181x"), quantize_table={"c": "BF16", "x": "INT8"})
