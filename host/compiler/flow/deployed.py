"""The result of deploy, and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..chip import Chip
from ..fileio import write_text
from ..inputs import write_npz
from ..ir import Graph
from .console import Console


@dataclass
class Deployed:
    """path: the model file; graph: the quantised graph; name: prefix of the files beside; old: they
    are those of the old toolchain, too; compiled: model, program and command stream; files:
    written.

    With a test input: input_file and inputs, its file and arrays; expected, simulated: the outputs
    of the quantised graph and of the file on the simulator (native types; with compare_all every
    tensor of the graph, and every one that the file keeps in memory); reports: the comparisons.
    """

    path: Path
    graph: Graph
    chip: Chip
    opt: int
    name: str = "model"
    old: bool = False
    compiled: Any = None
    files: list[Path] = field(default_factory=list)
    input_file: str = ""
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    expected: dict[str, np.ndarray] = field(default_factory=dict)
    simulated: dict[str, np.ndarray] = field(default_factory=dict)
    reports: list[Any] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """Of the files that hang on chip and data type (cli.md section 5.5)."""
        return f"{self.name}_{self.chip.name}_int8_sym"

    def beside(self, name: str) -> Path:
        """A file beside the model file."""
        return self.path.parent / name

    def tensors_file(self, old: str, new: str) -> Path:
        """The .npz for tensors: <name>_<old> of the old toolchain, <prefix>_<new> of the new."""
        return self.beside(f"{self.name}_{old}.npz" if self.old else f"{self.prefix}_{new}.npz")

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file beside the model file."""
        self.files.append(write_text(self.beside(name), text))
        return self.files[-1]

    def write_arrays(
        self, path: Path, arrays: Mapping[str, np.ndarray], console: Console | None = None
    ) -> None:
        """Write an .npz, and say so."""
        self.files.append(write_npz(path, arrays))
        if console is not None:
            console.say(f"Saving {path}")


def failed_name(path: Path) -> Path:
    """What a model file is called that does not compute what it should."""
    return path.with_name(path.name + ".failed")
