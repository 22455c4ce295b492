"""Shape rules and float meaning of the Top operations, stated again in plain numpy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tpuforge.compiler import top
from tpuforge.compiler.errors import InternalError, UnsupportedError, UserInputError
from tpuforge.compiler.ir import Graph, TensorType
from tpuforge.compiler.top.export import to_onnx
from tpuforge.compiler.top.reference import Reference, run

RNG = np.random.default_rng(11)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def graph_of(cls, shapes, consts=(), **attrs):
    """One operation on inputs of these shapes and constants."""
    g = Graph("one")
    ins = [g.add(top.Input, [], f"x{i}", types=[TensorType(s)]) for i, s in enumerate(shapes)]
    operands = [*ins, *(None if c is None else g.const(f"c{i}", c) for i, c in enumerate(consts))]
    g.outputs = [g.add(cls, operands, "y", **attrs)]
    g.verify()
    return g


def value(cls, arrays, consts=(), **attrs):
    g = graph_of(cls, [a.shape for a in arrays], consts, **attrs)
    out = run(g, {f"x{i}": a for i, a in enumerate(arrays)}, threads=1)["y"]
    assert out.shape == g.outputs[0].shape
    return out


def windows(x, k, s, pads, fill, shape):
    """x padded so that every window of the result shape exists: (n, c, oh, ow, kh, kw)."""
    t, left = pads[0], pads[1]
    h, w = (shape[2] - 1) * s[0] + k[0], (shape[3] - 1) * s[1] + k[1]
    big = np.full((*x.shape[:2], max(h, x.shape[2] + t), max(w, x.shape[3] + left)), fill, x.dtype)
    big[:, :, t : t + x.shape[2], left : left + x.shape[3]] = x
    view = np.lib.stride_tricks.sliding_window_view(big[:, :, :h, :w], k, (2, 3))
    return view[:, :, :: s[0], :: s[1]]


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 0, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_pools(pads, strides, ceil, include):
    """Also the divisors that `AvgPool.counts` promises to the lowering."""
    x, k = f32(2, 3, 7, 9), (3, 4)
    attrs = dict(kernel_shape=k, strides=strides, pads=pads, ceil_mode=ceil)
    g = graph_of(top.AvgPool, [x.shape], count_include_pad=include, **attrs)
    op, shape = g.outputs[0].owner, g.outputs[0].shape
    count = np.outer(op.counts(0), op.counts(1))
    expected = windows(x, k, strides, pads, 0, shape).sum((-1, -2)) / count
    got = run(g, {"x0": x}, threads=1)["y"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    expected = windows(x, k, strides, pads, -np.inf, shape).max((-1, -2))
    np.testing.assert_array_equal(value(top.MaxPool, [x], **attrs), expected)


@pytest.mark.parametrize("group", [1, 2, 6])
def test_conv(group):
    x, w, b = f32(2, 6, 8, 9), f32(12, 6 // group, 3, 2), f32(12)
    pads, s = (1, 0, 1, 1), (2, 1)
    got = value(top.Conv, [x], [w, b], kernel_shape=(3, 2), strides=s, pads=pads, group=group)
    win = windows(x, (3, 2), s, pads, 0, got.shape)
    parts = [
        np.einsum("nchwij,ocij->nohw", a, f)
        for a, f in zip(np.split(win, group, 1), np.split(w, group), strict=True)
    ]
    expected = np.concatenate(parts, 1) + b.reshape(1, -1, 1, 1)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("lead", [(3,), (2, 3), (1, 2, 3)])
def test_matmul(lead, transpose):
    x, w, b = f32(*lead, 5), f32(5, 4), f32(4)
    right = np.ascontiguousarray(w.T) if transpose else w
    got = value(top.MatMul, [x], [right, b], right_transpose=transpose)
    np.testing.assert_allclose(got, x @ w + b, rtol=1e-4, atol=1e-5)


def test_fused_activation():
    x = f32(2, 3, 4, 5) * 4
    got = value(top.AddConst, [x], const_val=1.0, do_relu=True, relu_limit=2.0)
    np.testing.assert_array_equal(got, np.clip(x + np.float32(1), 0, 2))
    got = value(top.MulConst, [x], const_val=-2.0, do_relu=True)
    np.testing.assert_array_equal(got, np.maximum(x * np.float32(-2), 0))


def test_elementwise():
    a, b, c = f32(2, 3, 4), f32(2, 3, 4), f32(2, 3, 4)
    np.testing.assert_allclose(value(top.Add, [a, b, c]), a + b + c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value(top.Mul, [a, b, c]), a * b * c, rtol=1e-5)
    np.testing.assert_array_equal(value(top.Relu, [a], relu_limit=0.5), np.clip(a, 0, 0.5))
    np.testing.assert_array_equal(value(top.Clip, [a], min=-0.25, max=0.5), np.clip(a, -0.25, 0.5))
    np.testing.assert_allclose(
        value(top.LeakyRelu, [a], alpha=0.1), np.where(a > 0, a, a * np.float32(0.1)), rtol=1e-6
    )


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3, 4)])
def test_per_channel(shape):
    x, ones = f32(*shape), (1,) * (len(shape) - 2)
    s, t, m, v = f32(5), f32(5), f32(5), np.abs(f32(5)) + 0.5

    def spread(c):
        return c.reshape(1, 5, *ones)

    got = value(top.Scale, [x], [s, t])
    np.testing.assert_allclose(got, x * spread(s) + spread(t), rtol=1e-5, atol=1e-6)
    got = value(top.BatchNorm, [x], [m, v, s, t], epsilon=0.01)
    expected = (x - spread(m)) / np.sqrt(spread(v) + 0.01) * spread(s) + spread(t)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    for slope in s, s.reshape(5, 1, 1):
        got = value(top.PRelu, [x], [slope])
        np.testing.assert_allclose(got, np.where(x > 0, x, x * spread(s)), rtol=1e-6)


def test_moving_data():
    a, b = f32(2, 3, 4, 5), f32(2, 1, 4, 5)
    np.testing.assert_array_equal(value(top.Concat, [a, b], axis=1), np.concatenate([a, b], 1))
    np.testing.assert_array_equal(value(top.Reshape, [a], shape=(6, 20)), a.reshape(6, 20))
    order = (0, 2, 3, 1)
    np.testing.assert_array_equal(value(top.Permute, [a], order=order), a.transpose(order))
    pads = (0, 0, 1, 2, 0, 0, 0, 3)
    expected = np.pad(a, [(0, 0), (0, 0), (1, 0), (2, 3)], constant_values=1.5)
    np.testing.assert_array_equal(value(top.Pad, [a], paddings=pads, val=1.5), expected)
    e = np.exp(a - a.max(1, keepdims=True))
    expected = e / e.sum(1, keepdims=True)
    np.testing.assert_allclose(value(top.Softmax, [a], axis=1), expected, rtol=1e-5)


def test_permute_only_renames():
    def renames(shape, order):
        return graph_of(top.Permute, [shape], order=order).outputs[0].owner.only_renames()

    assert renames((2, 5, 1, 1), (0, 2, 3, 1)) and renames((1, 5, 7, 1), (1, 3, 2, 0))
    assert not renames((2, 5, 7, 1), (0, 2, 1, 3))


@pytest.mark.parametrize(
    "cls,shapes,consts,attrs,text",
    [
        (
            top.Conv,
            [(1, 3, 8, 8)],
            [f32(4, 2, 3, 3)],
            dict(kernel_shape=(3, 3)),
            "3 input channels",
        ),
        (top.Conv, [(1, 3, 8, 8)], [f32(4, 3, 3, 3)], dict(kernel_shape=(3, 2)), "kernel_shape"),
        (top.Conv, [(1, 3, 2, 2)], [f32(4, 3, 3, 3)], dict(kernel_shape=(3, 3)), "the shape"),
        (
            top.Conv,
            [(1, 4, 8, 8)],
            [f32(3, 2, 3, 3)],
            dict(kernel_shape=(3, 3), group=2),
            "group 2",
        ),
        (top.Conv, [(1, 3, 8, 8)], [f32(4, 3, 3, 3), f32(3)], dict(kernel_shape=(3, 3)), "bias"),
        (top.MatMul, [(1, 3)], [f32(4, 5)], {}, "has 3 columns"),
        (top.MaxPool, [(1, 3, 8, 8)], [], dict(kernel_shape=(2, 2), pads=(2, 0, 0, 0)), "smaller"),
        (top.AvgPool, [(1, 3, 8, 8)], [], dict(kernel_shape=(2, 2), keepdims=False), "7 x 7"),
        (top.Add, [(1, 3), (1, 4)], [], {}, "do not fit together"),
        (top.Scale, [(1, 3)], [f32(4), f32(4)], {}, "do not fit"),
        (top.Concat, [(1, 3), (2, 3)], [], dict(axis=1), "differ"),
        (top.Reshape, [(1, 3)], [], dict(shape=(2, 2)), "3 elements"),
        (top.Permute, [(1, 3)], [], dict(order=(0, 0)), "permutation"),
    ],
)
def test_shape_errors(cls, shapes, consts, attrs, text):
    with pytest.raises(top.ShapeError, match=text):
        graph_of(cls, shapes, consts, **attrs)


def test_export_is_valid_onnx_with_our_names():
    g = graph_of(
        top.Conv, [(2, 3, 8, 8)], [f32(4, 3, 3, 3), f32(4)], kernel_shape=(3, 3), do_relu=True
    )
    g.outputs = [g.add(top.MaxPool, [g.outputs[0]], "pool", kernel_shape=(2, 2))]
    m = to_onnx(g, "all")
    onnx.checker.check_model(m, full_check=True)
    assert [o.name for o in m.graph.output] == ["pool", "x0", "y"]
    assert [i.name for i in m.graph.initializer] == ["c0", "c1"]
    assert [o.name for o in to_onnx(g).graph.output] == ["pool"]
    assert [o.name for o in to_onnx(g, ["y"]).graph.output] == ["pool", "y"]
    with pytest.raises(InternalError, match="nothing"):
        to_onnx(g, ["nothing"])


def test_reference():
    g = graph_of(top.Relu, [(2, 3)])
    x = f32(2, 3)
    r = Reference(g, "all", threads=1)
    assert list(r.run({"x0": x})) == ["x0", "y"]
    np.testing.assert_array_equal(r.run({"x0": x})["x0"], x)
    np.testing.assert_array_equal(r.run({"x0": -x})["y"], np.maximum(-x, 0))
    assert list(run(g, {"x0": x}, ["x0"])) == ["x0"]
    with pytest.raises(UserInputError, match="'x0' is missing"):
        r.run({})
    with pytest.raises(UserInputError, match=r"\[3, 2\], expected \[2, 3\]"):
        r.run({"x0": x.T})
    with pytest.raises(UserInputError, match="no input is named z"):
        r.run({"x0": x, "z": x})
    with pytest.raises(UserInputError, match="no value named 'q'"):
        Reference(g, ["q"])


def test_names_that_look_like_ours():
    """A value named as the tensor before a fused activation would be."""
    g = Graph("g")
    x = g.add(top.Input, [], "y/linear", types=[TensorType((1, 2))])
    g.outputs = [g.add(top.AddConst, [x], "y", const_val=1.0, do_relu=True)]
    a = np.array([[-3, 2]], np.float32)
    np.testing.assert_array_equal(run(g, {"y/linear": a})["y"], [[0, 3]])


def test_adopt_refuses_what_it_can_not_mean():
    types = [TensorType((1, 3)), TensorType((3, 4))]
    with pytest.raises(UnsupportedError, match="left_transpose = True"):
        top.MatMul.adopt({"left_transpose": True}, types, [TensorType((1, 4))])
    kept = top.MatMul.adopt({"left_transpose": False, "extra": 1, "do_relu": True}, types, [])
    assert kept == {"do_relu": True}
