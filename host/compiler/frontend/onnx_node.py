"""What a converter sees of an ONNX node, and the table of converters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import onnx

from ..errors import UserInputError
from ..ir import Graph, Op, Value

Converter = Callable[["Node"], Value]
CONVERTERS: dict[str, Converter] = {}


def converts(*op_types: str) -> Callable[[Converter], Converter]:
    """Register a function for these ONNX operations; it emits Top operations and returns the value
    of the first output.
    """

    def note(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(op_types, function))
        return function

    return note


class NotSupported(Exception):
    """A node can not be converted; the text is the reason. The importer collects them all."""


class Weights:
    """Constants of the graph in the making: the same array asked twice is one Value, names are
    unique.
    """

    def __init__(self, graph: Graph):
        self.graph, self.names = graph, set[str]()
        self.made: dict[
            tuple[str, int], tuple[np.ndarray, Value]
        ] = {}  # holds the array, so that its id stays its own

    def get(self, name: str, data: np.ndarray) -> Value:
        key = (name, id(data))
        if key not in self.made:
            unique, i = name, 0
            while unique in self.names:
                i += 1
                unique = f"{name}_{i}"
            self.names.add(unique)
            value = self.graph.const(unique, data)
            if not np.isfinite(value.array).all():
                raise UserInputError(f"the constant {name!r} contains NaN or infinity")
            self.made[key] = data, value
        return self.made[key][1]


class Node:
    """An ONNX node with its inputs looked up: a Value (computed), an array (constant) or None
    (absent).
    """

    def __init__(
        self,
        proto: onnx.NodeProto,
        inputs: list[Any],
        attrs: dict[str, Any],
        opset: int,
        graph: Graph,
        weights: Weights,
    ):
        self.op_type, self.inputs, self.attrs, self.opset = proto.op_type, inputs, attrs, opset
        self.input_names = list(proto.input)
        self.name = f"{proto.output[0]}_{proto.op_type}"  # cli.md section 3.4
        self.graph, self.weights = graph, weights

    # ---- reading
    def attr(self, name: str, default: Any = None) -> Any:
        return self.attrs.get(name, default)

    def has(self, i: int) -> bool:
        return i < len(self.inputs) and self.inputs[i] is not None

    def value(self, i: int = 0) -> Value:
        """Input i, which must be computed by the graph."""
        if not self.has(i):
            raise UserInputError(f"input {i} is missing")
        if not isinstance(self.inputs[i], Value):
            self.unsupported(f"input {i} ({self.input_names[i]!r}) is a constant")
        return self.inputs[i]

    def array(self, i: int, what: str) -> np.ndarray:
        """Input i, which must be a constant."""
        if not self.has(i):
            raise UserInputError(f"its {what} (input {i}) is missing")
        if isinstance(self.inputs[i], Value):
            self.unsupported(
                f"its {what} ({self.input_names[i]!r}) is computed by the graph; "
                "only constants are possible"
            )
        return self.inputs[i]

    def floats(self, i: int, what: str) -> np.ndarray:
        """Input i, a constant, as float32."""
        return np.asarray(self.array(i, what), np.float32)

    def ints(self, i: int, attr: str, what: str) -> list[int] | None:
        """A list of whole numbers that old opsets write as an attribute and new ones as a constant
        input; None if absent.
        """
        if attr in self.attrs:
            return [int(v) for v in np.asarray(self.attrs[attr]).reshape(-1)]
        return (
            [int(v) for v in np.asarray(self.array(i, what)).reshape(-1)] if self.has(i) else None
        )

    def axis(self, given: int, rank: int) -> int:
        """An axis of a tensor of that rank, counted from 0; negative ones count from the end."""
        if not -rank <= given < rank:
            raise UserInputError(f"there is no axis {given} in {rank} dimensions")
        return given % rank

    def axes(self, given: Sequence[int], rank: int) -> list[int]:
        """Different axes of a tensor of that rank."""
        axes = [self.axis(a, rank) for a in given]
        if len(set(axes)) < len(axes):
            raise UserInputError(f"axes {list(given)} of {rank} dimensions: one is named twice")
        return axes

    def unsupported(self, reason: str) -> NoReturn:
        raise NotSupported(reason)

    # ---- writing
    def weight(self, i: int, what: str) -> Value:
        """Input i, a constant, as operand."""
        data = self.array(i, what)
        return self.weights.get(
            self.input_names[i], data if data.dtype == np.float32 else data.astype(np.float32)
        )

    def new_weight(self, name: str, data: np.ndarray) -> Value:
        return self.weights.get(name, np.asarray(data, np.float32))

    def emit(
        self, cls: type[Op], operands: Sequence[Value | None], step: str = "", **attrs: Any
    ) -> Value:
        """Append a Top operation named as the node; `step` marks one that is not the last of
        several.
        """
        return self.graph.add(cls, operands, self.name + (f"_{step}" if step else ""), **attrs)
