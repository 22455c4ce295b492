"""Each pass alone: what it rewrites, what it must leave, and that the numbers stay."""

from __future__ import annotations

import numpy as np
import pytest
from tpuforge.compiler import top
from tpuforge.compiler.errors import InternalError, OptionError, UserInputError
from tpuforge.compiler.ir import Graph, TensorType, Value
from tpuforge.compiler.passes import (
    absorb_pad,
    canonical_names,
    dead_code,
    fold_affine,
    fuse_relu,
    merge_affine,
    merge_permute,
    merge_pointwise,
    merge_reshape,
    move_relu,
    pipeline,
    rename_permute,
)
from tpuforge.compiler.top.reference import run

RNG = np.random.default_rng(5)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


class Net:
    """Builds a chain: n.conv(4).relu().done()."""

    def __init__(self, *shape: int):
        self.graph = Graph("net")
        self.v = self.graph.add(top.Input, [], "x", types=[TensorType(shape)])
        self.count = 0

    def op(self, cls, *consts, others=(), **attrs) -> Net:
        self.count += 1
        name = f"{cls.__name__.lower()}{self.count}"
        operands = [self.v, *others]
        operands += [self.graph.const(f"{name}_{i}", c) for i, c in enumerate(consts)]
        self.v = self.graph.add(cls, operands, name, **attrs)
        return self

    def conv(self, channels: int, k: int = 3, bias: bool = True, **attrs) -> Net:
        w = f32(channels, self.v.shape[1] // attrs.get("group", 1), k, k)
        biases = [f32(channels)] if bias else []
        return self.op(top.Conv, w, *biases, kernel_shape=(k, k), **attrs)

    def batch_norm(self) -> Net:
        c = self.v.shape[1]
        return self.op(top.BatchNorm, f32(c), np.abs(f32(c)) + 0.5, f32(c), f32(c))

    def done(self, *outputs: Value) -> Graph:
        self.graph.outputs = list(outputs) or [self.v]
        self.graph.verify()
        return self.graph


def kinds(graph: Graph) -> list[str]:
    return [type(op).__name__ for op in graph.ops[1:]]


def check(graph: Graph, *passes, expected: list[str], name: str | None = None) -> Graph:
    """Run the passes; the numbers must stay; the operations must be those expected."""
    x = {"x": f32(*graph.inputs[0].shape) * 3}
    before = list(run(graph, x, threads=1).values())
    for p in passes:
        p.run(graph)
        graph.verify()
    after = list(run(graph, x, threads=1).values())
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4)
    assert kinds(graph) == expected
    assert name is None or graph.ops[-1].name == name
    return graph


# ---- affine operations into weights
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("group", [1, 2, 4])
def test_batch_norm_into_conv(bias, group):
    g = Net(2, 4, 6, 6).conv(8, bias=bias, group=group).batch_norm().done()
    check(g, fold_affine, expected=["Conv"], name="batchnorm2")


def test_chain_into_conv():
    n = Net(1, 4, 6, 6).conv(8).op(top.MulConst, const_val=0.5).batch_norm()
    g = n.op(top.AddConst, const_val=2.0).op(top.Scale, f32(8), f32(8)).done()
    check(g, fold_affine, expected=["Conv"], name="scale5")


def test_affine_with_relu_ends_the_chain():
    n = Net(1, 4, 6, 6).conv(8).op(top.Scale, f32(8), f32(8), do_relu=True, relu_limit=2.0)
    g = check(n.op(top.MulConst, const_val=0.5).done(), fold_affine, expected=["Conv", "MulConst"])
    assert g.ops[1].do_relu and g.ops[1].relu_limit == 2.0


@pytest.mark.parametrize("transpose", [False, True])
def test_into_matmul(transpose):
    n = Net(3, 4).op(top.MatMul, f32(5, 4) if transpose else f32(4, 5), right_transpose=transpose)
    check(n.op(top.Scale, f32(5), f32(5)).batch_norm().done(), fold_affine, expected=["MatMul"])


