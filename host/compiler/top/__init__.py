"""The Top dialect: float networks, one file per family of operations (docs/architecture.md lists
them).
"""

from .activation import Clip, LeakyRelu, PRelu, Relu, Softmax
from .base import Fusable, ShapeError, TopOp, window_count
from .conv import Conv, MatMul
from .data import Input
from .eltwise import Add, AddConst, BatchNorm, Mul, MulConst, Scale
from .pool import AvgPool, MaxPool, Pool
from .shape import Concat, Pad, Permute, Reshape

__all__ = [
    "Add",
    "AddConst",
    "AvgPool",
    "BatchNorm",
    "Clip",
    "Concat",
    "Conv",
    "Fusable",
    "Input",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "MulConst",
    "PRelu",
    "Pad",
    "Permute",
    "Pool",
    "Relu",
    "Reshape",
    "Scale",
    "ShapeError",
    "Softmax",
    "TopOp",
    "window_count",
]
