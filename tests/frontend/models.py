"""Small ONNX models for tests, and the comparison of a model with what we make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from tpuforge.compiler.frontend.onnx import load
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.passes.pipeline import optimise
from tpuforge.compiler.top.reference import run

Node = tuple[str, Sequence[str], Sequence[str], dict[str, Any]]


def model(
    nodes: Sequence[Node],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Sequence[str],
    consts: Mapping[str, np.ndarray] | None = None,
    opset: int = 13,
) -> onnx.ModelProto:
    """nodes: (op type, inputs, outputs, attributes); inputs: name -> shape."""
    graph = helper.make_graph(
        [
            helper.make_node(op, list(i), list(o), name=f"node_{k}", **a)
            for k, (op, i, o, a) in enumerate(nodes)
        ],
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (consts or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def one(
    op: str, shape: Sequence[int], *consts: Any, opset: int = 13, **attrs: Any
) -> onnx.ModelProto:
    """One node: its first input is the graph's input, the others are constants (None: absent)."""
    names = ["x", *("" if c is None else f"c{i}" for i, c in enumerate(consts))]
    given = {f"c{i}": np.asarray(c) for i, c in enumerate(consts) if c is not None}
    return model([(op, names, ["y"], attrs)], {"x": shape}, ["y"], given, opset)


def onnx_run(m: onnx.ModelProto | str, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    data = m if isinstance(m, str) else m.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(inputs)))


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {v.name: rng.standard_normal(v.shape).astype(np.float32) for v in graph.inputs}


def check(m: onnx.ModelProto, *, rtol: float = 1e-4, **options: Any) -> Graph:
    """The imported and the optimised graph both compute what onnxruntime makes of the model.
    Returns the optimised one."""
    expected = None
    for optimised in (False, True):
        graph = load(m, **options)
        graph.verify()
        if optimised:
            optimise(graph)
        x = random_inputs(graph)
        expected = expected or onnx_run(m, x)
        got = [v for v in (run(graph, x, threads=1)[o.name] for o in graph.outputs)]
        for e, g in zip(expected, got, strict=True):
            assert e.shape == g.shape
            np.testing.assert_allclose(g, e, rtol=rtol, atol=1e-5 * max(1, np.abs(e).max()))
    return graph
