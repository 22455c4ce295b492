"""calibrate: float graph + samples -> table (cli.md section 4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..calibrate.table import CalibrationTable, Entry, write_table
from ..ir import Graph
from ..passes.origins import fused
from .console import SILENT, Console
from .deploy import read_top
from .transform import PathLike


def calibrate(
    graph: Graph | PathLike,
    dataset: Any = None,
    *,
    table: PathLike | None = None,
    method: str = "kl",
    input_num: int = 0,
    tune_num: int = 5,
    console: Console = SILENT,
    **options: Any,
) -> CalibrationTable:
    """Thresholds of every tensor of a Top graph (or its .mlir file) from samples; written to
    `table` if given.

    dataset: folder, or a sequence of files; options: those of
    tpuforge.compiler.calibrate.run.calibrate (data_list, tune_list, bins, threads, strict). Raises
    UserInputError, OptionError.
    """
    from ..calibrate.run import calibrate as run

    top = graph if isinstance(graph, Graph) else read_top(graph)
    with console.progress("calibration") as progress:
        found = run(
            top, dataset, method=method, input_num=input_num, tune_num=tune_num, progress=progress,
            warn=lambda text: console.say(f"warning: {text}"), **options,
        )  # fmt: skip
    if table is not None:
        write_table(
            Path(table), with_fused(found, top), model=top.name, method=method, samples=input_num,
            tune_num=tune_num,
        )  # fmt: skip
    return found


def with_fused(table: CalibrationTable, graph: Graph) -> CalibrationTable:
    """The table with lines for the tensors that fusing took away, each before the tensor it became
    part of: the same threshold, both signs (cli.md section 15.1)."""
    parts: dict[str, list[str]] = {}
    for name, end in fused(graph).items():
        parts.setdefault(end, []).append(name)
    entries: dict[str, Entry] = {}
    for name, entry in table.entries.items():
        th = entry.threshold
        entries |= {n: Entry(th, -th, th) for n in parts.get(name, ()) if n not in table.entries}
        entries[name] = entry
    return replace(table, entries=entries)
