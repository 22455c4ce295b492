"""calibrate: float graph + samples -> table (cli.md section 4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..calibrate.table import CalibrationTable, Entry, format_csv, write_table
from ..fileio import write_text
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
    old_files: bool = False,
    console: Console = SILENT,
    **options: Any,
) -> CalibrationTable:
    """Thresholds of every tensor of a Top graph (or its .mlir file) from samples; written to
    `table` if given, with `old_files` also the files of write_old_files.

    dataset: folder, or a sequence of files; options: those of
    tpuforge.compiler.calibrate.run.calibrate (data_list, tune_list, bins, threads, strict). Raises
    UserInputError, OptionError.
    """
    from ..calibrate.run import calibrate as run

    top = graph if isinstance(graph, Graph) else read_top(graph)
    with console.progress("calibration") as progress:
        found = run(
            top, dataset, method=method, input_num=input_num, tune_num=tune_num, progress=progress,
            warn=lambda text: console.say(f"warning: {text}"), say=console.say, **options,
        )  # fmt: skip
    if table is not None:
        path = Path(table)
        write_table(path, with_fused(found, top), model=top.name)
        console.say(f"Saving {path} ({len(found)} tensors)")
        if old_files:
            given = options.get("data_list")
            for file in write_old_files(path, found, top, keep=given):
                console.say(f"Saving {file}")
    return found


def write_old_files(
    path: Path, table: CalibrationTable, graph: Graph, keep: PathLike | None = None
) -> list[Path]:
    """What the old toolchain leaves beside a table (cli.md section 4.3); the files written.

    TABLE.1: the table of the first pass, before tuning, in the format of TABLE. TABLE.csv: both
    as columns (format_csv). <TABLE up to the first dot>_images_list.txt: the samples that were
    read, one a line, as --image_list takes them; not over `keep`, the list that was given.
    """
    entries = {n: e._replace(threshold=table.untuned[n]) for n, e in table.entries.items()}
    first = replace(table, entries=entries, made=table.made | {"tune_num": 0})
    files = [path.with_name(f"{path.name}.{suffix}") for suffix in ("1", "csv")]
    write_table(files[0], with_fused(first, graph), model=graph.name)
    write_text(files[1], format_csv(with_fused(table, graph)))
    images = path.with_name(f"{path.name.split('.')[0]}_images_list.txt")
    if keep is None or Path(keep).resolve() != images.resolve():
        files.append(
            write_text(images, "".join(f"{','.join(map(str, s))}\n" for s in table.samples))
        )
    return files


def with_fused(table: CalibrationTable, graph: Graph) -> CalibrationTable:
    """The table with lines for the tensors that fusing took away, each before the tensor it became
    part of: the same threshold, both signs (cli.md section 15.1)."""
    parts: dict[str, list[str]] = {}
    for name, end in fused(graph).items():
        parts.setdefault(end, []).append(name)
    entries: dict[str, Entry] = {}
    untuned: dict[str, float] = {}
    for name, entry in table.entries.items():
        th = entry.threshold
        added = [n for n in parts.get(name, ()) if n not in table.entries]
        entries |= {n: Entry(th, -th, th) for n in added}
        entries[name] = entry
        untuned |= dict.fromkeys([*added, name], table.untuned.get(name, th))
    return replace(table, entries=entries, untuned=untuned)
