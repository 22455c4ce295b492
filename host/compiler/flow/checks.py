"""The checks of deploy: float graph -> quantised graph -> file on the simulator (cli.md section
5.4)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InternalError, UserInputError
from ..inputs import Source, load_inputs, read_npz
from ..ir import Graph
from .bisect import first_wrong_layer
from .console import Console
from .deployed import Deployed, failed_name
from .op_info import op_info
from .report import checked, first_bad, words
from .simulator import simulate
from .transform import PathLike, input_specs

#: default limits (cosine, euclidean) of the quantised graph against the float one
TOLERANCE = (0.8, 0.5)
CORRECTNESS = (0.99, 0.90)


@dataclass(frozen=True)
class Checks:
    """How the result is checked. reference: .npz with float tensors (None: run the float graph)."""

    inputs: Sequence[Source]
    reference: PathLike | Mapping[str, np.ndarray] | None = None
    tolerance: Sequence[float] = TOLERANCE
    correctness: Sequence[float] = CORRECTNESS
    excepts: Sequence[str] = ()
    compare_all: bool = False


def check_quantised(
    result: Deployed, top: Graph, checks: Checks, keep: bool, console: Console
) -> None:
    """Steps 1 to 3 of section 5.4; UserInputError naming the first layer, in order, that misses the
    tolerance."""
    from ..tpu.interpreter import dequantised, run

    result.inputs = load_inputs(input_specs(top), checks.inputs, console.say)
    result.input_file = _keep_input(result, checks, console)
    reference = _reference(result, top, checks, keep, console)
    tpu = result.graph
    path = result.tensors_file("quantized_tensors_interp", "tpu_outputs")
    console.say(runner_line(result, f"{result.prefix}_tpu.mlir", path, every=checks.compare_all))
    with console.step("run the quantised graph"):
        values = run(tpu, native_inputs(tpu, result.inputs), keep="all")
    wanted = values if checks.compare_all else {v.name for v in tpu.outputs}
    result.expected = {n: x for n, x in values.items() if n in wanted}
    real = as_top_names(dequantised(tpu, values), top, tpu)
    if keep:
        result.write_arrays(path, real, console)
    outputs = {v.name for v in top.outputs}
    compared = {n: x for n, x in real.items() if checks.compare_all or n in outputs}
    report = checked(
        compared,
        reference,
        checks.tolerance,
        checks.excepts,
        ("quantised graph", "float graph"),
        console,
    )
    result.reports.append(report)
    if report.first_failed is not None:
        layer = first_bad(real, _float_run(top, result.inputs), checks.tolerance, checks.excepts)
        place = (
            f"first bad layer in the order of computation: {words(layer)}"
            if layer
            else "every layer alone is within it"
        )
        raise UserInputError(
            f"the quantised graph misses the tolerance {', '.join(map(str, checks.tolerance))} "
            f"at {words(report.first_failed)}; "
            f"{place}. Calibrate on more or better pictures, or lower the tolerance"
        )
    if not report.passed:
        raise UserInputError(
            "the test reference has no tensor of this network: nothing could be compared"
        )


def _keep_input(result: Deployed, checks: Checks, console: Console) -> str:
    """The files of the test input. Pictures and arrays become <name>_in_f32.npz; the old toolchain
    has the input as <name>_in_fp32.npz in any case."""
    named = [str(f) for f in checks.inputs if not isinstance(f, np.ndarray)]
    given = len(named) == len(checks.inputs) and all(f.lower().endswith(".npz") for f in named)
    kinds = [kind for kind, wanted in (("in_f32", not given), ("in_fp32", result.old)) if wanted]
    paths = [result.beside(f"{result.name}_{kind}.npz") for kind in kinds]
    for path in paths:
        result.write_arrays(path, result.inputs, console)
    return ",".join(named) if given else str(paths[0])


def _reference(
    result: Deployed, top: Graph, checks: Checks, keep: bool, console: Console
) -> Mapping[str, np.ndarray]:
    """The float tensors to compare with: given, or of the float graph; these are written as
    <name>_top_outputs.npz (the old toolchain keeps no such file)."""
    if isinstance(checks.reference, Mapping):
        return checks.reference
    if checks.reference is not None:
        return read_npz(checks.reference)
    with console.step("run the float graph"):
        values = _float_run(top, result.inputs)
    kind = "full_precision_interp" if result.old else "top_outputs"
    if keep or not result.old:
        result.write_arrays(result.beside(f"{result.name}_{kind}.npz"), values, console)
    return values


def runner_line(result: Deployed, model: str | Path, output: Path, every: bool) -> str:
    """The command that does the same as the step that follows (section 5.4)."""
    line = f"[CMD]: model_runner --input {result.input_file} --model {model} --output {output}"
    return line + " --dump_all_tensors" * every


def _float_run(top: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    from ..top.reference import Reference

    return Reference(top, "all").run(inputs)


def native_inputs(tpu: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Float inputs as the types of the quantised graph: f32(x) * f32(1 / scale), rounded half away
    from zero, clipped (cli.md section 9)."""
    native = {}
    for v in tpu.inputs:
        x = np.asarray(inputs[v.name], np.float32)
        if v.type.dtype == "i8":
            scaled = x * np.float32(1.0 / (v.type.scale or 1.0))
            rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
            x = np.clip(rounded, -128, 127).astype(np.int8)
        native[v.name] = x
    return native


