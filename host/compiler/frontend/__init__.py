"""Model file -> Top graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UnsupportedError
from ..ir import Graph
from ..passes.pipeline import optimise


def load_graph(path: str | Path, **options: Any) -> Graph:
    """Read a model file by its extension (.onnx, or .mlir which takes no options); see
    frontend.onnx.load for the options.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".onnx":
        from .onnx import load

        return load(path, **options)
    if suffix == ".mlir":
        from ..ir.text import read

        return read(path)
    raise UnsupportedError(
        f"{path}: models are read from .onnx and .mlir files, not from "
        f"{suffix or 'files without extension'}"
    )


def transform_graph(
    path: str | Path, *, print_ir_after: Any = (), hook: Any = None, **options: Any
) -> Graph:
    """Model file -> optimised Top graph: load_graph, then passes.pipeline.optimise."""
    return optimise(load_graph(path, **options), print_ir_after=print_ir_after, hook=hook)
