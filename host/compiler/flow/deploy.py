"""deploy: float graph + calibration table -> verified model file (cli.md section 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..calibrate import CalibrationTable
from ..chip import Chip, chip_named
from ..errors import OptionError, UserInputError
from ..fileio import write_text
from ..inputs import Source
from ..ir import Graph
from .checks import (
    CORRECTNESS,
    TOLERANCE,
    Checks,
    Deployed,
    check_quantised,
    check_simulated,
    failed_name,
)
from .console import SILENT, Console
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
    keep: bool = False,
    console: Console = SILENT,
) -> Deployed:
    """Quantise a float graph to INT8, compile it for a chip, write the .cvimodel and check it on a
    test input.

    graph: a Top graph or its .mlir file. table: calibration table or its file. The quantised graph
    is compared with the float one within `tolerance`; then the file, run on the simulator, must
    give the bytes of the quantised graph. A file that fails is renamed to <model>.failed. Beside
    the model: <prefix>_tpu.mlir, <prefix>_final.mlir, _weight_map.csv, <model>_tensor_info.txt and
    the folder <model>/ with final.mlir and ref_files.json; prefix = <name>_<chip>_int8_sym. Pairs
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
    prefix = f"{name or top.name}_{target.name}_int8_sym"
    with console.step(f"quantise to INT8 for {target.name}"):
        tpu = lower(
            top,
            thresholds,
            target,
            quant_input=quant_input,
            quant_output=quant_output,
            quantize_table=exceptions,
        )
    result = Deployed(path, tpu, target, opt)
    _write_quantised(result, prefix)
    if checks is not None:
        check_quantised(result, top, checks, prefix, keep, console)
    with console.step("schedule and emit"):
        known = _weight_map(path.parent / "_weight_map.csv") if merge_weight else None
        result.compiled = _compile(tpu, target, opt, known, compress_weight)
        if model_version is not None:
            result.compiled.model.version = model_version
    _write_files(result, prefix, console)
    if checks is not None:
        check_simulated(result, checks, prefix, keep, console)
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
def _weight_map(path: Path) -> Any:
    """The places of the constants of the file made before; none without a map."""
    from ..format.weight_map import WeightMap, parse

    return parse(path.read_text(errors="replace"), str(path)) if path.is_file() else WeightMap()


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


def _write_quantised(result: Deployed, prefix: str) -> None:
    from ..ir.text import write

    path = result.path.with_name(f"{prefix}_tpu.mlir")
    weights = path.with_name(f"{prefix}_tpu_weight.npz")
    write(result.graph, path, weights)
    result.files += [path, weights]


def _write_final(result: Deployed, prefix: str) -> None:
    """The quantised graph once more, followed by where the compiled file keeps its tensors."""
    from ..ir.text import to_text

    path = result.path.with_name(f"{prefix}_final.mlir")
    rows = [
        f"//   {t.name} {t.offset:#x} {t.dtype.word} {list(t.shape)}"
        for p in result.compiled.model.programs
        for t in p.tensors
    ]
    notes = [
        f"// {result.path.name}: tensors in memory (address code, type, shape); the others stay "
        "in local memory",
        *rows,
    ]
    text = to_text(result.graph, f"{prefix}_tpu_weight.npz").rstrip("\n")
    result.files.append(write_text(path, "\n".join([text, *notes]) + "\n"))


def _write_files(result: Deployed, prefix: str, console: Console) -> None:
    from ..format import cvimodel
    from ..format.weight_map import render

    path, compiled = result.path, result.compiled
    cvimodel.save(compiled.model, path)
    failed_name(path).unlink(missing_ok=True)
    beside = path.parent
    write_text(beside / "_weight_map.csv", render(compiled.weight_map))
    write_text(path.with_name(f"{path.stem}_tensor_info.txt"), tensor_info(compiled.model))
    result.files += [
        path,
        beside / "_weight_map.csv",
        path.with_name(f"{path.stem}_tensor_info.txt"),
    ]
    _write_final(result, prefix)
    _write_folder(result, prefix, console)
    console.say(f"Saving {path}")


def _write_folder(result: Deployed, prefix: str, console: Console) -> None:
    """The folder <model>/ of section 5.5: final.mlir and the list of files, for scripts that look
    there."""
    folder = result.path.with_suffix("")
    if folder.exists() and not folder.is_dir():
        console.say(f"note: {folder} is a file: the folder of that name is left out")
        return
    folder.mkdir(exist_ok=True)
    final = result.path.with_name(f"{prefix}_final.mlir")
    result.files.append(write_text(folder / "final.mlir", final.read_text()))
    facts = {
        "version": result.compiled.model.mlir_version,
        "chip": result.chip.name,
        "quantize": "INT8",
        "files": sorted(f.name for f in result.files if f.parent == result.path.parent),
    }
    text = json.dumps(facts, indent=1) + "\n"
    result.files.append(write_text(folder / "ref_files.json", text))


def tensor_info(model: Any) -> str:
    """The diagnostic list of section 15.5: one row per tensor of the file that lies in DDR."""
    columns = (
        "layer_id, tensor_name, inGroup, ignore, gaddr, g_shape, lg_idx_slice, laddr, qtype, "
        "qscale. "
    )
    lines = []
    for number, program in enumerate(model.programs, 1):
        lines.append(f"Cmdbuf{number}: {columns}")
        for index, t in enumerate(program.tensors):
            shape = ",".join(str(d) for d in t.shape)
            row = (
                index,
                t.name,
                "false",
                "false",
                t.offset,
                shape,
                "x",
                "x",
                t.dtype.word,
                f"{t.qscale:.6f}",
            )
            lines.append(" ".join(str(field) for field in row))
    return "\n".join(lines) + "\n"