def as_top_names(values: Mapping[str, np.ndarray], top: Graph, tpu: Graph) -> dict[str, np.ndarray]:
    """Values of the quantised graph under the names and shapes of the Top graph: an output cast to
    float has the suffix _f32, and every activation four dimensions. Values that the Top graph does
    not have are left out."""
    shapes = {v.name: v.shape for v in top.values()}
    found = {}
    renamed = {t.name: v.name for v, t in zip(top.outputs, tpu.outputs, strict=True)}
    for name, x in values.items():
        own = renamed.get(name, name)
        if own in shapes and x.size == np.prod(shapes[own], dtype=np.int64):
            found[own] = x.reshape(shapes[own])
    return {n: found[n] for n in shapes if n in found}


def check_simulated(result: Deployed, checks: Checks, keep: bool, console: Console) -> None:
    """Step 5 of section 5.4: the file on the simulator gives the bytes of the quantised graph; with
    compare_all those of every tensor that it keeps in memory."""
    path = result.tensors_file("quantized_tensors_sim", "model_outputs")
    console.say(runner_line(result, result.path, path, every=checks.compare_all))
    with console.step(f"run {result.path.name} on the simulator"):
        native = native_inputs(result.graph, result.inputs)
        shaped = {v.name: native[v.name].reshape(_four(v.shape)) for v in result.graph.inputs}
        result.simulated = simulate(result.path, shaped, every=checks.compare_all)
    if keep or result.old:
        result.write_arrays(path, result.simulated, console)
    if keep and result.old:
        result.write_text(f"{result.name}_quantized_op_info.csv", op_info(result.graph))
    expected = {n: x for n, x in result.expected.items() if n not in set(checks.excepts)}
    simulated = {
        n: result.simulated[n].reshape(x.shape)
        for n, x in expected.items()
        if n in result.simulated
    }
    report = checked(
        simulated, expected, checks.correctness, (), ("model file", "quantised graph"), console
    )
    result.reports.append(report)
    outputs = {v.name for v in result.graph.outputs}
    bad = [
        n
        for n, x in expected.items()
        if (n in outputs if n not in simulated else not equal(simulated[n], x))
    ]
    if bad:
        failed = _fail(result)
        with console.step("look for the first wrong layer"):
            layer = first_wrong_layer(result.graph, result.chip, result.opt, native)
        raise InternalError(
            f"{failed}: the compiled file does not compute what the quantised graph says "
            f"({', '.join(bad)}). First wrong layer: {layer or 'none of them alone'}. This is a "
            "bug "
            "of tpuforge: please report it with the model; as a way round, try another --opt"
        )


def _four(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape as the runtime reports it: padded to four dimensions."""
    return (*shape, *(1,) * (4 - len(shape)))


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Same type, shape and bytes."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _fail(result: Deployed) -> Path:
    failed = failed_name(result.path)
    os.replace(result.path, failed)
    result.files = [failed if f == result.path else f for f in result.files]
    return failed
