"""ONNX model -> Top graph. Converters of single operations are in the files onnx_*.py beside."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper

from ..errors import TpuforgeError, UnsupportedError, UserInputError
from ..ir import Graph, TensorType, Value
from ..passes import canonical_names
from ..passes.origins import note_origin
from ..top import Input, Reshape, ShapeError
from . import onnx_activation, onnx_conv, onnx_eltwise, onnx_pool, onnx_shape  # noqa: F401  (they register themselves)
from .onnx_file import opset_of, read_model, tensor_array
from .onnx_fold import fold, foldable
from .onnx_node import CONVERTERS, Node, NotSupported, Weights

Preprocess = Mapping[str, Any]
FLOAT_TYPES = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
)
LONGEST_NAME = 4096  # of a tensor; it becomes part of names inside .npz files


class _Unknown:
    """Stands for a tensor that can not be had; reason: to be reported when somebody uses it."""

    def __init__(self, reason: str = ""):
        self.reason = reason


def load(
    path_or_model: str | Path | bytes | onnx.ModelProto,
    *,
    name: str | None = None,
    input_shapes: Sequence[Sequence[int]] | None = None,
    output_names: Sequence[str] | None = None,
    preprocess: Preprocess | Sequence[Preprocess | None] | None = None,
) -> Graph:
    """Read an ONNX model (opset 7 to 22) as a Top graph, not yet optimised.

    name: of the module (default: the file's stem). input_shapes: one shape per input, in order;
    replaces the shapes of the model. output_names: ONNX tensors that become the outputs, in this
    order; nodes behind them are dropped. preprocess: attributes of Input for all inputs, or a list
    with one entry (or None) per input.

    UserInputError: missing, damaged or contradictory model, unknown names, shapes that do not fit.
    UnsupportedError: lists every node that can not be compiled.
    """
    model, where, folder = read_model(path_or_model)
    if name is None:
        name = (
            Path(path_or_model).stem
            if isinstance(path_or_model, str | Path)
            else model.graph.name or "model"
        )
    try:
        with np.errstate(all="ignore"):  # a model may divide by zero; weights are checked
            importer = _Importer(model, where, folder, name)
            return importer.run(input_shapes, output_names, preprocess)
    except (UnicodeDecodeError, MemoryError, RecursionError) as e:
        raise UserInputError(f"{where} is damaged: {type(e).__name__}: {e}") from e


class _Importer:
    def __init__(self, model: onnx.ModelProto, where: str, folder: Path | None, name: str):
        self.model, self.where, self.folder = model, where, folder
        self.opset = opset_of(model, where)
        self.graph = Graph(
            name, state="TOP_F32", platform="ONNX", chip="ALL", top_run_mode="STATIC"
        )
        self.weights = Weights(self.graph)
        self.inits = {t.name: t for t in model.graph.initializer}
        self.env: dict[str, Any] = {}  # tensor name -> Value | np.ndarray | _Unknown
        self.problems: list[str] = []

    def run(self, shapes: Any, output_names: Any, preprocess: Any) -> Graph:
        nodes, outputs = self.needed(output_names)
        self.declare_inputs(shapes, preprocess)
        for node in nodes:
            self.convert(node)
        if self.problems:
            raise UnsupportedError(
                f"{self.where}: {len(self.problems)} node(s) can not be compiled: "
                + "; ".join(self.problems)
                + f". Supported operations: {', '.join(sorted(CONVERTERS))}; constants are folded. "
                "Change the model, or cut it before these nodes with output_names"
            )
        for o in outputs:
            self.graph.outputs.append(self.output(o))
        for o, value in zip(outputs, self.graph.outputs, strict=True):
            self.name_output(o, value)
        canonical_names.run(self.graph)  # a tensor of the model may be called as we call another
        return self.graph

    # ---- the part of the model that is needed
    def needed(self, output_names: Sequence[str] | None) -> tuple[list[onnx.NodeProto], list[str]]:
        """Nodes that the outputs need, in an order in which they can be computed."""
        made_by = {o: node for node in self.model.graph.node for o in node.output if o}
        for name in (*(i.name for i in self.model.graph.input), *made_by):
            if len(name) > LONGEST_NAME:
                raise UserInputError(
                    f"{self.where}: the name of tensor {name[:40]!r}... has {len(name)} "
                    f"characters, at most {LONGEST_NAME} are possible"
                )
        outputs = (
            [o.name for o in self.model.graph.output]
            if output_names is None
            else list(dict.fromkeys(output_names))
        )
        inputs = {i.name for i in self.model.graph.input}
        for o in outputs:
            if o not in made_by and o not in inputs:
                near = difflib.get_close_matches(o, [*made_by, *inputs], 3, 0.4)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                raise UserInputError(
                    f"{self.where} has no tensor {o!r} that could be an output{hint}"
                )
        order: list[onnx.NodeProto] = []
        state: dict[int, int] = {}  # id of node -> 1 being visited, 2 done
        stack = [(made_by[o], False) for o in reversed(outputs) if o in made_by]
        while stack:
            node, leave = stack.pop()
            if leave:
                state[id(node)] = 2
                order.append(node)
            elif state.get(id(node)) == 1:
                raise UserInputError(
                    f"{self.where}: node {node.name!r} ({node.op_type}) depends on its own output"
                )
            elif id(node) not in state:
                state[id(node)] = 1
                stack.append((node, True))
                stack += [
                    (made_by[i], False)
                    for i in reversed(node.input)
                    if i in made_by and state.get(id(made_by[i])) != 2
                ]
        return order, outputs

    def output(self, tensor: str) -> Value:
        """The value of an output. One that is already an output (this one is behind an Identity or
        Dropout) gets another name by a Reshape to its own shape, which costs nothing."""
        value = self.env.get(tensor)
        if not isinstance(value, Value):
            raise UserInputError(
                f"{self.where}: output {tensor!r} is a constant, not computed from an input"
            )
        if value not in self.graph.outputs:
            return value
        return self.graph.add(Reshape, [value], f"{tensor}_Identity", shape=value.shape)

    def name_output(self, tensor: str, value: Value) -> None:
        """An output behind Identity or Dropout gives its own tensor's name to what computes it."""
        made, _, kind = value.name.rpartition("_")
        if not isinstance(value.owner, Input) and made != tensor:
            if self.graph.outputs.count(value) == 1:
                value.name = f"{tensor}_{kind}"
            note_origin(self.graph, value.name, tensor)

    # ---- inputs
    def declare_inputs(self, shapes: Any, preprocess: Any) -> None:
        inputs = [i for i in self.model.graph.input if i.name not in self.inits]
        if not inputs:
            raise UserInputError(f"{self.where} has no inputs")
        if shapes is not None and len(shapes) != len(inputs):
            raise UserInputError(
                f"{self.where} has {len(inputs)} input(s) ({', '.join(i.name for i in inputs)}), "
                f"input_shapes has {len(shapes)}"
            )
        if preprocess is None or isinstance(preprocess, Mapping):
            preprocess = [preprocess] * len(inputs)
        if len(preprocess) != len(inputs):
            raise UserInputError(
                f"{len(preprocess)} preprocessing records for {len(inputs)} inputs"
            )
        for i, info in enumerate(inputs):
            if info.type.tensor_type.elem_type not in FLOAT_TYPES:
                kind = onnx.TensorProto.DataType.keys()
                code = info.type.tensor_type.elem_type
                self.env[info.name] = _Unknown(
                    f"input {info.name!r} has the element type "
                    f"{kind[code] if 0 <= code < len(kind) else code}, only float is supported"
                )
                continue
            shape = self.input_shape(info, None if shapes is None else shapes[i])
            attrs = _preprocessing(preprocess[i], shape) if preprocess[i] is not None else {}
            self.env[info.name] = self.graph.add(
                Input, [], info.name, types=[TensorType(shape)], **attrs
            )

    def input_shape(
        self, info: onnx.ValueInfoProto, given: Sequence[int] | None
    ) -> tuple[int, ...]:
        dims = info.type.tensor_type.shape.dim
        model = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims]
        known = info.type.tensor_type.HasField("shape")
        if given is not None:
            if known and len(given) != len(model):
                raise UserInputError(
                    f"input {info.name!r}: input_shapes gives {len(given)} dimensions "
                    f"{list(given)}, the model has {len(model)} {model}"
                )
            if any(int(d) != d or d < 1 for d in given):
                raise UserInputError(
                    f"input {info.name!r}: the shape {list(given)} of input_shapes is impossible"
                )
            return tuple(int(d) for d in given)
        if not known or any(isinstance(d, str) or d < 1 for d in model):
            raise UserInputError(
                f"{self.where}: input {info.name!r} has dimensions that are not fixed "
                f"{model}: give input_shapes, for example [[1,3,224,224]]"
            )
        return tuple(int(d) for d in model)

    # ---- nodes
    def lookup(self, tensor: str) -> Any:
        if not tensor:
            return None
        if tensor not in self.env:
            if tensor not in self.inits:
                raise UserInputError(
                    f"its input {tensor!r} is computed by no node, and no input or constant"
                )
            self.env[tensor] = tensor_array(self.inits[tensor], self.where, self.folder)
        return self.env[tensor]

    def attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        """Attributes as Python values: tensors as arrays, strings decoded, sub-graphs left out."""
        out: dict[str, Any] = {}
        for a in node.attribute:
            if a.type == AttributeProto.TENSOR:
                out[a.name] = tensor_array(a.t, self.where, self.folder)
            elif a.type == AttributeProto.STRING:
                out[a.name] = a.s.decode()
            elif a.type in (
                AttributeProto.INT,
                AttributeProto.FLOAT,
                AttributeProto.INTS,
                AttributeProto.FLOATS,
            ):
                value = helper.get_attribute_value(a)
                out[a.name] = value if isinstance(value, int | float) else list(value)
        return out

    def convert(self, node: onnx.NodeProto) -> None:
        """Fold the node, or emit its Top operations; what can not be done is noted and its outputs
        are unknown.
        """
        label = (
            f"{node.op_type} {node.name!r}"
            if node.name
            else f"{node.op_type} (output {', '.join(node.output)!r})"
        )
        try:
            results = self.results(node)
        except NotSupported as e:
            self.problems.append(f"{label}: {e}")
            results = []
        except ShapeError as e:
            raise UserInputError(f"{self.where}: {label}: the shapes do not fit: {e}") from None
        except UserInputError as e:
            raise UserInputError(f"{self.where}: {label}: {e}") from None
        except TpuforgeError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, ZeroDivisionError) as e:
            raise UserInputError(
                f"{self.where}: {label} is malformed: {type(e).__name__}: {e}"
            ) from e
        missing = _Unknown(
            f"only the first output of {node.op_type} is supported" if results else ""
        )
        for i, o in enumerate(node.output):
            if o:
                self.env[o] = results[i] if i < len(results) else missing

    def results(self, node: onnx.NodeProto) -> list[Any]:
        inputs = [self.lookup(i) for i in node.input]
        if node.domain not in ("", "ai.onnx"):
            raise NotSupported(f"operations of the domain {node.domain!r} are unknown")
        constant = all(v is None or isinstance(v, np.ndarray) for v in inputs)
        shape_known = node.op_type in ("Shape", "Size") and inputs and isinstance(inputs[0], Value)
        if not (shape_known or (constant and foldable(node.op_type)) or node.op_type in CONVERTERS):
            raise NotSupported("unknown operation")
        for v in inputs:
            if isinstance(v, _Unknown):
                if v.reason:
                    reason, v.reason = v.reason, ""
                    raise NotSupported(reason)
                return []
        attrs = self.attributes(node)
        if shape_known:
            inputs = [np.broadcast_to(np.float32(0), inputs[0].shape)]
        if (constant or shape_known) and foldable(node.op_type):
            return fold(node, inputs, attrs, self.opset)
        return [
            CONVERTERS[node.op_type](
                Node(node, inputs, attrs, self.opset, self.graph, self.weights)
            )
        ]


def _preprocessing(record: Preprocess, shape: tuple[int, ...]) -> dict[str, Any]:
    """Attributes of an Input; resize_dims defaults to the size of the picture."""
    attrs = {"do_preprocess": True, **record}
    unknown = set(attrs) - set(Input.declared)
    if unknown:
        raise UserInputError(
            f"unknown preprocessing attribute {', '.join(sorted(unknown))}: one of "
            f"{', '.join(Input.declared)}"
        )
    for key in ("mean", "scale"):
        if not np.isfinite(np.asarray(attrs.get(key, 0), np.float32)).all():
            raise UserInputError(f"preprocessing: {key} {attrs[key]} is not finite")
    if not attrs.get("resize_dims") and len(shape) == 4:
        attrs["resize_dims"] = shape[1:3] if attrs.get("channel_format") == "nhwc" else shape[2:4]
    return attrs
