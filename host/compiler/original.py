"""Run the original ONNX model with all its intermediate tensors: what a Top graph is proved against
(cli.md section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .errors import UserInputError

_NUMPY: dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
}  # fmt: skip


def top_names(model: onnx.ModelProto) -> dict[str, str]:
    """Our name `<tensor>_<OpType>` (section 3.4) -> ONNX tensor, for every node output, and input
    -> input."""
    names = {f"{o}_{node.op_type}": o for node in model.graph.node for o in node.output if o}
    return names | {i.name: i.name for i in model.graph.input}


def run_original(
    model: onnx.ModelProto,
    inputs: Mapping[str, np.ndarray],
    wanted: list[str],
    renamed: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """The float values of those of `wanted` (names of a Top graph) that the original model also
    has.

    inputs: arrays under the names of the model's inputs; their shapes replace the declared ones.
    renamed: value -> tensor where the name misleads (passes.origins).
    """
    import onnxruntime as ort

    known = top_names(model) | dict(renamed or {})
    found = {n: known[n] for n in wanted if n in known}
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    computed = {o for node in changed.graph.node for o in node.output}
    tensors = [t for t in dict.fromkeys(found.values()) if t in computed]
    for info in changed.graph.input:
        if info.name in inputs:
            dims = info.type.tensor_type.shape.dim
            for dim, size in zip(dims, inputs[info.name].shape, strict=False):
                dim.dim_value = size
    del changed.graph.output[:]
    del changed.graph.value_info[:]
    changed.graph.output.extend(helper.make_empty_tensor_value_info(t) for t in tensors)
    if not tensors:  # its outputs are its inputs
        return {n: inputs[n] for n in found.keys() & inputs.keys()}
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(
            changed.SerializeToString(), options, ["CPUExecutionProvider"]
        )
        feed: dict[str, np.ndarray] = {
            i.name: inputs[i.name].astype(_NUMPY.get(i.type, np.float32))
            for i in session.get_inputs()
        }
        values = dict(zip(tensors, session.run(tensors, feed), strict=True))
    except Exception as e:  # onnxruntime raises its own family of exceptions
        raise UserInputError(
            f"onnxruntime can not run the original model: {str(e).strip().splitlines()[0]}"
        ) from None
    values |= {n: inputs[n] for n in inputs}
    return {n: np.asarray(values[t], np.float32) for n, t in found.items() if t in values}


def declared_inputs(path: str | Path) -> list[tuple[str, list[int | None]]]:
    """Name and dimensions (None: not fixed) of every input of a model that is not an
    initialiser."""
    from .frontend.onnx_file import read_model

    model, _, _ = read_model(path)
    constants = {i.name for i in model.graph.initializer}
    return [
        (i.name, [d.dim_value or None for d in i.type.tensor_type.shape.dim])
        for i in model.graph.input
        if i.name not in constants
    ]


def original_model(source: str | Path | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """The ONNX model with the weights of its side files."""
    from onnx.external_data_helper import load_external_data_for_model

    from .frontend.onnx_file import read_model

    model, where, folder = read_model(source)
    if folder is not None:
        try:
            load_external_data_for_model(model, str(folder))
        except Exception as e:  # onnx raises whatever the file system or protobuf gives
            raise UserInputError(f"{where}: its side files can not be read: {e}") from None
    return model
