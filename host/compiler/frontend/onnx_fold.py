"""Constant folding: the value of an ONNX node whose inputs are all known.

The arithmetic of shapes is done by numpy here; other element-wise operations by onnxruntime on a
model of that one node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ..errors import UserInputError

MAX_ELEMENTS = 1 << 28  # of a constant that a node makes out of nothing

#: what onnxruntime computes: operations whose result is not larger than their inputs together
BY_ONNXRUNTIME = frozenset(
    [
        "Abs",
        "And",
        "Clip",
        "Erf",
        "Exp",
        "Flatten",
        "Gemm",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Log",
        "MatMul",
        "Mod",
        "Neg",
        "Not",
        "Or",
        "PRelu",
        "Pow",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Relu",
        "LeakyRelu",
        "Round",
        "Sigmoid",
        "Sign",
        "Softmax",
        "Sqrt",
        "Tanh",
        "Xor",
        "BatchNormalization",
        "Conv",
        "Floor",
        "Ceil",
        "Split",
    ]
)

Inputs = list[Any]  # np.ndarray or None
Attrs = dict[str, Any]


def _size(shape: Any) -> tuple[int, ...]:
    shape = tuple(int(d) for d in np.asarray(shape).reshape(-1))
    if min(shape, default=0) < 0 or math.prod(shape) > MAX_ELEMENTS:
        raise UserInputError(
            f"a constant of the shape {list(shape)} is impossible (limit: {MAX_ELEMENTS} elements)"
        )
    return shape


def _constant(x: Inputs, a: Attrs) -> np.ndarray:
    for key, dtype in (
        ("value_float", np.float32),
        ("value_int", np.int64),
        ("value_floats", np.float32),
        ("value_ints", np.int64),
    ):
        if key in a:
            return np.array(a[key], dtype)
    raise UserInputError(
        "it holds no number"
    )  # tensors are handled by the caller, strings are of no use


def _divide(x: Inputs, a: Attrs) -> np.ndarray:
    if x[0].dtype.kind == "f":
        return np.true_divide(x[0], x[1]).astype(x[0].dtype)
    q = np.floor_divide(np.abs(x[0]), np.abs(x[1]))  # ONNX truncates towards zero
    return (q * np.sign(x[0]) * np.sign(x[1])).astype(x[0].dtype)


def _axes(x: Inputs, a: Attrs) -> tuple[int, ...] | None:
    axes = x[1] if len(x) > 1 and x[1] is not None else a.get("axes")
    return None if axes is None else tuple(int(i) for i in np.asarray(axes).reshape(-1))


def _slice(x: Inputs, a: Attrs) -> np.ndarray:
    starts, ends = (a["starts"], a["ends"]) if "starts" in a else (x[1].tolist(), x[2].tolist())
    axes = (
        a.get("axes")
        if "starts" in a
        else x[3].tolist()
        if len(x) > 3 and x[3] is not None
        else None
    )
    steps = x[4].tolist() if len(x) > 4 and x[4] is not None else [1] * len(starts)
    index: list[Any] = [slice(None)] * x[0].ndim
    for axis, start, end, step in zip(
        range(len(starts)) if axes is None else axes, starts, ends, steps, strict=True
    ):
        stop = None if step < 0 and end < -x[0].shape[axis] else end
        index[axis] = slice(start, stop, step)
    return x[0][tuple(index)]


def reshape_to(shape: tuple[int, ...], wanted: list[int], allow_zero: bool) -> tuple[int, ...]:
    """ONNX Reshape: 0 copies the input's size (unless allow_zero), one -1 takes what is left."""
    out = [
        shape[i] if d == 0 and not allow_zero and i < len(shape) else d
        for i, d in enumerate(wanted)
    ]
    if out.count(-1) == 1:
        rest = math.prod(d for d in out if d != -1)
        out[out.index(-1)] = math.prod(shape) // rest if rest else 0
    if math.prod(out) != math.prod(shape) or min(out, default=1) < 0:
        raise UserInputError(
            f"{list(shape)} can not become {wanted}: it has {math.prod(shape)} elements. If "
            "input_shapes changes the batch: the model fixes it here"
        )
    return tuple(out)