def test_into_matmul_of_three_dimensions():
    """Axis 1 is not the column there: only numbers fold."""
    n = Net(2, 3, 4).op(top.MatMul, f32(4, 5)).op(top.MulConst, const_val=3.0)
    check(n.done(), fold_affine, expected=["MatMul"])
    n = Net(2, 3, 4).op(top.MatMul, f32(4, 5)).op(top.Scale, f32(3), f32(3))
    check(n.done(), fold_affine, expected=["MatMul", "Scale"])


def test_shared_conv_is_left():
    n = Net(1, 4, 6, 6).conv(8)
    conv = n.v
    g = n.batch_norm().op(top.Add, others=[conv]).done()
    check(g, fold_affine, expected=["Conv", "BatchNorm", "Add"])
    n = Net(1, 4, 6, 6).conv(8)
    conv = n.v
    check(n.batch_norm().done(conv, n.v), fold_affine, expected=["Conv", "BatchNorm"])


def test_shared_weights_are_copied():
    n = Net(1, 4, 6, 6)
    w = n.graph.const("w", f32(4, 4, 1, 1))
    a = n.graph.add(top.Conv, [n.v, w], "a", kernel_shape=(1, 1))
    b = n.graph.add(top.MulConst, [a], "b", const_val=2.0)
    c = n.graph.add(top.Conv, [b, w], "c", kernel_shape=(1, 1))
    g = check(n.done(c), fold_affine, expected=["Conv", "Conv"])
    assert len({id(v) for v in g.consts()}) == 2
    np.testing.assert_array_equal(g.ops[1].arg(1).array, 2 * g.ops[2].arg(1).array)


def test_merge_affine():
    n = Net(2, 4, 3, 3).op(top.MulConst, const_val=0.5).batch_norm().op(top.AddConst, const_val=1.0)
    check(n.done(), merge_affine, expected=["Scale"], name="addconst3")
    check(Net(2, 4).batch_norm().done(), merge_affine, expected=["Scale"], name="batchnorm1")
    n = Net(2, 4).op(top.MulConst, const_val=0.5, do_relu=True).op(top.AddConst, const_val=-1.0)
    check(n.done(), merge_affine, expected=["MulConst", "AddConst"])


def test_weights_that_overflow():
    n = Net(1, 4, 6, 6).conv(8).op(top.MulConst, const_val=1e30).op(top.MulConst, const_val=1e30)
    with pytest.raises(UserInputError, match=r"layer 'mulconst2'.*no finite numbers"):
        pipeline.optimise(n.done())
    n = Net(1, 4).op(top.BatchNorm, f32(4), np.full(4, -2, np.float32), f32(4), f32(4))
    with pytest.raises(UserInputError, match=r"layer 'batchnorm1'.*negative variance"):
        pipeline.optimise(n.done())


# ---- activations
@pytest.mark.parametrize("limit", [-1.0, 6.0])
def test_fuse_relu(limit):
    g = check(
        Net(1, 4, 6, 6).conv(8).op(top.Relu, relu_limit=limit).done(),
        fuse_relu,
        expected=["Conv"],
        name="relu2",
    )
    assert g.ops[1].do_relu and g.ops[1].relu_limit == limit


def test_fuse_several_relus():
    n = (
        Net(1, 4, 6, 6)
        .conv(8)
        .op(top.Relu, relu_limit=3.0)
        .op(top.Relu)
        .op(top.Relu, relu_limit=6.0)
    )
    g = check(n.done(), fuse_relu, expected=["Conv"], name="relu4")
    assert g.ops[1].relu_limit == 3.0


def test_relu_that_stays():
    n = Net(1, 4, 6, 6).conv(8)
    conv = n.v
    check(
        n.op(top.Relu).op(top.Add, others=[conv]).done(),
        fuse_relu,
        expected=["Conv", "Relu", "Add"],
    )
    n = Net(1, 4, 6, 6).conv(8)
    conv = n.v
    check(n.op(top.Relu).done(conv, n.v), fuse_relu, expected=["Conv", "Relu"])


@pytest.mark.parametrize("pool", [top.MaxPool, top.AvgPool])
def test_pool_takes_relu(pool):
    n = Net(1, 4, 6, 6).op(pool, kernel_shape=(2, 2)).op(top.Relu, relu_limit=0.5)
    check(n.done(), fuse_relu, expected=[pool.__name__], name="relu2")


