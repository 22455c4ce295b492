"""model_runner: run .onnx, .mlir or .cvimodel on arrays (cli.md section 9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..compiler.errors import OptionError, UnsupportedError
from . import common

LATER = {".pt": "TorchScript", ".tflite": "TFLite", ".prototxt": "Caffe", ".bmodel": "BM168x"}
Arrays = dict[str, np.ndarray]


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "model_runner", argv)


def _main(argv: list[str]) -> int:
    p = common.Parser("model_runner", "Run a model on arrays and write its outputs.")
    p.add_argument("--input", required=True, metavar="FILES", help=".npz, or one .npy per input")
    p.add_argument("--model", required=True, metavar="FILE", help=".onnx, .mlir or .cvimodel")
    p.add_argument("--output", required=True, metavar="OUT.npz", help="where the outputs go")
    p.add_argument("--dump_all_tensors", action="store_true", help="every tensor, not the outputs")
    p.add_argument(
        "--out_fixed", action="store_true", help="int8 outputs as they are, not as reals"
    )
    p.add_argument("--weight", help="weights that go with a .prototxt")
    p.add_argument("--cuda", action="store_true", help="accepted; has no effect here")
    common.add_common_options(p)
    options = p.parse(argv)
    common.apply_common_options(options)
    suffix = Path(options.model).suffix.lower()
    if suffix in LATER:
        raise UnsupportedError(f"{options.model}: this version does not run {LATER[suffix]} models")
    if suffix not in RUNNERS:
        raise OptionError(f"{options.model}: unknown extension; run are {', '.join(RUNNERS)}")
    if not options.output.endswith(".npz"):
        raise OptionError(f"--output {options.output}: the name must end in .npz")
    from ..compiler.inputs import write_npz

    common.existing_file(options.model, "a model")
    sources = common.names(options.input)
    common.check_output(options.output)
    values = RUNNERS[suffix](options.model, sources, options.dump_all_tensors, options.out_fixed)
    write_npz(options.output, values)
    common.say(f"Saving {options.output} ({len(values)} tensors)")
    return 0


def _onnx(model: str, sources: list[str], everything: bool, fixed: bool) -> Arrays:
    """The original model in onnxruntime, with the shapes of the arrays; all tensors under the names
    of our graphs."""
    from ..compiler.calibrate.samples import InputSpec
    from ..compiler.inputs import given_shapes, load_inputs
    from ..compiler.original import declared_inputs, original_model, run_original, top_names

    proto, declared, specs = original_model(model), declared_inputs(model), []
    given = given_shapes([name for name, _ in declared], sources)
    for name, dims in declared:
        if len(given.get(name, ())) == len(dims):
            dims = list(given[name])
        if None in dims:
            raise OptionError(
                f"{model}: input {name!r} has dimensions that are not fixed "
                f"{[d or '?' for d in dims]}: give an array of that rank"
            )
        specs.append(InputSpec(name, tuple(int(d or 0) for d in dims)))
    names = top_names(proto)
    if not everything:
        outputs = {o.name for o in proto.graph.output}
        names = {n: t for n, t in names.items() if t in outputs}
    return run_original(proto, load_inputs(specs, sources, common.say), list(names))


def _mlir(model: str, sources: list[str], everything: bool, fixed: bool) -> Arrays:
    """A Top graph in onnxruntime, or a quantised graph by the references of its operations."""
    from ..compiler.flow.checks import native_inputs
    from ..compiler.flow.transform import input_specs
    from ..compiler.inputs import load_inputs
    from ..compiler.ir.text import read
    from ..compiler.top.reference import Reference
    from ..compiler.tpu.interpreter import dequantised, run

    graph = read(model)
    inputs = load_inputs(input_specs(graph), sources, common.say)
    if all(op.dialect == "top" for op in graph.ops):
        return Reference(graph, "all" if everything else None).run(inputs)
    values = run(graph, native_inputs(graph, inputs), keep="all" if everything else "outputs")
    return dict(values if fixed else dequantised(graph, values))


def _cvimodel(model: str, sources: list[str], everything: bool, fixed: bool) -> Arrays:
    """A compiled file on the simulator."""
    from ..compiler.flow.simulator import run_file

    return run_file(model, sources, every=everything, fixed=fixed, note=common.say)


RUNNERS: dict[str, Callable[[str, list[str], bool, bool], Arrays]] = {
    ".onnx": _onnx,
    ".mlir": _mlir,
    ".cvimodel": _cvimodel,
}
