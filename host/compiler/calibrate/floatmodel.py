"""The float network as calibration sees it: an ONNX model, its named tensors in order, and the
operator behind each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from ..errors import InternalError
from ..ir import Graph
from ..passes.merge_pointwise import mergeable
from ..top.export import to_onnx
from .preprocess import Preprocess
from .samples import InputSpec


@dataclass(frozen=True)
class FloatOp:
    """An operator with the activations it reads and writes. kind: the Top name (Conv, MatMul, Add,
    ...). judged: tensors further on by which thresholds of its inputs are judged instead of by its
    outputs.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    judged: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[str, ...]:
        """Outputs and judged tensors."""
        return tuple(dict.fromkeys(self.outputs + self.judged))


@dataclass(frozen=True)
class FloatModel:
    """proto: ONNX with every tensor of `tensors` under its name; shapes: of those tensors, with
    batch.
    """

    proto: onnx.ModelProto
    inputs: tuple[InputSpec, ...]
    ops: tuple[FloatOp, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def from_graph(cls, graph: Graph) -> FloatModel:
        """A Top graph. Its Input ops tell how pictures are preprocessed. The threshold of what goes
        into 1x1 convolutions in a row is judged behind the last of them: the vendor's compiler has
        one convolution there, and so have we where it takes no longer."""
        ops = [op for op in graph.ops if type(op).__name__ != "Input"]
        computed = [r.name for op in ops for r in op.results]
        merged: dict[str, tuple[str, ...]] = {}
        for first, second in reversed(mergeable(graph)):
            merged[first.name] = merged.get(second.name, (second.name,))
        return cls(
            to_onnx(graph, computed),
            tuple(input_spec(op) for op in graph.ops if type(op).__name__ == "Input"),
            tuple(
                FloatOp(
                    type(op).__name__,
                    tuple(dict.fromkeys(v.name for v in op.inputs())),
                    tuple(r.name for r in op.results),
                    merged.get(op.name, ()),
                )
                for op in ops
            ),
            tuple(v.name for v in graph.outputs),
            {v.name: v.shape for v in graph.values()},
        )

    @property
    def tensors(self) -> list[str]:
        """Graph inputs, then every operator output, in order."""
        return [i.name for i in self.inputs] + [t for op in self.ops for t in op.outputs]


def input_spec(op: object) -> InputSpec:
    """The InputSpec of a top.Input."""
    value, attrs = op.results[0], op.attrs  # type: ignore[attr-defined]
    picture = (
        attrs.get("do_preprocess")
        and attrs.get("channel_format") != "none"
        and len(value.shape) == 4
    )
    return InputSpec(
        value.name, value.shape, Preprocess.from_attrs(value.shape, attrs) if picture else None
    )


class Runner:
    """Runs (a part of) an ONNX model with fixed shapes into buffers that are allocated once.

    `run` returns the same arrays every time: use them before the next call.
    """

    def __init__(
        self,
        proto: onnx.ModelProto,
        inputs: Sequence[str],
        outputs: Sequence[str],
        shapes: Mapping[str, tuple[int, ...]],
        threads: int,
    ):
        self.session = ort.InferenceSession(
            proto.SerializeToString(), session_options(threads), ["CPUExecutionProvider"]
        )
        self.binding = self.session.io_binding()
        self.inputs = {n: np.zeros(shapes[n], np.float32) for n in inputs}
        self.outputs = {n: np.zeros(shapes[n], np.float32) for n in outputs}
        for n in inputs:
            self.bind_input(n, self.inputs[n])
        for n in outputs:
            a = self.outputs[n]
            self.binding.bind_output(n, "cpu", 0, np.float32, a.shape, a.ctypes.data)

    def bind_input(self, name: str, array: np.ndarray) -> None:
        """Read this input from `array` (C-contiguous float32) in the next runs."""
        self.inputs[name] = array
        self.binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def run(self, feed: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """The outputs for `feed`, or for what is bound already."""
        for n, x in (feed or {}).items():
            self.bind_input(n, np.ascontiguousarray(x, np.float32))
        self.session.run_with_iobinding(self.binding)
        return self.outputs


def session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class Parts:
    """Cuts single operators out of the whole ONNX model."""

    def __init__(self, model: FloatModel):
        graph = model.proto.graph
        self.model = model
        self.nodes = list(graph.node)
        self.index = {o: k for k, n in enumerate(self.nodes) for o in n.output if o}
        self.constants = {i.name: i for i in graph.initializer}

    def of(self, op: FloatOp) -> onnx.ModelProto:
        """A model with the nodes from op.inputs to op.results."""
        indices, constants = self._between(set(op.inputs), op.results)
        whole = self.model.proto
        proto = onnx.ModelProto(ir_version=whole.ir_version, opset_import=whole.opset_import)
        proto.graph.name = op.outputs[0]
        proto.graph.node.extend(self.nodes[i] for i in indices)
        proto.graph.initializer.extend(self.constants[c] for c in constants)
        proto.graph.input.extend(self._info(n) for n in op.inputs)
        proto.graph.output.extend(self._info(n) for n in op.results)
        return proto

    def _info(self, name: str) -> onnx.ValueInfoProto:
        shape = self.model.shapes[name]
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    def _between(self, start: set[str], ends: Iterable[str]) -> tuple[list[int], list[str]]:
        indices: set[int] = set()
        constants: dict[str, None] = {}
        waiting = list(ends)
        while waiting:
            name = waiting.pop()
            if not name or name in start:
                continue
            if name in self.constants:
                constants[name] = None
                continue
            if name not in self.index:
                raise InternalError(
                    f"the float model computes {ends} from {name!r}, which the graph does not hold"
                )
            if self.index[name] not in indices:
                indices.add(self.index[name])
                waiting.extend(self.nodes[self.index[name]].input)
        return sorted(indices), list(constants)
