"""transform: model file -> optimised Top graph, proved against the original model on one input
(cli.md section 3)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..calibrate.floatmodel import input_spec
from ..calibrate.samples import InputSpec
from ..errors import OptionError, UserInputError
from ..fileio import write_text
from ..inputs import Source, load_inputs, write_npz
from ..ir import Graph
from .console import SILENT, Console
from .report import checked, words

PathLike = str | os.PathLike[str]
TOLERANCE = (0.99, 0.99)


@dataclass
class Transformed:
    """graph: the optimised Top graph; outputs: every tensor of the float run (if there was a test
    input); files: written."""

    graph: Graph
    files: list[Path] = field(default_factory=list)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)


def input_specs(graph: Graph) -> list[InputSpec]:
    """Name, shape and preprocessing of every input of a Top graph."""
    return [input_spec(op) for op in graph.ops if type(op).__name__ == "Input"]


def transform(
    model: Any,
    *,
    name: str | None = None,
    mlir: PathLike | None = None,
    input_shapes: Sequence[Sequence[int]] | None = None,
    output_names: Sequence[str] | None = None,
    preprocess: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
    test_input: Sequence[Source] | None = None,
    test_result: PathLike | None = None,
    tolerance: Sequence[float] | None = None,
    excepts: Sequence[str] = (),
    infer: bool = True,
    print_ir_after: Sequence[str] = (),
    keep: bool = False,
    console: Console = SILENT,
) -> Transformed:
    """Read a model (path, bytes or onnx.ModelProto), optimise it, and prove it on a test input.

    preprocess: attributes of top.Input (mean, scale, pixel_format, resize_dims, …), for all inputs
    or one mapping per input.
    mlir: the graph is written there, beside it its weights and, as `<mlir>_origin.mlir`, the graph
    as it was read, before the passes (to look at: without weights). test_input: pictures, arrays or
    one .npz; every tensor of the float run is compared with the original model's within tolerance
    (cosine, euclidean; section 12.3) and, with test_result, written as .npz; `<name>_in_f32.npz`
    beside the .mlir keeps the input. infer: False only keeps the input. keep: also keep the
    original's tensors.

    Raises UserInputError (bad files; a comparison that fails), OptionError, UnsupportedError (lists
    every such node).
    """
    from ..frontend.onnx import load
    from ..ir.text import to_text, write
    from ..passes.origins import note_fused, readers
    from ..passes.pipeline import optimise

    name = name or _stem(model)
    if mlir is not None and Path(mlir).suffix != ".mlir":
        raise OptionError(f"{mlir}: the name of the graph must end in .mlir")
    with console.step("read and optimise the model"):
        graph = load(
            model,
            name=name,
            input_shapes=input_shapes,
            output_names=output_names,
            preprocess=preprocess,
        )
        before = readers(graph)
        origin = "" if mlir is None else to_text(graph)
        optimise(graph, print_ir_after=list(print_ir_after))
        note_fused(graph, before)
        specs = input_specs(graph)
    result = Transformed(graph)
    if mlir is not None:
        weights = Path(mlir).with_name(f"{Path(mlir).stem}_top_f32_all_weight.npz")
        write(graph, Path(mlir), weights)
        before_passes = Path(mlir).with_name(f"{Path(mlir).stem}_origin.mlir")
        write_text(before_passes, origin)
        result.files += [Path(mlir), weights, before_passes]
        console.say(f"Mlir file generated:{mlir}")
    if test_input:
        beside = Path(mlir).parent if mlir is not None else None
        result.inputs = load_inputs(specs, test_input, console.say)
        if beside is not None:
            _save(result, beside / f"{name}_in_f32.npz", result.inputs, console)
            if Path(str(mlir)).stem != name:
                _save(result, beside / f"{Path(str(mlir)).stem}_in_f32.npz", result.inputs, console)
        if infer:
            if beside is not None and isinstance(model, str | os.PathLike):
                taken, ours = beside / f"{name}_in_f32.npz", test_result or f"{name}_outputs.npz"
                for file, output in (model, f"{name}_ref_outputs.npz"), (mlir, ours):
                    console.say(
                        f"[CMD]: model_runner --input {taken} --model {file} --output {output} "
                        "--dump_all_tensors"
                    )
            _prove(model, result, tolerance or TOLERANCE, excepts, test_result, keep, console)
    return result


def _stem(model: Any) -> str:
    return Path(model).stem if isinstance(model, str | os.PathLike) else "model"


def _save(
    result: Transformed, path: Path, arrays: Mapping[str, np.ndarray], console: Console
) -> None:
    write_npz(path, arrays)
    result.files.append(path)
    console.say(f"Saving {path}")


def _prove(
    model: Any,
    result: Transformed,
    tolerance: Sequence[float],
    excepts: Sequence[str],
    test_result: PathLike | None,
    keep: bool,
    console: Console,
) -> None:
    from ..original import original_model, run_original
    from ..passes.origins import origins
    from ..top.reference import Reference

    graph = result.graph
    with console.step("run the original model"):
        names = [v.name for v in graph.values()]
        reference = run_original(original_model(model), result.inputs, names, origins(graph))
    with console.step("run the float graph"):
        result.outputs = Reference(graph, "all").run(result.inputs)
    if test_result is not None:
        _save(result, Path(test_result), result.outputs, console)
        if keep:
            _save(
                result,
                Path(test_result).with_name(f"{graph.name}_ref_outputs.npz"),
                reference,
                console,
            )
    report = checked(
        result.outputs, reference, tolerance, excepts, ("float graph", "original model"), console
    )
    if report.first_failed is not None:
        raise UserInputError(
            "the float graph differs from the original model: first bad tensor "
            f"{words(report.first_failed)}"
        )
    if not report.passed:
        raise UserInputError(
            "no tensor of the float graph has a name of the original model: nothing could be "
            "compared"
        )
