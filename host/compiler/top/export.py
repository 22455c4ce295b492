"""Top graph -> ONNX: the float reference of the project (calibration and verification run it in
onnxruntime).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper

from ..errors import InternalError
from ..ir import Graph, Value
from .activation import relu_to_onnx
from .base import Fusable, TopOp
from .data import Input

OPSET, IR_VERSION = 17, 8


SMALL = 16  # elements of a constant that is worth reading


class _Builder:
    """Collects nodes and initializers; equal constants without a name are stored once. small_only:
    larger constants have type and shape, but no values."""

    def __init__(self, small_only: bool = False) -> None:
        self.small_only = small_only
        self.nodes: list[onnx.NodeProto] = []
        self.inits: list[onnx.TensorProto] = []
        self.names: set[str] = set()
        self.by_id: dict[int, str] = {}
        self.scalars: dict[bytes, str] = {}

    def unique(self, hint: str) -> str:
        name, i = hint, 0
        while name in self.names:
            i += 1
            name = f"{hint}/{i}"
        self.names.add(name)
        return name

    def node(self, op_type: str, inputs: list[str], output: str, **attrs: Any) -> str:
        attrs = {k: list(v) if isinstance(v, tuple) else v for k, v in attrs.items()}
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attrs))
        return output

    def const(self, value: Value | np.ndarray, hint: str = "") -> str:
        if isinstance(value, Value):
            if id(value) not in self.by_id:
                self.by_id[id(value)] = self._store(value.array, value.name)
            return self.by_id[id(value)]
        if hint:
            return self._store(value, hint)
        key = np.asarray(value).tobytes()
        if key not in self.scalars:
            self.scalars[key] = self._store(value, "constant")
        return self.scalars[key]

    def _store(self, data: np.ndarray, hint: str) -> str:
        name = self.unique(hint)
        array = np.asarray(data)
        if self.small_only and array.size > SMALL:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            self.inits.append(onnx.TensorProto(name=name, data_type=kind, dims=array.shape))
        else:
            self.inits.append(numpy_helper.from_array(array, name))
        return name


def to_text(graph: Graph) -> str:
    """The graph in ONNX as text (protobuf's text format), for people and viewers: constants of more
    than 16 elements have no values."""
    return text_format.MessageToString(to_onnx(graph, small_only=True))


def to_onnx(
    graph: Graph, extra_outputs: str | Iterable[str] | None = None, *, small_only: bool = False
) -> onnx.ModelProto:
    """The graph in standard ONNX (opset 17). Tensor names are the names of the values; batch and
    shapes are the graph's.

    A fused activation becomes a Relu or Clip node behind its op (the tensor before it is named
    <name>/linear). extra_outputs: names of values that become outputs after the graph's own, or
    "all". small_only: without the values of constants of more than 16 elements. Raises
    InternalError for an unknown name.
    """
    b = _Builder(small_only)
    b.names.update(v.name for v in graph.values())
    for op in graph.ops:
        _emit(b, op)
    inputs = [_info(v) for v in graph.inputs]
    outputs = [_info(v) for v in _outputs(graph, extra_outputs)]
    g = helper.make_graph(b.nodes, graph.name, inputs, outputs, b.inits)
    return helper.make_model(
        g,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tpuforge",
    )


def _outputs(graph: Graph, extra: str | Iterable[str] | None) -> list[Value]:
    wanted = list(dict.fromkeys(graph.outputs))
    by_name = {v.name: v for v in graph.values()}
    names = (
        list(by_name)
        if extra == "all"
        else [extra]
        if isinstance(extra, str)
        else list(extra or ())
    )
    unknown = [n for n in names if n not in by_name]
    if unknown:
        raise InternalError(f"the graph has no values named {', '.join(unknown)}")
    wanted += [by_name[n] for n in dict.fromkeys(names) if by_name[n] not in wanted]
    return wanted


def _emit(b: _Builder, op: Any) -> None:
    if isinstance(op, Input):
        return
    if not isinstance(op, TopOp):
        raise InternalError(f"{op!r} is not a Top operation and has no float form")
    ins = ["" if v is None else b.const(v) if v.is_const else v.name for v in op.operands]
    if not isinstance(op, Fusable) or not op.do_relu:
        op.to_onnx(b, ins, op.name)
        return
    linear = b.unique(f"{op.name}/linear")
    op.to_onnx(b, ins, linear)
    relu_to_onnx(b, linear, op.name, op.relu_limit)


def _info(v: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(v.name, TensorProto.FLOAT, v.shape)
