"""Every Tpu op against loops over single elements, and the interpreter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tpuforge.compiler import tpu
from tpuforge.compiler.errors import InternalError, UserInputError
from tpuforge.compiler.ir import Graph, Value
from tpuforge.compiler.tpu import arith, interpreter, kernels

RNG = np.random.default_rng(5)


def graph_with(
    *shapes: tuple[int, ...], scales: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> tuple[Graph, list[Value]]:
    g = Graph("t")
    xs = [
        g.add(tpu.Input, [], f"x{i}", types=[tpu.i8(s, k)])
        for i, (s, k) in enumerate(zip(shapes, scales, strict=False))
    ]
    return g, xs


def evaluate(g: Graph, y: Value, *arrays: np.ndarray) -> np.ndarray:
    g.outputs = [y]
    g.verify()
    return interpreter.run(g, {f"x{i}": a for i, a in enumerate(arrays)})[y.name]


def random_i8(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def slow_conv(
    x: np.ndarray, w: np.ndarray, strides: Any, pads: Any, dilations: Any, group: int
) -> np.ndarray:
    n, _, h, wd = x.shape
    oc, icg, kh, kw = w.shape
    oh = kernels.out_size(h, kh, strides[0], pads[0], pads[2], dilations[0])
    ow = kernels.out_size(wd, kw, strides[1], pads[1], pads[3], dilations[1])
    acc = np.zeros((n, oc, oh, ow), np.int64)
    for b, o, y, c in np.ndindex(acc.shape):
        first = o // (oc // group) * icg
        for k, i, j in np.ndindex(icg, kh, kw):
            yy = y * strides[0] + i * dilations[0] - pads[0]
            xx = c * strides[1] + j * dilations[1] - pads[1]
            if 0 <= yy < h and 0 <= xx < wd:
                acc[b, o, y, c] += int(x[b, first + k, yy, xx]) * int(w[o, k, i, j])
    return acc


CONVS = [
    # shape, oc, kernel, strides, pads, dilations, group
    ((1, 3, 9, 7), 5, (3, 3), (2, 1), (1, 0, 0, 2), (1, 1), 1),
    ((2, 4, 5, 6), 6, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 2),
    ((1, 4, 6, 6), 3, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    ((1, 5, 9, 8), 5, (3, 2), (1, 2), (2, 1, 1, 0), (2, 3), 5),
    ((1, 6, 8, 8), 4, (5, 3), (3, 2), (2, 2, 2, 2), (1, 2), 2),
    ((3, 7, 1, 1), 4, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "oc", "kernel", "strides", "pads", "dilations", "group"), CONVS)
def test_conv(
    shape: Any, oc: int, kernel: Any, strides: Any, pads: Any, dilations: Any, group: int
) -> None:
    x, w = random_i8(*shape), random_i8(oc, shape[1] // group, *kernel)
    bias = RNG.integers(-5000, 5000, oc).astype(np.int32)
    m, s = RNG.integers(2**30, 2**31, oc).astype(np.int32), RNG.integers(6, 12, oc).astype(np.int8)
    g, (v,) = graph_with(shape)
    consts = [g.const("w", w), g.const("b", bias), g.const("m", m), g.const("s", s)]
    for relu in (False, True):
        y = g.add(tpu.Conv, [v, *consts], f"y{relu}", kernel_shape=kernel, strides=strides,
        pads=pads,
                  dilations=dilations, group=group, do_relu=relu)  # fmt: skip
        acc = slow_conv(x, w, strides, pads, dilations, group) + bias[:, None, None]
        want = np.empty(acc.shape, np.int8)
        for i, a in np.ndenumerate(acc):
            q = int(arith.requantise(int(a), int(m[i[1]]), int(s[i[1]])))
            want[i] = min(max(q, 0 if relu else -128), 127)
        np.testing.assert_array_equal(evaluate(g, y, x), want)


def test_conv_bias_wraps() -> None:
    g, (v,) = graph_with((1, 1, 1, 1))
    consts = [
        g.const("w", np.full((1, 1, 1, 1), 127, np.int8)),
        g.const("b", np.array([2**31 - 1], np.int32)),
        g.const("m", np.array([2**30], np.int32)),
        g.const("s", np.array([25], np.int8)),
    ]
    y = g.add(tpu.Conv, [v, *consts], "y", kernel_shape=(1, 1))
    assert evaluate(g, y, np.array([1], np.int8)).item() == -32


@pytest.mark.parametrize(("k", "fill"), [(900, 127), (4000, -128), (140_000 // 8, 127)])
def test_matmul_is_exact_at_the_extremes(k: int, fill: int) -> None:
    a = np.full((3, k), fill, np.int8)
    a[1, ::2] = -a[1, ::2] + 1
    b = np.full((k, 2), -128, np.int8)
    np.testing.assert_array_equal(
        kernels.matmul_exact(a, b), a.astype(np.int64) @ b.astype(np.int64)
    )


def slow_pool(
    x: np.ndarray, kernel: Any, strides: Any, pads: Any, counted: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(maximum, sum, count) of every window."""
    n, c, h, w = x.shape
    oh = kernels.out_size(h, kernel[0], strides[0], pads[0], pads[2])
    ow = kernels.out_size(w, kernel[1], strides[1], pads[1], pads[3])
    most, total = np.full((n, c, oh, ow), -128), np.zeros((n, c, oh, ow), int)
    count = np.zeros((oh, ow), int)
    for b, k, y, z, i, j in np.ndindex(n, c, oh, ow, *kernel):
        yy, xx = y * strides[0] + i - pads[0], z * strides[1] + j - pads[1]
        if 0 <= yy < h and 0 <= xx < w:
            most[b, k, y, z] = max(most[b, k, y, z], x[b, k, yy, xx])
            total[b, k, y, z] += x[b, k, yy, xx]
        inside = -counted[0] <= yy < h + counted[2] and -counted[1] <= xx < w + counted[3]
        count[y, z] += inside and b == k == 0
    return most, total, count


