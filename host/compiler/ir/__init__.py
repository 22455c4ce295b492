"""Graph, Op, Value, types, declared attributes; MLIR text reader and writer; weight store."""

from .attributes import Attr, bool_, bytes_, float_, floats, int_, ints, str_
from .graph import Graph, Value
from .op import OPS, Op, register
from .types import DTYPES, TensorType

__all__ = [
    "DTYPES",
    "OPS",
    "Attr",
    "Graph",
    "Op",
    "TensorType",
    "Value",
    "bool_",
    "bytes_",
    "float_",
    "floats",
    "int_",
    "ints",
    "register",
    "str_",
]
