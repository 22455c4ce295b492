"""Add, Sub, Mul, Div, Sum: of two tensors, or of a tensor and a constant (one number, or one per
channel).
"""

from __future__ import annotations

import functools

import numpy as np

from ..ir import Value
from ..top import Add, AddConst, MatMul, Mul, MulConst, Scale
from .onnx_node import Node, converts


def spread(n: Node, c: np.ndarray, shape: tuple[int, ...]) -> float | np.ndarray:
    """A constant operand as one number, or as one number per channel (axis 1) of a tensor of that
    shape.
    """
    dims = (1,) * (len(shape) - c.ndim) + c.shape
    if len(dims) != len(shape) or any(d not in (1, s) for d, s in zip(dims, shape, strict=True)):
        n.unsupported(f"the constant {list(c.shape)} does not spread over the input {list(shape)}")
    if c.size and (c.reshape(-1)[0] == c).all():
        return float(c.reshape(-1)[0])
    if len(shape) < 2 or any(d != 1 for i, d in enumerate(dims) if i != 1):
        n.unsupported(
            f"the constant {list(c.shape)} is neither one number nor one per channel of the "
            f"input {list(shape)}"
        )
    return c.reshape(-1)


def _affine(
    n: Node,
    x: Value,
    scale: float | np.ndarray | None,
    bias: float | np.ndarray | None,
    step: str = "",
) -> Value:
    """x * scale or x + bias."""
    c = bias if scale is None else scale
    if isinstance(c, float):
        return n.emit(MulConst if bias is None else AddConst, [x], step, const_val=c)
    name = n.name + (f"_{step}" if step else "")
    size = x.shape[1]
    scales = n.new_weight(f"{name}_scale", np.ones(size) if scale is None else np.asarray(scale))
    biases = n.new_weight(f"{name}_bias", np.zeros(size) if bias is None else np.asarray(bias))
    return n.emit(Scale, [x, scales, biases], step)


@converts("Add", "Sum")
def add(n: Node) -> Value:
    if len(n.inputs) == 1:
        return n.value()
    tensors = [v for v in n.inputs if isinstance(v, Value)]
    consts = [np.asarray(v, np.float32) for v in n.inputs if not isinstance(v, Value)]
    if not consts:
        return n.emit(Add, tensors)
    x = tensors[0] if len(tensors) == 1 else n.emit(Add, tensors, "tensors")
    constant = functools.reduce(np.add, consts)
    return _row_bias(n, x, constant) or _affine(n, x, None, spread(n, constant, x.shape))


def _row_bias(n: Node, x: Value, c: np.ndarray) -> Value | None:
    """A row added to a product with more than two dimensions is the bias of that product."""
    product = x.owner
    if not isinstance(product, MatMul) or len(x.shape) < 3 or product.operand("bias") is not None:
        return None
    if c.ndim > len(x.shape) or c.shape[-1:] != x.shape[-1:] or c.size != x.shape[-1]:
        return None
    bias = n.new_weight(f"{n.name}_bias", c.reshape(-1))
    return n.emit(MatMul, [product.x, product.arg(1), bias])


@converts("Sub")
def sub(n: Node) -> Value:
    """x - c, or c - x = (-1) x + c."""
    if isinstance(n.inputs[0], Value) and isinstance(n.inputs[1], Value):
        negative = n.emit(MulConst, [n.inputs[1]], "negative", const_val=-1.0)
        return n.emit(Add, [n.inputs[0], negative])
    if isinstance(n.inputs[0], Value):
        x = n.value(0)
        c = spread(n, n.floats(1, "subtrahend"), x.shape)
        return _affine(n, x, None, -c)
    x = n.value(1)
    c = spread(n, n.floats(0, "minuend"), x.shape)
    return _affine(n, n.emit(MulConst, [x], "negative", const_val=-1.0), None, c)


@converts("Mul")
def mul(n: Node) -> Value:
    if isinstance(n.inputs[0], Value) and isinstance(n.inputs[1], Value):
        return n.emit(Mul, [n.inputs[0], n.inputs[1]])
    i = 0 if isinstance(n.inputs[0], Value) else 1
    return _affine(n, n.value(i), spread(n, n.floats(1 - i, "factor"), n.value(i).shape), None)


@converts("Div")
def div(n: Node) -> Value:
    """x / c as x * (1 / c): the quotient in double precision, rounded once to float32."""
    x = n.value(0)
    c = spread(n, n.floats(1, "divisor"), x.shape)
    if not np.all(c):
        n.unsupported("division by zero")
    return _affine(
        n,
        x,
        float(np.float32(1.0 / c))
        if isinstance(c, float)
        else (1.0 / c.astype(np.float64)).astype(np.float32),
        None,
    )