POOLS = [
    ((1, 3, 7, 9), (3, 3), (2, 2), (1, 1, 1, 1), (0, 0, 0, 0)),
    ((2, 2, 6, 5), (2, 3), (2, 1), (0, 1, 1, 2), (0, 1, 0, 1)),
    ((1, 5, 7, 7), (7, 7), (1, 1), (0, 0, 0, 0), (0, 0, 0, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "kernel", "strides", "pads", "counted"), POOLS)
def test_pools(shape: Any, kernel: Any, strides: Any, pads: Any, counted: Any) -> None:
    x = random_i8(*shape)
    most, total, count = slow_pool(x, kernel, strides, pads, counted)
    g, (v,) = graph_with(shape)
    kw: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    np.testing.assert_array_equal(evaluate(g, g.add(tpu.MaxPool, [v], "max", **kw), x), most)
    np.testing.assert_array_equal(
        evaluate(g, g.add(tpu.MaxPool, [v], "maxr", do_relu=True, **kw), x), np.maximum(most, 0)
    )
    counts = sorted(set(count.ravel().tolist()))
    pairs = {n: arith.multiplier_and_shift(0.9 / n / 100) for n in counts}
    y = g.add(tpu.AvgPool, [v], "avg", counted_pads=counted, factor=100, counts=counts,
              multipliers=[pairs[n][0] for n in counts], shifts=[pairs[n][1] for n in counts],
              **kw)  # fmt: skip
    np.testing.assert_array_equal(y.owner.window_counts(), count)
    want = [
        int(arith.requantise(100 * int(t), *pairs[int(count[i[2:]])]))
        for i, t in np.ndenumerate(total)
    ]
    np.testing.assert_array_equal(evaluate(g, y, x).ravel(), np.clip(want, -128, 127))


def test_plain_avg_pool() -> None:
    """Without multipliers: R(factor * sum, shift), half up."""
    x = np.array([[[[1, 2], [3, 1]], [[-7, -3], [-4, 0]], [[127, 127], [127, 127]]]], np.int8)
    g, (v,) = graph_with(x.shape)
    y = g.add(tpu.AvgPool, [v], "y", kernel_shape=(2, 2), counts=[4], factor=250, shifts=[9])
    want = [math.floor(250 * int(c.sum()) / 512 + 0.5) for c in x[0]]
    np.testing.assert_array_equal(evaluate(g, y, x).ravel(), np.clip(want, -128, 127))
    g.verify()


def test_plain_avg_pool_has_no_relu() -> None:
    g, (v,) = graph_with((1, 1, 4, 4))
    y = g.add(tpu.AvgPool, [v], "y", kernel_shape=(2, 2), counts=[4], shifts=[1], do_relu=True)
    g.outputs = [y]
    with pytest.raises(InternalError, match="relu"):
        g.verify()


def test_avg_pool_verifies_counts() -> None:
    g, (v,) = graph_with((1, 1, 4, 4))
    y = g.add(
        tpu.AvgPool,
        [v],
        "y",
        kernel_shape=(2, 2),
        pads=(1, 0, 0, 0),
        counts=[4],
        multipliers=[1 << 30],
        shifts=[1],
    )
    g.outputs = [y]
    with pytest.raises(InternalError, match="count"):
        g.verify()


@pytest.mark.parametrize(
    ("m0", "m1", "shift", "relu"),
    [(255, 3, 7, False), (128, 255, 8, True), (-128, 100, 6, False), (1, 1, 0, False)],
)
def test_add(m0: int, m1: int, shift: int, relu: bool) -> None:
    a, b = random_i8(1, 3, 5, 7), random_i8(1, 3, 5, 7)
    g, (u, v) = graph_with(a.shape, b.shape)
    y = g.add(tpu.Add, [u, v], "y", multipliers=(m0, m1), shift=shift, do_relu=relu)
    acc = a.astype(int) * m0 + b.astype(int) * m1
    want = np.floor(acc / 2**shift + 0.5) if shift else acc
    np.testing.assert_array_equal(evaluate(g, y, a, b), np.clip(want, 0 if relu else -128, 127))


def test_add_limits() -> None:
    g, (u, v) = graph_with((1, 1, 1, 1), (1, 1, 1, 1))
    with pytest.raises(InternalError, match="multipliers"):
        g.add(tpu.Add, [u, v], "y", multipliers=(256, 1), shift=0)
    g, (u, v) = graph_with((1, 1, 1, 1), (1, 1, 1, 2))
    with pytest.raises(InternalError, match="shape"):
        g.add(tpu.Add, [u, v], "y", multipliers=(1, 1), shift=0)


def test_eltwise() -> None:
    x = np.arange(-128, 128).astype(np.int8).reshape(1, 4, 8, 8)
    b = np.array([3, -2, 100, -128], np.int8).reshape(1, 4, 1, 1)
    m, s = arith.multiplier_and_shift(0.013)
    g, (v, u) = graph_with(x.shape, b.shape)

    def q(acc: np.ndarray) -> np.ndarray:
        return np.array([int(arith.requantise(int(a), m, s)) for a in acc.ravel()]).reshape(
            acc.shape
        )

    wide = x.astype(int)
    cases = {
        "mul": (g.add(tpu.Mul, [v, u], "mul", multiplier=m, shift=s), q(wide * b.astype(int))),
        "requant": (
            g.add(tpu.Requant, [v], "requant", factor=-127, multiplier=m, shift=s, do_relu=True),
            np.maximum(q(wide * -127), 0),
        ),
        "relu": (g.add(tpu.Relu, [v], "relu"), np.maximum(wide, 0)),
        "leaky": (
            g.add(tpu.LeakyRelu, [v], "leaky", factor=50, multiplier=m, shift=s),
            np.maximum(wide, q(wide * 50)),
        ),
    }
    for y, want in cases.values():
        np.testing.assert_array_equal(evaluate(g, y, x, b), np.clip(want, -128, 127))


def test_prelu() -> None:
    x = random_i8(2, 3, 4, 5)
    slope = np.array([127, -50, 0], np.int8)
    m, s = np.array([2**30, 2**31 - 1, 2**30 + 7], np.int32), np.array([6, 7, 0], np.int8)
    g, (v,) = graph_with(x.shape)
    y = g.add(tpu.PRelu, [v, g.const("a", slope), g.const("m", m), g.const("s", s)], "y")
    got = evaluate(g, y, x)
    for i, a in np.ndenumerate(x):
        c = i[1]
        negative = np.clip(
            int(arith.requantise(int(a) * int(slope[c]), int(m[c]), int(s[c]))), -128, 127
        )
        assert got[i] == (a if a > 0 else negative)


def test_concat_and_reshape() -> None:
    a, b = random_i8(2, 3, 2, 2), random_i8(2, 1, 2, 2)
    g, (u, v) = graph_with(a.shape, b.shape)
    y = g.add(tpu.Concat, [u, v], "cat")
    z = g.add(tpu.Reshape, [y], "flat", shape=(2, 16, 1, 1))
    np.testing.assert_array_equal(
        evaluate(g, z, a, b), np.concatenate([a, b], 1).reshape(2, 16, 1, 1)
    )
    g, (u, v) = graph_with(a.shape, b.shape, scales=(1.0, 2.0))
    with pytest.raises(InternalError, match="scales"):
        g.add(tpu.Concat, [u, v], "cat")


def test_quantize_engines_and_dequantize() -> None:
    x = np.linspace(-1.3, 1.3, 77, dtype=np.float32).reshape(1, 1, 7, 11)
    g = Graph("t")
    v = g.add(tpu.Input, [], "x0", types=[tpu.i8(x.shape, None).__class__(x.shape, "f32")])
    inverse = 127 / 1.1
    cpu = g.add(tpu.Quantize, [v], "cpu", inv_scale=inverse)
    chip = g.add(tpu.Quantize, [v], "chip", inv_scale=inverse, engine="tpu")
    scale = arith.significant(1.1 / 127, 16)
    back = g.add(tpu.Dequantize, [cpu], "back", scale=scale)
    want = np.clip(np.floor(np.abs(x * np.float32(inverse)) + 0.5) * np.sign(x), -128, 127)
    got = evaluate(g, cpu, x)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(
        evaluate(g, back, x).astype(np.float64), got.astype(np.float64) * scale
    )
    np.testing.assert_array_equal(evaluate(g, chip, x), got)
    with pytest.raises(InternalError, match="engine"):
        g.add(tpu.Quantize, [v], "other", inv_scale=1.0, engine="gpu")
    with pytest.raises(InternalError, match="scale"):
        g.add(tpu.Dequantize, [cpu], "fine", scale=1.1 / 127)


def test_interpreter_keep_and_errors() -> None:
    g, (v,) = graph_with((1, 2, 2, 2), scales=(0.5,))
    y = g.add(tpu.Relu, [v], "r")
    z = g.add(tpu.Reshape, [y], "z", shape=(1, 8, 1, 1))
    g.outputs = [z]
    x = random_i8(1, 2, 2, 2)
    assert list(interpreter.run(g, {"x0": x}, keep="all")) == ["x0", "r", "z"]
    only = interpreter.run(g, {"x0": x})
    assert list(only) == ["z"]
    np.testing.assert_array_equal(
        interpreter.dequantised(g, only)["z"], np.maximum(x, 0).reshape(1, 8, 1, 1) * 0.5
    )
    for bad, text in (
        ({}, "takes"),
        ({"x0": x[:, :1]}, "shape"),
        ({"x0": x.astype(np.float32)}, "int8"),
        ({"x0": x, "q": x}, "takes"),
    ):
        with pytest.raises(UserInputError, match=text):
            interpreter.run(g, bad)
