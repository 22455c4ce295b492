"""Run a Top graph in float32 with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnxruntime as ort

from ..errors import UserInputError
from ..ir import Graph
from .export import to_onnx


class Reference:
    """A Top graph made ready to run many times.

    outputs: names of the values wanted; None = the graph's outputs, "all" = every value. threads: 0
    = all cores.
    """

    def __init__(
        self, graph: Graph, outputs: str | Iterable[str] | None = None, *, threads: int = 0
    ):
        if outputs is not None and outputs != "all":
            outputs = [outputs] if isinstance(outputs, str) else list(outputs)
        self.names = _wanted(graph, outputs)
        inputs = {v.name for v in graph.inputs}
        self.copied = [
            n for n in self.names if n in inputs
        ]  # onnxruntime does not like inputs as outputs
        self.computed = [n for n in self.names if n not in inputs]
        self.inputs = {v.name: v.shape for v in graph.inputs}
        model = to_onnx(graph, self.computed)
        keep = [o for o in model.graph.output if o.name in set(self.computed)]
        del model.graph.output[:]
        model.graph.output.extend(keep)
        self.session = _session(model.SerializeToString(), threads) if self.computed else None

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One forward pass; shapes and names of the inputs are checked (UserInputError)."""
        feed = {n: _checked(inputs, n, s) for n, s in self.inputs.items()}
        unknown = set(inputs) - set(feed)
        if unknown:
            raise UserInputError(
                f"no input is named {', '.join(sorted(unknown))}; the inputs are {', '.join(feed)}"
            )
        got = self.session.run(self.computed, feed) if self.session else []
        results = {
            **dict(zip(self.computed, got, strict=True)),
            **{n: feed[n] for n in self.copied},
        }
        return {n: results[n] for n in self.names}


def _session(model: bytes, threads: int) -> ort.InferenceSession:
    """PadFusion is off: it makes pools with more padding than kernel, and then fails."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return ort.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["Pad_Fusion"]
    )


def run(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    outputs: str | Iterable[str] | None = None,
    *,
    threads: int = 0,
) -> dict[str, np.ndarray]:
    """The float values of the graph for these inputs, by name (see Reference)."""
    return Reference(graph, outputs, threads=threads).run(inputs)


def _wanted(graph: Graph, outputs: str | list[str] | None) -> list[str]:
    if outputs is None:
        return [v.name for v in dict.fromkeys(graph.outputs)]
    known = [v.name for v in graph.values()]
    if outputs == "all":
        return known
    for n in outputs:
        if n not in known:
            raise UserInputError(f"the graph has no value named {n!r}")
    return list(dict.fromkeys(outputs))


def _checked(inputs: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in inputs:
        raise UserInputError(f"input {name!r} is missing; given are {', '.join(inputs) or 'none'}")
    x = np.ascontiguousarray(inputs[name], dtype=np.float32)
    if x.shape != shape:
        raise UserInputError(
            f"input {name!r} has the shape {list(x.shape)}, expected {list(shape)}"
        )
    return x
