"""The `.cvimodel` file as Python objects: `read(bytes) -> Model`, `write(Model) -> bytes`
(formats/cvimodel.md).

The classes are in `cvimodel_tables`, reading in `cvimodel_reader`, writing in `cvimodel_writer`;
this module is the one to import.
"""

from .cvimodel_reader import read
from .cvimodel_tables import (
    IO_BASES,
    PRIVATE,
    SHARED,
    SYSTEM_MEMORY,
    WEIGHT,
    DType,
    Floats,
    Ints,
    Model,
    Program,
    Routine,
    Section,
    Tensor,
    Weight,
    address,
    low_offset,
    selector,
)
from .cvimodel_writer import build_time_now, write

__all__ = [
    "IO_BASES",
    "PRIVATE",
    "SHARED",
    "SYSTEM_MEMORY",
    "WEIGHT",
    "DType",
    "Floats",
    "Ints",
    "Model",
    "Program",
    "Routine",
    "Section",
    "Tensor",
    "Weight",
    "address",
    "build_time_now",
    "low_offset",
    "read",
    "selector",
    "write",
]
