"""Every converter against onnxruntime on the original model, over the opsets that change it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from frontend.models import check, model, one
from onnx import TensorProto, helper
from tpuforge.compiler.errors import UnsupportedError
from tpuforge.compiler.frontend.onnx import load

RNG = np.random.default_rng(7)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


CONVS = [
    dict(kernel_shape=[3, 3]),
    dict(kernel_shape=[3, 3], pads=[1, 0, 2, 1], strides=[2, 3]),
    dict(kernel_shape=[3, 3], dilations=[2, 3], pads=[2, 3, 2, 3]),
    dict(kernel_shape=[3, 3], group=2, pads=[1, 1, 1, 1]),
    dict(kernel_shape=[3, 3], group=6),
    dict(auto_pad="SAME_UPPER", strides=[2, 2]),
    dict(auto_pad="SAME_LOWER", strides=[3, 2]),
    dict(auto_pad="VALID", strides=[2, 1]),
    dict(),
]


@pytest.mark.parametrize("attrs", CONVS, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_conv(attrs, bias):
    w = f32(12, 6 // attrs.get("group", 1), 3, 3)
    graph = check(one("Conv", [2, 6, 9, 12], w, f32(12) if bias else None, **attrs))
    assert [type(o).__name__ for o in graph.ops] == ["Input", "Conv"]
    assert graph.ops[1].name == "y_Conv"


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("bias", ["row", "matrix", "scalar", "none"])
def test_gemm(trans_a, trans_b, bias):
    c = dict(row=f32(5), matrix=f32(1, 5), scalar=f32(1), none=None)[bias]
    shape = [4, 3] if trans_a else [3, 4]
    check(
        one(
            "Gemm",
            shape,
            f32(5, 4) if trans_b else f32(4, 5),
            *([] if c is None else [c]),
            transA=trans_a,
            transB=trans_b,
            alpha=0.5,
            beta=2.0,
        )
    )


def test_gemm_plain_keeps_its_bias():
    graph = check(one("Gemm", [1, 4], f32(5, 4), f32(5), transB=1))
    assert [v.name for v in graph.consts()] == ["c0_fix", "c1"]
    assert graph.ops[1].name == "y_Gemm"


@pytest.mark.parametrize("shape", [[3, 4], [2, 3, 4], [1, 2, 3, 4]])
def test_matmul(shape):
    check(one("MatMul", shape, f32(4, 5)))


def test_matmul_with_ones_in_front():
    check(one("MatMul", [2, 3, 4], f32(1, 4, 5)))
    with pytest.raises(UnsupportedError, match="must be a matrix"):
        load(one("MatMul", [3, 4], f32(1, 4, 5)))
    with pytest.raises(UnsupportedError, match="must be a matrix"):
        load(one("MatMul", [2, 3, 4], f32(2, 4, 5)))


@pytest.mark.parametrize("bias", [f32(5), f32(1, 5), f32(1, 1, 5)])
def test_matmul_of_three_dimensions_and_bias(bias):
    m = model(
        [("MatMul", ["x", "w"], ["a"], {}), ("Add", ["b", "a"], ["y"], {})],
        {"x": [2, 3, 4]},
        ["y"],
        {"w": f32(4, 5), "b": bias},
    )
    graph = check(m)
    assert [type(o).__name__ for o in graph.ops] == ["Input", "MatMul"]
    m.graph.output.append(helper.make_empty_tensor_value_info("a"))
    assert [type(o).__name__ for o in check(m).ops] == ["Input", "MatMul", "MatMul"]


def test_matmul_and_bias_are_one():
    m = model(
        [("MatMul", ["x", "w"], ["a"], {}), ("Add", ["b", "a"], ["y"], {})],
        {"x": [3, 4]},
        ["y"],
        {"w": f32(4, 5), "b": f32(5)},
    )
    graph = check(m)
    assert [o.name for o in graph.ops] == ["x", "y_Gemm"]


@pytest.mark.parametrize("opset", [7, 9, 14, 15, 22])
def test_batch_norm(opset):
    var = np.abs(f32(5)) + 0.1
    check(one("BatchNormalization", [2, 5, 3, 4], f32(5), f32(5), f32(5), var, opset=opset))


@pytest.mark.parametrize("opset", [7, 13, 14])
def test_relu(opset):
    check(one("Relu", [2, 3, 4, 5], opset=opset))


def test_clip_attributes():
    graph = check(one("Clip", [2, 3, 4, 5], opset=10, min=0.0, max=6.0))
    assert type(graph.ops[1]).__name__ == "Relu" and graph.ops[1].relu_limit == 6.0
    assert graph.ops[1].name == "y_Clip"
    check(one("Clip", [2, 3, 4, 5], opset=7, min=-0.5, max=0.25))
    check(one("Clip", [2, 3, 4, 5], opset=7))


@pytest.mark.parametrize(
    "low,high", [(0, 6), (0, None), (None, 0.5), (-1, 1), (None, None), (0, 0)]
)
@pytest.mark.parametrize("opset", [11, 13])
def test_clip_inputs(low, high, opset):
    limits = [None if v is None else np.float32(v) for v in (low, high)]
    check(one("Clip", [2, 3, 4, 5], *limits, opset=opset))


@pytest.mark.parametrize("slope", [f32(5, 1, 1), f32(1), f32(1, 5, 1, 1), f32(1, 1, 1)])
def test_prelu(slope):
    check(one("PRelu", [2, 5, 3, 4], slope))


def test_leaky_relu():
    check(one("LeakyRelu", [2, 5], alpha=0.3))
    check(one("LeakyRelu", [2, 5]))


POOLS = [
    dict(kernel_shape=[2, 2], strides=[2, 2]),
    dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    dict(kernel_shape=[3, 2], strides=[3, 2], pads=[2, 0, 1, 1], ceil_mode=1),
    dict(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1),
    dict(kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1),
    dict(kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    dict(kernel_shape=[2, 3], strides=[1, 2], auto_pad="SAME_LOWER"),
    dict(kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID"),
    dict(kernel_shape=[2, 2]),
]


@pytest.mark.parametrize("attrs", POOLS, ids=str)
@pytest.mark.parametrize("size", [(7, 8), (10, 13)])
@pytest.mark.parametrize("opset", [11, 19, 22])
def test_max_pool(attrs, size, opset):
    check(one("MaxPool", [2, 3, *size], opset=opset, **attrs))


#: before 1.24 it divides wrongly where ceil_mode or auto_pad adds positions behind padding that
#: counts
OLD_ONNXRUNTIME = tuple(int(n) for n in ort.__version__.split(".")[:2]) < (1, 24)


@pytest.mark.parametrize("attrs", POOLS, ids=str)
@pytest.mark.parametrize("size", [(7, 8), (10, 13)])
@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("opset", [11, 19])
def test_average_pool(attrs, size, include, opset):
    reaches = attrs.get("ceil_mode") or "SAME" in attrs.get("auto_pad", "")
    if include and reaches and OLD_ONNXRUNTIME:
        pytest.skip(f"onnxruntime {ort.__version__} divides averages over padding wrongly")
    check(one("AveragePool", [2, 3, *size], opset=opset, count_include_pad=include, **attrs))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pool(op):
    graph = check(one(op, [2, 3, 7, 5]))
    assert graph.ops[1].kernel_shape == (7, 5)


@pytest.mark.parametrize("keep", [0, 1])
def test_reduce_mean(keep):
    check(one("ReduceMean", [2, 3, 7, 5], opset=13, axes=[2, 3], keepdims=keep))
    check(one("ReduceMean", [2, 3, 7, 5], opset=13, axes=[-1, -2], keepdims=keep))
    check(one("ReduceMean", [2, 3, 7, 5], np.array([2, 3]), opset=18, keepdims=keep))


OPERANDS = {
    "number": np.float32(1.5),
    "one": f32(1),
    "channel": f32(5, 1, 1),
    "full": f32(1, 5, 1, 1),
    "same": np.full((5, 3, 4), 0.5, np.float32),
}


@pytest.mark.parametrize(
    ("op", "first"),
    [(op, first) for op in ("Add", "Sub", "Mul", "Div") for first in (True, False)][:-1],
)  # a constant divided by a tensor is not supported: see test_onnx_errors.py
@pytest.mark.parametrize("kind", OPERANDS)
def test_constant_operand(op, kind, first):
    names = ["x", "c"] if first else ["c", "x"]
    check(model([(op, names, ["y"], {})], {"x": [2, 5, 3, 4]}, ["y"], {"c": OPERANDS[kind]}))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_two_tensors(op):
    shapes = {"a": [2, 5, 3, 4], "b": [2, 5, 3, 4]}
    check(model([(op, ["a", "b"], ["y"], {})], shapes, ["y"]))


def test_sum():
    shapes = {"a": [2, 3], "b": [2, 3], "c": [2, 3]}
    m = model([("Sum", ["a", "k", "b", "c", "k"], ["y"], {})], shapes, ["y"], {"k": f32(1)})
    check(m)


def test_concat():
    m = model(
        [("Concat", ["a", "b", "a"], ["y"], dict(axis=-3))],
        {"a": [2, 3, 4, 5], "b": [2, 1, 4, 5]},
        ["y"],
    )
    assert check(m).ops[-1].axis == 1


def test_pad():
    pads = [0, 0, 1, 2, 0, 0, 3, 0]
    check(one("Pad", [1, 2, 5, 6], opset=10, pads=pads, mode="constant", value=1.5))
    check(one("Pad", [1, 2, 5, 6], np.array(pads), np.float32(-2), opset=13))
    check(one("Pad", [1, 2, 5, 6], np.array(pads), opset=13, mode="reflect"))
    check(one("Pad", [1, 2, 5, 6], np.array(pads), opset=13, mode="edge"))
    axes = np.array([3, -2])
    check(one("Pad", [1, 2, 5, 6], np.array([1, 2, 0, 1]), None, axes, opset=18))


@pytest.mark.parametrize(
    "m",
    [
        one("Reshape", [2, 3, 4, 5], np.array([0, -1])),
        one("Reshape", [2, 3, 4, 5], np.array([2, 3, 20]), opset=14, allowzero=1),
        one("Flatten", [2, 3, 4, 5], axis=1),
        one("Flatten", [2, 3, 4, 5], axis=-1),
        one("Flatten", [2, 3, 4, 5], axis=0),
        one("Squeeze", [2, 1, 4, 1]),
        one("Squeeze", [2, 1, 4, 1], opset=11, axes=[1]),
        one("Squeeze", [2, 1, 4, 1], np.array([-1])),
        one("Unsqueeze", [2, 3], np.array([0, -1])),
        one("Unsqueeze", [2, 3], opset=11, axes=[1, 3]),
        one("Transpose", [2, 3, 4, 5], perm=[0, 2, 3, 1]),
        one("Transpose", [2, 3, 4]),
        one("Transpose", [2, 3, 1, 1], perm=[0, 2, 3, 1]),
        one("Clip", [2, 3]),
        one("Pad", [2, 3, 4, 5], np.zeros(8, np.int64)),
        one("Identity", [2, 3]),
        one("Dropout", [2, 3]),
        one("Dropout", [2, 3], opset=10, ratio=0.4),
        one("Cast", [2, 3], to=TensorProto.FLOAT),
        one("Softmax", [2, 7]),
        one("Softmax", [2, 3, 4, 5], axis=1),
        one("Softmax", [2, 7], opset=11),
        one("Softmax", [2, 7, 1, 1], opset=11),
        one("Softmax", [2, 7, 1, 1], opset=7, axis=1),
    ],
    ids=lambda m: m.graph.node[0].op_type,
)
def test_shapes_and_rest(m):
    if m.graph.node[0].op_type in (
        "Identity",
        "Dropout",
        "Cast",
        "Clip",
        "Pad",
    ):  # a network must do something
        m.graph.node[0].output[0] = "z"
        m.graph.node.append(helper.make_node("Relu", ["z"], ["y"]))
    check(m)


def test_shape_arithmetic_is_folded():
    """What PyTorch exports for x.view(x.size(0), -1) and for a size computed from another."""
    nodes = [
        ("Shape", ["x"], ["s"], {}),
        ("Gather", ["s", "zero"], ["n"], dict(axis=0)),
        ("Unsqueeze", ["n", "axis"], ["n1"], {}),
        ("Concat", ["n1", "rest"], ["target"], dict(axis=0)),
        ("Reshape", ["x", "target"], ["flat"], {}),
        ("Slice", ["s", "axis", "two"], ["head"], {}),
        ("ReduceProd", ["head"], ["p"], dict(keepdims=0)),
        ("Cast", ["p"], ["pf"], dict(to=TensorProto.FLOAT)),
        ("Sqrt", ["pf"], ["root"], {}),
        ("Mul", ["flat", "root"], ["y"], {}),
    ]
    consts = dict(zero=np.array(0), axis=np.array([0]), rest=np.array([-1]), two=np.array([2]))
    m = model(nodes, {"x": ["n", 3, 4, 4]}, ["y"], consts)
    graph = check(m, input_shapes=[[3, 3, 4, 4]])
    assert graph.outputs[0].shape == (3, 48) and not graph.consts()


def test_weights_computed_from_constants():
    """A filter that is made by nodes (quantised and transposed storage) is a constant."""
    nodes = [
        ("Transpose", ["w"], ["t"], dict(perm=[3, 2, 0, 1])),
        ("Mul", ["t", "k"], ["w2"], {}),
        ("Conv", ["x", "w2"], ["y"], {}),
    ]
    check(model(nodes, {"x": [1, 4, 6, 6]}, ["y"], dict(w=f32(3, 3, 4, 8), k=np.float32(0.5))))


def test_constant_nodes():
    value = onnx.numpy_helper.from_array(f32(3))
    nodes = [
        ("Constant", [], ["k"], dict(value_float=2.0)),
        ("Constant", [], ["v"], dict(value=value)),
        ("Mul", ["x", "k"], ["a"], {}),
        ("Add", ["a", "v"], ["y"], {}),
    ]
    graph = check(model(nodes, {"x": [2, 3]}, ["y"]))
    assert [o.name for o in graph.ops] == ["x", "y_Add"]


@pytest.mark.parametrize("opset", [7, 8, 10, 12, 13, 16, 18, 20, 22])
def test_network_in_every_opset(opset):
    """Conv, Relu, MaxPool, Conv, Add, GlobalAveragePool, Flatten, Gemm."""
    nodes = [
        ("Conv", ["x", "w0", "b0"], ["a"], dict(pads=[1, 1, 1, 1])),
        ("Relu", ["a"], ["b"], {}),
        ("MaxPool", ["b"], ["c"], dict(kernel_shape=[2, 2], strides=[2, 2])),
        ("Conv", ["c", "w1"], ["d"], dict(pads=[1, 1, 1, 1])),
        ("Add", ["d", "c"], ["e"], {}),
        ("GlobalAveragePool", ["e"], ["f"], {}),
        ("Flatten", ["f"], ["g"], {}),
        ("Gemm", ["g", "w2", "b2"], ["y"], dict(transB=1)),
    ]
    consts = dict(w0=f32(6, 3, 3, 3), b0=f32(6), w1=f32(6, 6, 3, 3), w2=f32(4, 6), b2=f32(4))
    graph = check(model(nodes, {"x": [1, 3, 8, 8]}, ["y"], consts, opset))
    assert [o.name for o in graph.ops] == [
        "x",
        "b_Relu",
        "c_MaxPool",
        "d_Conv",
        "e_Add",
        "f_GlobalAveragePool",
        "g_Flatten",
        "y_Gemm",
    ]


def test_half_precision_weights():
    w = f32(4, 3, 1, 1).astype(np.float16)
    m = one("Conv", [1, 3, 4, 4], w)
    graph = load(m)
    assert graph.consts()[0].array.dtype == np.float32
    np.testing.assert_array_equal(graph.consts()[0].array, w.astype(np.float32))


def test_opset_out_of_range():
    with pytest.raises(UnsupportedError, match=r"operator set 6.*7 to 22"):
        load(one("Relu", [1, 2], opset=6))
    with pytest.raises(UnsupportedError, match="operator set 23"):
        load(one("Relu", [1, 2], opset=23))
