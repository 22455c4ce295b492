"""The quantised dialect: declaration and exact reference of every op, and an interpreter."""

from .base import TpuOp, i8
from .boundary import Dequantize, Input, Quantize
from .conv import Conv
from .eltwise import Add, LeakyRelu, Mul, PRelu, Relu, Requant
from .matmul import MatMul
from .pool import AvgPool, MaxPool
from .shape import Concat, Reshape
from .softmax import Softmax, softmax_table

__all__ = [
    "Add", "AvgPool", "Concat", "Conv", "Dequantize", "Input", "LeakyRelu", "MatMul", "MaxPool",
    "Mul",
    "PRelu", "Quantize", "Relu", "Requant", "Reshape", "Softmax", "TpuOp", "i8", "softmax_table",
]  # fmt: skip
