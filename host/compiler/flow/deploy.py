"""deploy: float graph + calibration table -> verified model file (cli.md section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..calibrate import CalibrationTable
from ..chip import Chip, chip_named
from ..errors import OptionError, UserInputError
from ..inputs import Source
from ..ir import Graph
from .checks import (
    CORRECTNESS,
    TOLERANCE,
    Checks,
    check_quantised,
    check_simulated,
)
from .console import SILENT, Console
from .deployed import Deployed
from .transform import PathLike


def deploy(
    graph: Graph | PathLike,
    table: CalibrationTable | PathLike,
    chip: str | Chip,
    model: PathLike,
    *,
    name: str | None = None,
    quant_input: bool = False,
    quant_output: bool = False,
    quantize_table: Mapping[str, str] | PathLike | None = None,
    opt: int = 2,
    merge_weight: bool = False,
    compress_weight: bool = True,
    model_version: tuple[int, int, int] | None = None,
    test_input: Sequence[Source] | None = None,
    test_reference: PathLike | Mapping[str, np.ndarray] | None = None,
    tolerance: Sequence[float] | None = None,
    correctness: Sequence[float] | None = None,
    excepts: Sequence[str] = (),
    compare_all: bool = False,
    old_files: bool = False,
    keep: bool = False,
    console: Console = SILENT,
) -> Deployed:
    """Quantise a float graph to INT8, compile it for a chip, write the .cvimodel and check it on a
    test input.

    graph: a Top graph or its .mlir file. table: calibration table or its file. The quantised graph
    is compared with the float one within `tolerance`; then the file, run on the simulator, must
    give the bytes of the quantised graph (compare_all: of every tensor, not of the outputs only). A
    file that fails is renamed to <model>.failed. docs/files.md lists what is written beside it;
    old_files: with those of the old toolchain; keep: also the tensors that were compared. Pairs
    of 1x1 convolutions are merged in `graph` where the table lacks the tensor between (as the
    vendor's do) or the chip takes no longer for one. merge_weight: constants that the map
    beside the model names keep their places, so that both files can be merged; compress_weight:
    store constants as compressed streams where that is shorter; model_version: written into the
    file instead of the current one.

    Raises UserInputError (also: a comparison that misses its tolerance; the first bad layer is
    named), OptionError, UnsupportedError, DoesNotFitError.
    """
    from ..calibrate.table import unknown_names
    from ..lower import lower, merge_pairs
    from .side_files import read_weight_map, write_compiled, write_quantised

    target = chip if isinstance(chip, Chip) else chip_named(chip)
    path = _model_path(model)
    top = graph if isinstance(graph, Graph) else read_top(graph)
    thresholds = table if isinstance(table, CalibrationTable) else _read_table(table)
    merge_pairs(top, thresholds.keys(), target)
    exceptions = _quantize_table(quantize_table)
    for text in unknown_names(exceptions, [v.name for v in top.values()]):
        console.say(f"warning: quantize table: {text}")
    checks = None
    if test_input:
        limits = {
            "tolerance": tuple(tolerance or TOLERANCE),
            "correctness": tuple(correctness or CORRECTNESS),
        }
        checks = Checks(
            tuple(test_input),
            test_reference,
            excepts=tuple(excepts),
            compare_all=compare_all,
            **limits,
        )
    with console.step(f"quantise to INT8 for {target.name}"):
        tpu = lower(
            top,
            thresholds,
            target,
            quant_input=quant_input,
            quant_output=quant_output,
            quantize_table=exceptions,
        )
    result = Deployed(path, tpu, target, opt, name or top.name, old_files)
    write_quantised(result, console)
    if checks is not None:
        check_quantised(result, top, checks, keep, console)
    known = read_weight_map(path.parent, target.name, console) if merge_weight else None
    with console.step("schedule and emit"):
        result.compiled = _compile(tpu, target, opt, known, compress_weight)
        if model_version is not None:
            result.compiled.model.version = model_version
    options = {"opt": opt, "compress_weight": compress_weight, "merge_weight": merge_weight}
    write_compiled(result, options, known, console)
    if checks is not None:
        check_simulated(result, checks, keep, console)
    return result


# ---- reading
MAX_NAME = 150  # bytes of the name of a module


def bad_name(name: str) -> str:
    """Why a name can not be part of file names; empty if it can."""
    if name and not set(name) & set("/\\\0") and len(name.encode(errors="replace")) <= MAX_NAME:
        return ""
    return f"is {name[:80]!r}, but it becomes part of file names: 1 to {MAX_NAME} bytes, no slashes"


def _model_path(model: PathLike) -> Path:
    path = Path(model)
    if path.suffix != ".cvimodel":
        raise OptionError(f"{path}: the model file of a CV18xx chip must end in .cvimodel")
    return path


def read_top(path: PathLike) -> Graph:
    """The Top graph of a .mlir file and its weights."""
    from ..fileio import existing_file
    from ..ir.text import read

    existing_file(path, "the float graph that model_transform writes")
    graph = read(Path(path))
    problem = bad_name(graph.name)
    if problem:
        raise UserInputError(f"{path}: the name of the module {problem}")
    return graph


def _read_table(path: PathLike) -> CalibrationTable:
    from ..calibrate import read_table

    return read_table(path)


def _quantize_table(table: Mapping[str, str] | PathLike | None) -> dict[str, str]:
    if table is None or isinstance(table, Mapping):
        return dict(table or {})
    from ..calibrate import read_quantize_table

    return dict(read_quantize_table(table, bare_is_bf16=True))


# ---- making
def _compile(tpu: Graph, chip: Chip, opt: int, known: Any, compress_weight: bool) -> Any:
    from ... import __version__
    from ..emit.cv18xx.compile import compile_graph

    return compile_graph(
        tpu,
        chip,
        opt=opt,
        weight_map=known,
        compress_weight=compress_weight,
        compiler_version=f"tpuforge {__version__}",
    )
