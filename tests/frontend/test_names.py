"""Tensor names of small models, as the vendor's model_transform 1.30.2 gives them (measured; it
simplifies the ONNX model before it names anything). And what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from frontend.models import check, model, onnx_run, random_inputs
from onnx import helper
from tpuforge.compiler.passes.origins import origins
from tpuforge.compiler.top.reference import run

RNG = np.random.default_rng(3)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


CONSTS = dict(
    w=f32(8, 3, 3, 3), b=f32(8), g=f32(8), be=f32(8), m=f32(8), v=np.abs(f32(8)) + 0.5,
    k=f32(8, 1, 1), k2=f32(8, 1, 1), s=np.float32(0.3), w2=f32(8, 8, 1, 1), fc=f32(8, 5), fb=f32(5),
    zero=np.float32(0), six=np.float32(6), sh=np.array([1, 8, -1]), sh2=np.array([1, -1]),
    fw=f32(288, 5),
)  # fmt: skip
CONV = ("Conv", ["x", "w", "b"], ["c"], {})
BARE = ("Conv", ["x", "w"], ["c"], {})
HEAD = [CONV, ("GlobalAveragePool", ["c"], ["p"], {}), ("Flatten", ["p"], ["fl"], {})]
HALF = dict(kernel_shape=[2, 2], strides=[2, 2])


def op(kind, *names, **attrs):
    """The last name is the output."""
    return (kind, list(names[:-1]), [names[-1]], attrs)


def norm(x, y):
    return op("BatchNormalization", x, "g", "be", "m", "v", y)


HEAD_NAMES = "c_Conv p_GlobalAveragePool fl_Flatten"
SAME = {
    "norm is the output": ([CONV, norm("c", "y")], "y_Conv"),
    "norm": ([BARE, norm("c", "n"), op("Conv", "n", "w2", "y")], "c_Conv y_Conv"),
    "norm, relu": ([CONV, norm("c", "n"), op("Relu", "n", "y")], "y_Relu"),
    "norm used beside": ([CONV, norm("c", "n"), op("Add", "c", "n", "y")],
                         "c_Conv n_BatchNormalization y_Add"),
    "factor": ([CONV, op("Mul", "c", "k", "m1"), op("MaxPool", "m1", "y", **HALF)],
               "c_Conv y_MaxPool"),
    "factor is the output": ([CONV, op("Mul", "c", "s", "y")], "y_Conv"),
    "factor, relu": ([CONV, op("Mul", "c", "k", "m1"), op("Relu", "m1", "y")], "y_Relu"),
    "first bias": ([BARE, op("Add", "c", "k", "a"), op("Conv", "a", "w2", "y")], "c_Conv y_Conv"),
    "first bias is the output": ([BARE, op("Add", "c", "k", "y")], "y_Conv"),
    "matmul, bias": ([*HEAD, op("MatMul", "fl", "fc", "mm"), op("Add", "mm", "fb", "a"),
                      op("Softmax", "a", "y", axis=1)], f"{HEAD_NAMES} a_Gemm y_Softmax"),
    "gemm, bias": ([*HEAD, op("Gemm", "fl", "fc", "mm"), op("Add", "mm", "fb", "a"),
                    op("Softmax", "a", "y", axis=1)], f"{HEAD_NAMES} a_Add y_Softmax"),
    "identity at the end": ([CONV, op("Relu", "c", "r"), op("Identity", "r", "y")], "y_Relu"),
    "norm, dropout": ([CONV, norm("c", "n"), op("Dropout", "n", "y")], "y_Conv"),
    "identity between": ([CONV, op("Identity", "c", "i"), op("Relu", "i", "r"),
                          op("MaxPool", "r", "y", **HALF)], "r_Relu y_MaxPool"),
    "max pool, relu": ([CONV, op("MaxPool", "c", "p", **HALF), op("Relu", "p", "y")],
                       "c_Conv y_Relu"),
    "average pool, relu": ([CONV, op("AveragePool", "c", "p", **HALF), op("Relu", "p", "r"),
                            op("Conv", "r", "w2", "y")], "c_Conv r_Relu y_Conv"),
    "concat, relu": ([CONV, op("Conv", "x", "w", "d"), op("Concat", "c", "d", "cc", axis=1),
                      op("Relu", "cc", "y")],
                     "c_Conv_move_ahead_relu d_Conv_move_ahead_relu cc_Concat_relu"),
    "concat, relu, shared": (
        [CONV, op("Conv", "x", "w", "d"), op("Concat", "c", "d", "cc", axis=1),
         op("Clip", "cc", "zero", "six", "r"), op("MaxPool", "r", "q", **HALF),
         op("MaxPool", "c", "q2", **HALF), op("Concat", "q", "q2", "y", axis=1)],
        "c_Conv d_Conv_move_ahead_relu c_Conv_move_ahead_relu cc_Concat_relu q_MaxPool q2_MaxPool "
        "y_Concat"),
    "pointwise": ([CONV, op("Conv", "c", "w2", "d"), op("Conv", "d", "w2", "y")], "c_Conv y_Conv"),
    "reshapes": ([CONV, op("Reshape", "c", "sh", "r1"), op("Reshape", "r1", "sh2", "r2"),
                  op("MatMul", "r2", "fw", "y")], "c_Conv r2_Reshape y_MatMul"),
    "pads of a mean": ([CONV, op("ReduceMean", "c", "q", axes=[2, 3], keepdims=0),
                        op("MatMul", "q", "fc", "y")], "c_Conv q_ReduceMean y_MatMul"),
}  # fmt: skip
OURS = {  # we merge more; the name is that of the last
    "second bias": ([CONV, op("Add", "c", "k", "a"), op("Conv", "a", "w2", "y")], "a_Add y_Conv"),
    "factor, bias": ([CONV, op("Mul", "c", "k", "m1"), op("Add", "m1", "k2", "a"),
                      op("Conv", "a", "w2", "y")], "a_Add y_Conv"),
    "norm, factor": ([CONV, norm("c", "n"), op("Mul", "n", "k", "m1"),
                      op("MaxPool", "m1", "y", **HALF)], "m1_Mul y_MaxPool"),
}  # fmt: skip


def build(nodes):
    used = {i for _, ins, _, _ in nodes for i in ins}
    consts = {n: c for n, c in CONSTS.items() if n in used}
    return model(nodes, {"x": [1, 3, 8, 8]}, ["y"], consts)


@pytest.mark.parametrize("case", [*SAME, *OURS])
def test_names(case):
    nodes, expected = (SAME | OURS)[case]
    graph = check(build(nodes))
    assert " ".join(o.name for o in graph.ops[1:]) == expected


@pytest.mark.parametrize("case", [*SAME, *OURS])
def test_values_equal_the_tensors_that_they_are_named_after(case):
    """<tensor>_<OpType> equals <tensor>, unless `origins` names another tensor. Only what has no
    such name (moved relus) is left out."""
    nodes, _ = (SAME | OURS)[case]
    m = build(nodes)
    graph = check(m)
    tensors = {f"{n.output[0]}_{n.op_type}": n.output[0] for n in m.graph.node} | origins(graph)
    wanted = {v.name: tensors[v.name] for v in graph.values() if v.name in tensors}
    assert [n for n in graph.values() if n.name not in wanted and "ahead" not in n.name] == (
        graph.inputs
    )
    del m.graph.output[:]
    m.graph.output.extend(helper.make_empty_tensor_value_info(t) for t in set(wanted.values()))
    x = random_inputs(graph)
    theirs = dict(zip([o.name for o in m.graph.output], onnx_run(m, x), strict=True))
    ours = run(graph, x, "all", threads=1)
    for name, tensor in wanted.items():
        np.testing.assert_allclose(ours[name], theirs[tensor], rtol=1e-3, atol=1e-3)


def test_two_names_for_one_output():
    """Both are outputs of the compiled file."""
    nodes = [CONV, op("Identity", "c", "i"), op("Relu", "x", "z")]
    m = model(nodes, {"x": [1, 3, 8, 8]}, ["c", "i", "z"], {n: CONSTS[n] for n in "wb"})
    graph = check(m)
    assert [v.name for v in graph.outputs] == ["c_Conv", "i_Identity", "z_Relu"]
