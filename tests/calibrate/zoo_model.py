"""A FloatModel straight from an ONNX file of the zoo, without our front end (an independent way to
the same tensors).

Convolution or addition followed by its only user Relu/Clip is one operator named after the last
(cli.md section 3.4). As in the vendor's tables, a 1x1 convolution without activation whose only
user is a 1x1 convolution is one operator with it.
"""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from onnx import shape_inference
from tpuforge.compiler.calibrate.floatmodel import FloatModel, FloatOp
from tpuforge.compiler.calibrate.preprocess import Preprocess
from tpuforge.compiler.calibrate.samples import InputSpec

KINDS = {"Gemm": "MatMul", "GlobalAveragePool": "AvgPool", "Flatten": "Reshape"}


def float_model(path: str | Path, preprocessing: dict) -> FloatModel:
    proto = shape_inference.infer_shapes(onnx.load(os.fspath(path)))
    graph = proto.graph
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    constants = {i.name for i in graph.initializer}
    given = [v for v in graph.input if v.name not in constants]
    infos = {v.name: v for v in [*given, *graph.value_info, *graph.output]}
    shape_of = {
        n: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for n, v in infos.items()
    }
    renamed, ops, fused = {v.name: v.name for v in given}, [], set()
    for node in graph.node:
        if id(node) in fused:
            continue
        last = node
        while (
            (after := users.get(last.output[0], [])) and len(after) == 1 and joins(last, after[0])
        ):
            last = after[0]
            fused.add(id(last))
        name = f"{last.output[0]}_{last.op_type}"
        renamed[last.output[0]] = name
        ins = tuple(dict.fromkeys(renamed[i] for i in node.input if i in renamed))
        ops.append(FloatOp(KINDS.get(node.op_type, node.op_type), ins, (name,)))
    for node in graph.node:
        node.input[:] = [renamed.get(i, i) for i in node.input]
        node.output[:] = [renamed.get(o, o) for o in node.output]
    shapes = {renamed[n]: s for n, s in shape_of.items() if n in renamed}
    outputs = tuple(renamed[o.name] for o in graph.output)
    del graph.output[:], graph.value_info[:]
    graph.output.extend(
        onnx.helper.make_tensor_value_info(t, onnx.TensorProto.FLOAT, shapes[t])
        for op in ops
        for t in op.outputs
    )
    inputs = tuple(
        InputSpec(v.name, shapes[v.name], Preprocess.from_attrs(shapes[v.name], preprocessing))
        for v in given
    )
    return FloatModel(proto, inputs, tuple(ops), outputs, shapes)


def joins(first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
    if first.op_type in ("Conv", "Add", "Gemm") and second.op_type in ("Relu", "Clip"):
        return True
    kernels = [
        list(a.ints)
        for n in (first, second)
        if n.op_type == "Conv"
        for a in n.attribute
        if a.name == "kernel_shape"
    ]
    return kernels == [[1, 1], [1, 1]]
