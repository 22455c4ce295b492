"""Graphs as files: MLIR text (.mlir) with the constants in an .npz beside it.

    write(graph, "net.mlir", "net_top_f32_all_weight.npz")
    graph = read("net.mlir")            # also Top files of the vendor's tool

Printing is in text_print.py, the grammar in text_parse.py, the way to a Graph in text_build.py.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import OptionError, UserInputError
from .graph import Graph
from .text_build import Builder, Weights
from .text_parse import Parser
from .text_print import const_names, to_text
from .text_weights import WeightFile, write_npz
from .types import TensorType

__all__ = ["parse", "read", "to_text", "write"]


def write(graph: Graph, mlir_path: str | Path, npz_path: str | Path) -> None:
    """Write both files, each under a temporary name first: no half-written file is left behind.

    The .npz must be in the folder of the .mlir, since the module names it without a folder
    (OptionError). UserInputError if a file can not be written.
    """
    mlir_path, npz_path = Path(mlir_path), Path(npz_path)
    if npz_path.parent.resolve() != mlir_path.parent.resolve():
        raise OptionError(f"{npz_path} must lie in the same folder as {mlir_path}")
    text = to_text(graph, npz_path.name).encode()
    names = const_names(graph)
    with _atomic(npz_path) as f:
        write_npz(f, ((names[id(v)], v.data) for v in graph.consts() if v.data is not None))
        with _atomic(mlir_path) as g:
            g.write(text)


@contextmanager
def _atomic(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete, and vanishes if the block fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as f:
            yield f
        os.replace(temporary, path)
    except OSError as e:
        raise UserInputError(f"{path} can not be written: {e.strerror or e}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def read(mlir_path: str | Path) -> Graph:
    """Read a .mlir file and the .npz that its module.weight_file names, which must lie beside it.

    UserInputError (with line) for syntax errors, missing or unfit weights; UnsupportedError lists
    unknown operations.
    """
    path = Path(mlir_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserInputError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserInputError(
            f"{path} is not a text file (MLIR bytecode is not supported)"
        ) from None
    except OSError as e:
        raise UserInputError(f"{path} can not be read: {e.strerror or e}") from None
    return parse(text, where=str(path), folder=path.parent)


class _Given:
    """Weights from a dictionary."""

    def __init__(self, arrays: Mapping[str, np.ndarray], where: str):
        self.arrays, self.where = arrays, where

    def get(self, name: str, type: TensorType) -> np.ndarray:
        if name not in self.arrays:
            raise UserInputError(f"{self.where}: the constant {name!r} is missing in the weights")
        return self.arrays[name]


def parse(
    text: str,
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    where: str = "text",
    folder: Path | None = None,
) -> Graph:
    """Text -> Graph. Constants come from `weights`, or else from the .npz in `folder` that the
    module names.
    """
    for dialect in ("top", "tpu"):  # declare the operations
        importlib.import_module(f"..{dialect}", __package__)
    with _no_collection():
        return _parse(text, weights, where, folder)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Many objects are about to be made and none dropped: the cycle collector would only search in
    vain.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse(
    text: str, weights: Mapping[str, np.ndarray] | None, where: str, folder: Path | None
) -> Graph:
    parser = Parser(text, where)
    module = parser.parse()
    if weights is not None:
        return Builder(parser, module, _Given(weights, where)).build()
    name = module.attrs.get("module.weight_file")
    if not any(r.name.endswith(".Weight") for r in module.records):
        none: Weights = _Given({}, where)
        return Builder(parser, module, none).build()
    if not isinstance(name, str) or not name or folder is None:
        raise UserInputError(
            f"{where}: the module does not say where its weights are (module.weight_file)"
        )
    if Path(name).name != name or name in (".", ".."):
        raise UserInputError(
            f"{where}: module.weight_file is {name!r}; it must be the name of a file beside"
        )
    with WeightFile(folder / name) as file:
        return Builder(parser, module, file).build()
