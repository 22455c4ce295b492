"""The `.cvimodel` file as Python objects (formats/cvimodel.md): `read(bytes) -> Model`,
`write(Model) -> bytes`.

The classes are in `cvimodel_tables`, reading in `cvimodel_reader` and `cvimodel_check`, writing in
`cvimodel_writer`; this module is the one to import.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import UserInputError
from ..fileio import existing_file, write_bytes
from .cvimodel_reader import read
from .cvimodel_tables import (
    IO_BASES,
    PRIVATE,
    SHARED,
    SYSTEM_MEMORY,
    WEIGHT,
    Argument,
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
    "IO_BASES", "PRIVATE", "SHARED", "SYSTEM_MEMORY", "WEIGHT", "Argument", "DType", "Floats",
    "Ints", "Model", "Program", "Routine", "Section", "Tensor", "Weight", "address",
    "build_time_now", "load", "low_offset", "read", "save", "selector", "write",
]  # fmt: skip


def load(path: str | Path, *, verify: bool = False) -> Model:
    """`read` of a file; its errors begin with the path."""
    data = existing_file(path, "a .cvimodel").read_bytes()
    try:
        return read(data, verify=verify)
    except UserInputError as error:
        raise UserInputError(f"{path}: {error}") from None


def save(model: Model, path: str | Path) -> Path:
    """`write` to a file, which appears complete or not at all."""
    return write_bytes(path, write(model))