def _reshape(x: Inputs, a: Attrs) -> np.ndarray:
    return x[0].reshape(reshape_to(x[0].shape, x[1].tolist(), bool(a.get("allowzero", 0))))


def _unsqueeze(x: Inputs, a: Attrs) -> np.ndarray:
    return np.expand_dims(x[0], _axes(x, a) or ())


def _range(x: Inputs, a: Attrs) -> np.ndarray:
    _size([max(0, math.ceil((x[1].item() - x[0].item()) / x[2].item()))])
    return np.arange(x[0].item(), x[1].item(), x[2].item(), dtype=x[0].dtype)


def _of_shape(x: Inputs, a: Attrs) -> np.ndarray:
    fill = a.get("value", np.zeros(1, np.float32))
    return np.full(_size(x[0]), fill.reshape(-1)[0], fill.dtype)


def _expand(x: Inputs, a: Attrs) -> np.ndarray:
    return np.broadcast_to(x[0], np.broadcast_shapes(x[0].shape, _size(x[1]))).copy()


BY_NUMPY: dict[str, Callable[[Inputs, Attrs], np.ndarray]] = {
    "Constant": _constant,
    "ConstantOfShape": _of_shape,
    "Div": _divide,
    "Expand": _expand,
    "Range": _range,
    "Reshape": _reshape,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Add": lambda x, a: x[0] + x[1],
    "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1],
    "Cast": lambda x, a: x[0].astype(helper.tensor_dtype_to_np_dtype(a["to"])),
    "Concat": lambda x, a: np.concatenate(x, a["axis"]),
    "Dropout": lambda x, a: x[0],
    "Identity": lambda x, a: x[0],
    "Equal": lambda x, a: np.equal(x[0], x[1]),
    "Gather": lambda x, a: np.take(x[0], x[1], a.get("axis", 0)),
    "Max": lambda x, a: np.maximum.reduce(np.broadcast_arrays(*x)),
    "Min": lambda x, a: np.minimum.reduce(np.broadcast_arrays(*x)),
    "Shape": lambda x, a: np.array(x[0].shape[slice(a.get("start", 0), a.get("end"))], np.int64),
    "Size": lambda x, a: np.array(x[0].size, np.int64),
    "Squeeze": lambda x, a: np.squeeze(x[0], _axes(x, a)),
    "Transpose": lambda x, a: np.transpose(x[0], a.get("perm")),
    "Where": lambda x, a: np.asarray(np.where(x[0], x[1], x[2])),
}


def foldable(op_type: str) -> bool:
    return op_type in BY_NUMPY or op_type in BY_ONNXRUNTIME


def fold(node: onnx.NodeProto, inputs: Inputs, attrs: Attrs, opset: int) -> list[np.ndarray]:
    """The outputs of the node. attrs: its attributes, tensors among them as arrays."""
    if node.op_type in BY_NUMPY:
        value = (
            attrs["value"]
            if node.op_type == "Constant" and "value" in attrs
            else BY_NUMPY[node.op_type](inputs, attrs)
        )
        return [np.asarray(value)]
    import onnxruntime as ort

    names = list(dict.fromkeys(n for n in node.input if n))
    arrays = {n: inputs[list(node.input).index(n)] for n in names}
    info = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in arrays.items()
    ]
    outs = [helper.make_value_info(o, onnx.TypeProto()) for o in node.output if o]
    model = helper.make_model(
        helper.make_graph([node], "constant", info, outs),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", opset)],
    )
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, arrays)
    except Exception as e:  # onnxruntime's own exception types are not public
        raise UserInputError(f"onnxruntime can not compute it: {e}") from None