def test_relu_moves_before_concat():
    n = Net(1, 4, 6, 6)
    x = n.v
    n.conv(4, 1)
    n.op(top.Concat, others=[x, n.v], axis=1).op(top.Relu, relu_limit=2.0)
    g = check(n.done(), move_relu, expected=["Conv", "Relu", "Relu", "Concat"], name="concat2_relu")
    assert g.ops[2].name == "conv1_move_ahead_relu" and g.ops[-1].operands[0] is g.ops[2].results[0]
    check(g, fuse_relu, expected=["Conv", "Relu", "Concat"])


# ---- padding
PADS = (0, 0, 1, 2, 0, 0, 0, 1)


def test_pad_into_conv():
    n = Net(1, 4, 6, 6).op(top.Pad, paddings=PADS).conv(8, pads=(0, 1, 0, 0))
    g = check(n.done(), absorb_pad, expected=["Conv"])
    assert g.ops[1].pads == (1, 3, 0, 1)


@pytest.mark.parametrize(
    "attrs",
    [
        dict(paddings=PADS, val=1.0),
        dict(paddings=PADS, mode="edge"),
        dict(paddings=(0, 1, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_pad_that_stays(attrs):
    check(Net(1, 4, 6, 6).op(top.Pad, **attrs).conv(8).done(), absorb_pad, expected=["Pad", "Conv"])


def test_pad_into_max_pool():
    pool = dict(kernel_shape=(3, 3), strides=(2, 2))
    low = float(np.finfo(np.float32).min)
    n = Net(1, 4, 6, 6).op(top.Pad, paddings=PADS, val=low).op(top.MaxPool, **pool)
    check(n.done(), absorb_pad, expected=["MaxPool"])
    n = Net(1, 4, 6, 6).op(top.Relu).op(top.Pad, paddings=PADS).op(top.MaxPool, **pool)
    check(n.done(), absorb_pad, expected=["Relu", "MaxPool"])
    n = Net(1, 4, 6, 6).op(top.Pad, paddings=PADS).op(top.MaxPool, **pool)
    check(n.done(), absorb_pad, expected=["Pad", "MaxPool"])


def test_pad_as_large_as_the_kernel_stays():
    n = Net(1, 4, 6, 6).op(top.Relu).op(top.Pad, paddings=(0, 0, 2, 2, 0, 0, 2, 2))
    check(
        n.op(top.MaxPool, kernel_shape=(2, 2)).done(),
        absorb_pad,
        expected=["Relu", "Pad", "MaxPool"],
    )


@pytest.mark.parametrize(
    "include,own,expected",
    [
        (False, (0, 0, 0, 0), ["AvgPool"]),
        (True, (1, 1, 0, 0), ["Pad", "AvgPool"]),
        (True, (0, 0, 1, 1), ["AvgPool"]),
        (False, (1, 1, 0, 0), ["Pad", "AvgPool"]),
    ],
)
def test_pad_into_average_pool(include, own, expected):
    n = Net(1, 4, 7, 7).op(top.Pad, paddings=(0, 0, 0, 2, 0, 0, 0, 1))
    n.op(top.AvgPool, kernel_shape=(3, 3), pads=own, count_include_pad=include)
    check(n.done(), absorb_pad, expected=expected)


@pytest.mark.parametrize("size", [5, 6, 7, 8])
@pytest.mark.parametrize("kind", [top.MaxPool, top.AvgPool])
def test_pad_and_ceil_mode(size, kind):
    """Whether or not it is absorbed, the numbers stay."""
    n = Net(1, 4, size, size).op(top.Relu).op(top.Pad, paddings=(0, 0, 1, 1, 0, 0, 1, 1))
    n.op(kind, kernel_shape=(2, 2), strides=(3, 3), ceil_mode=True)
    g, x = n.done(), {"x": f32(1, 4, size, size)}
    (before,) = run(g, x).values()
    absorb_pad.run(g)
    g.verify()
    np.testing.assert_allclose(next(iter(run(g, x).values())), before, rtol=1e-5)


def test_pad_with_two_users():
    n = Net(1, 4, 6, 6).op(top.Pad, paddings=PADS)
    pad = n.v
    n.conv(8)
    first = n.v
    n.v = pad
    n.conv(8)
    g = n.op(top.Add, others=[first]).done()
    check(g, absorb_pad, expected=["Conv", "Conv", "Add"])


# ---- shapes
def test_reshapes():
    n = Net(2, 4, 3, 1).op(top.Reshape, shape=(2, 12)).op(top.Reshape, shape=(2, 12, 1, 1))
    check(n.done(), merge_reshape, expected=["Reshape"], name="reshape2")
    n = Net(2, 4).op(top.Relu).op(top.Reshape, shape=(2, 4, 1)).op(top.Reshape, shape=(2, 4))
    check(n.done(), merge_reshape, expected=["Relu"], name="relu1")


def test_reshape_used_twice():
    n = Net(2, 4, 3, 1).op(top.Reshape, shape=(2, 12))
    first = n.v
    g = n.op(top.Reshape, shape=(2, 12, 1, 1)).done(first, n.v)
    check(g, merge_reshape, expected=["Reshape", "Reshape"])
    assert all(op.x.name == "x" for op in g.ops[1:])


def test_permutes():
    there, back = (0, 2, 3, 1), (0, 3, 1, 2)
    n = Net(2, 3, 4, 5).op(top.Relu).op(top.Permute, order=there).op(top.Permute, order=back)
    check(n.done(), merge_permute, dead_code, expected=["Relu"])
    n = Net(2, 3, 4, 5).op(top.Permute, order=there).op(top.Permute, order=there)
    g = check(n.done(), merge_permute, expected=["Permute"])
    assert g.ops[1].order == (0, 3, 1, 2)
    n = Net(2, 3, 1, 1).op(top.Permute, order=there)
    check(n.done(), rename_permute, expected=["Reshape"], name="permute1")
    n = Net(2, 3, 4, 1).op(top.Permute, order=there)
    check(n.done(), rename_permute, expected=["Permute"])


# ---- pointwise convolutions
@pytest.mark.parametrize("bias", [(True, True), (True, False), (False, True), (False, False)])
def test_merge_pointwise(bias):
    n = Net(1, 4, 6, 6).conv(8, 1, bias[0], strides=(2, 2)).conv(3, 1, bias[1])
    g = check(n.done(), merge_pointwise, expected=["Conv"], name="conv2")
    assert g.ops[1].strides == (2, 2)


def test_merge_pointwise_only_where_it_pays():
    n = Net(1, 32, 6, 6).conv(16, 1).conv(96, 1)  # 512 + 1536 products against 3072
    g = check(n.done(), merge_pointwise, expected=["Conv", "Conv"])
    merge_pointwise.merge_missing(g, {"x", "conv1", "conv2"})
    assert kinds(g) == ["Conv", "Conv"]
    x = {"x": f32(1, 32, 6, 6)}
    (before,) = run(g, x).values()
    merge_pointwise.merge_missing(g, {"x", "conv2"})
    g.verify()
    assert kinds(g) == ["Conv"] and g.ops[1].name == "conv2"
    np.testing.assert_allclose(next(iter(run(g, x).values())), before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "first,second",
    [
        (dict(do_relu=True), {}),
        ({}, dict(pads=(1, 1, 1, 1))),
        (dict(group=2), {}),
        ({}, dict(group=2)),
    ],
)
def test_pointwise_that_stay(first, second):
    n = Net(1, 4, 6, 6).conv(8, 1, **first).conv(2, 1, **second)
    check(n.done(), merge_pointwise, expected=["Conv", "Conv"])


# ---- the rest
def test_dead_code():
    n = Net(1, 4, 6, 6).conv(8)
    conv = n.v
    check(
        n.op(top.Relu).op(top.MaxPool, kernel_shape=(2, 2)).done(conv), dead_code, expected=["Conv"]
    )
    n = Net(1, 4).op(top.Relu)
    n.graph.add(top.Input, [], "unused", types=[TensorType((1, 4))])
    g = n.done()
    dead_code.run(g)
    assert [v.name for v in g.inputs] == ["x", "unused"]


def test_canonical_names():
    n = Net(1, 4).op(top.Relu).op(top.Relu).op(top.Relu).op(top.Relu)
    for op, name in zip(n.graph.ops[1:], ["a", "a_1", "a", ""], strict=True):
        op.results[0].name = name
    n.graph.outputs = [n.v]
    canonical_names.run(n.graph)
    assert [v.name for v in n.graph.values()] == ["x", "a", "a_1", "a_2", "unnamed"]


# ---- pipeline
def test_pipeline_options(capsys):
    g, seen = Net(1, 4, 6, 6).conv(8).op(top.Relu).done(), []
    pipeline.optimise(
        g, print_ir_after=["fuse_relu"], hook=lambda n, g: seen.append((n, len(g.ops)))
    )
    assert [n for n, _ in seen] == list(pipeline.PASSES)
    assert seen[0][1] == 3 and seen[-1][1] == 2
    err = capsys.readouterr().err
    assert err.count("// -----") == 1 and '"top.Conv"' in err
    g = Net(1, 4, 6, 6).conv(8).op(top.Relu).done()
    assert kinds(pipeline.optimise(g, passes=["dead_code"])) == ["Conv", "Relu"]
    with pytest.raises(OptionError, match=r"unknown pass 'x'.*fuse_relu"):
        pipeline.optimise(g, print_ir_after=["x"])


def test_pipeline_names_the_pass_that_breaks_the_graph(monkeypatch):
    def broken(graph: Graph) -> None:
        graph.ops.reverse()

    monkeypatch.setitem(pipeline.PASSES, "absorb_pad", broken)
    with pytest.raises(InternalError, match="after pass absorb_pad"):
        pipeline.optimise(Net(1, 4, 6, 6).conv(8).done())


OPS = [
    "conv",
    "pointwise",
    "bn",
    "relu",
    "relu6",
    "pool",
    "avg",
    "pad",
    "scale",
    "mul",
    "add",
    "skip",
    "concat",
]


@pytest.mark.parametrize("seed", range(25))
def test_random_networks(seed):
    """The whole pipeline on random chains with branches: same numbers, no BatchNorm left."""
    rng = np.random.default_rng(seed)
    n = Net(int(rng.integers(1, 3)), 4, 9, 8)
    history = [n.v]
    for kind in rng.choice(OPS, 9):
        h, w = n.v.shape[2:]
        if kind == "conv" and min(h, w) >= 3:
            n.conv(
                int(rng.integers(1, 4)) * 2,
                pads=tuple(rng.integers(0, 2, 4)),
                bias=bool(rng.integers(2)),
            )
        elif kind == "pointwise":
            n.conv(int(rng.integers(2, 9)), 1)
        elif kind == "bn":
            n.batch_norm()
        elif kind in ("relu", "relu6"):
            n.op(top.Relu, relu_limit=6.0 if kind == "relu6" else -1.0)
        elif kind in ("pool", "avg") and min(h, w) >= 3:
            cls = top.MaxPool if kind == "pool" else top.AvgPool
            n.op(
                cls,
                kernel_shape=(3, 3),
                strides=(2, 2),
                pads=(1, 0, 0, 1),
                ceil_mode=bool(rng.integers(2)),
            )
        elif kind == "pad":
            n.op(top.Pad, paddings=(0, 0, *rng.integers(0, 2, 2), 0, 0, *rng.integers(0, 2, 2)))
        elif kind == "scale":
            n.op(top.Scale, f32(n.v.shape[1]), f32(n.v.shape[1]))
        elif kind == "mul":
            n.op(top.MulConst, const_val=float(rng.uniform(-2, 2)))
        elif kind == "add":
            n.op(top.AddConst, const_val=float(rng.uniform(-2, 2)))
        elif kind in ("skip", "concat"):
            same = [v for v in history if v.shape == n.v.shape]
            if same and kind == "skip":
                n.op(top.Add, others=[same[int(rng.integers(len(same)))]])
            elif same:
                n.op(top.Concat, others=[same[0]], axis=1)
        history.append(n.v)
    g = n.op(top.AvgPool, kernel_shape=n.v.shape[2:]).done()
    x = {"x": f32(*g.inputs[0].shape)}
    (before,) = run(g, x, threads=1).values()
    pipeline.optimise(g)
    assert "BatchNorm" not in kinds(g)
    (after,) = run(g, x, threads=1).values()
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4 * max(1, np.abs(before).max()))
