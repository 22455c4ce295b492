"""model_transform: model file -> optimised float graph, proved against the original model (cli.md
section 3)."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.errors import OptionError, UnsupportedError, UserInputError
from . import common
from .console import TERMINAL
from .preprocessing import add_preprocessing, describe, input_attributes

if TYPE_CHECKING:
    from ..compiler.api import Transformed

#: expert options of the vendor's tool that mean nothing here: accepted, and a note says so
IGNORED_FLAGS = ("--dynamic", "--struct_optimize")
IGNORED_VALUES = (
    "--dynamic_shape_input_names", "--shape_influencing_input_names", "--onnx_sim", "--pruning",
    "--op_custom_shape", "--debug_cmd", "--input_types", "--graph", "--model_data", "--aligned",
)  # fmt: skip
OLD_TOLERANCE = (0.99, 0.99, 0.98)
EXTENSIONS = {".onnx": "onnx"}
LATER = {
    ".prototxt": "Caffe", ".pt": "TorchScript", ".pth": "PyTorch", ".tflite": "TFLite",
    ".mlir": "MLIR", ".pb": "TensorFlow",
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "model_transform", argv)


def parser() -> common.Parser:
    p = common.Parser(
        "model_transform", "Read a model, optimise it and write the float graph (.mlir + weights)."
    )
    p.add_argument(
        "--model_name", required=True, help="name of the module and prefix of the side files"
    )
    p.add_argument("--model_def", required=True, metavar="FILE", help="the model: .onnx")
    p.add_argument("--mlir", required=True, metavar="OUT.mlir", help="the float graph to write")
    p.add_argument(
        "--input_shapes",
        type=common.shapes,
        metavar="[[1,3,224,224]]",
        help="replaces the shapes of the model",
    )
    p.add_argument(
        "--output_names", type=common.names, metavar="A,B", help="tensors that become the outputs"
    )
    p.add_argument(
        "--test_input",
        "--image",
        metavar="FILES",
        help="picture(s), one .npz, or one .npy per input",
    )
    p.add_argument(
        "--test_result",
        metavar="OUT.npz",
        help="every tensor of the float run (needs --test_input)",
    )
    p.add_argument(
        "--tolerance",
        type=common.floats,
        default=None,
        metavar="COS,EUC",
        help="limits against the original model",
    )
    p.add_argument(
        "--excepts",
        type=common.names,
        default=[],
        metavar="A,B",
        help="tensors that are not compared",
    )
    p.add_argument(
        "--not_inference", action="store_true", help="do not run the test input, only keep it"
    )
    p.add_argument(
        "--add_postprocess",
        "--post_handle_type",
        dest="add_postprocess",
        default="",
        help=argparse.SUPPRESS,
    )
    p.add_argument(
        "--print-ir-after",
        "--print_ir_after",
        dest="print_ir_after",
        type=common.names,
        default=[],
        metavar="PASS|all",
    )
    p.add_argument(
        "--model_type",
        type=str.lower,
        choices=("caffe", "onnx", "tensorflow", "tflite_int8", "mlir"),
        help="old command line",
    )
    p.add_argument(
        "--batch_size",
        type=int,
        help="old command line: dimension 0 of every input (0: the model's)",
    )
    add_preprocessing(p)
    for flag in IGNORED_FLAGS:
        p.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    for option in IGNORED_VALUES:
        p.add_argument(option, help=argparse.SUPPRESS)
    common.add_common_options(p)
    return p


def _main(argv: list[str]) -> int:
    options = parser().parse(argv)
    common.apply_common_options(options)
    dialect = common.detect_dialect(options)
    _check(options, dialect)
    for path in filter(None, (options.mlir, options.test_result)):
        common.check_output(path)
    log = Path(options.mlir).with_name(f"{options.model_name}.log")
    with common.log_to(log, "model_transform", argv, anew=True):
        _transform(options, dialect, argv)
    return 0


def _transform(options: argparse.Namespace, dialect: str, argv: list[str]) -> None:
    from ..compiler import api

    common.say(common.version_line())
    for option in sorted(
        {o.lstrip("-") for o in (*IGNORED_FLAGS, *IGNORED_VALUES)} & options.present
    ):
        common.say(f"note: --{option} has no effect here")
    shapes = _shapes(options, dialect)
    preprocess = _preprocessing(options, dialect, shapes)
    for attributes in filter(None, preprocess):
        common.say("\n".join(describe(attributes)))
    old = dialect == common.OLD
    done = api.transform(
        options.model_def,
        name=options.model_name,
        mlir=options.mlir,
        input_shapes=[list(s) for _, s in shapes],
        output_names=options.output_names or None,
        preprocess=preprocess,
        test_input=_test_inputs(options, dialect),
        test_result=options.test_result,
        tolerance=options.tolerance or (OLD_TOLERANCE if old else None),
        excepts=options.excepts,
        infer=not options.not_inference,
        print_ir_after=options.print_ir_after,
        keep=options.debug,
        console=TERMINAL,
    )
    (_old_files if old else _new_files)(options, done, argv)
    _note_refusals(done)


def _note_refusals(done: Transformed) -> None:
    """Said now, not after a calibration."""
    from ..compiler.chip import chip_named
    from ..compiler.lower import refusals

    if reasons := refusals(done.graph, chip_named("cv181x")):
        layers = "a layer" if len(reasons) == 1 else f"{len(reasons)} layers"
        print(
            f"warning: {done.graph.name}: model_deploy of this version can not compile {layers} of "
            f"it in INT8 for CV18xx: {'; '.join(reasons)}",
            file=sys.stderr,
        )


def _old_files(options: argparse.Namespace, done: Transformed, argv: list[str]) -> None:
    """<model_name>_op_info.csv (section 3.3)."""
    from ..compiler.flow.op_info import op_info

    path = Path(options.mlir).with_name(f"{options.model_name}_op_info.csv")
    common.write_text(path, op_info(done.graph))


def _new_files(options: argparse.Namespace, done: Transformed, argv: list[str]) -> None:
    """The graph as ONNX in text, and the list of files with the command that made them."""
    from ..compiler.top.export import to_text

    path = Path(options.mlir).with_name(f"{options.model_name}_opt.onnx.prototxt")
    common.write_text(path, to_text(done.graph))
    facts = {
        "version": common.version_line(),
        "command": shlex.join(["model_transform", *argv]),
        "files": [str(f) for f in (*done.files, path)],
    }
    path = Path(options.mlir).with_name(f"{options.model_name}.ref_files.json")
    common.write_text(path, json.dumps(facts, indent=1) + "\n")


def _check(options: argparse.Namespace, dialect: str) -> None:
    """What can be said before any work (section 3.6)."""
    path = Path(options.model_def)
    suffix = path.suffix.lower()
    if suffix in LATER:
        raise UnsupportedError(
            f"{path}: {LATER[suffix]} models are not read by this version; it reads .onnx"
        )
    if suffix not in EXTENSIONS:
        raise UserInputError(
            f"{path}: the extension {suffix or '(none)'} is no model format; known: .onnx"
        )
    if options.model_type not in (None, EXTENSIONS[suffix]):
        raise OptionError(f"--model_type {options.model_type} contradicts the extension of {path}")
    common.check_module_name(options.model_name)
    if not options.mlir.endswith(".mlir"):
        raise OptionError(f"--mlir {options.mlir}: the name must end in .mlir")
    if options.test_input and not options.test_result and dialect == common.NEW:
        raise OptionError(
            "--test_input needs --test_result, the .npz for every tensor of the float run"
        )
    if options.test_result and not options.test_input:
        raise OptionError("--test_result needs --test_input")
    if options.test_result and not options.test_result.endswith(".npz"):
        raise OptionError(f"--test_result {options.test_result}: the name must end in .npz")
    if options.tolerance is not None and len(options.tolerance) > 4:
        raise OptionError(f"--tolerance takes 1 to 4 numbers, not {len(options.tolerance)}")
    if "use_pil_resize" in (options.debug_cmd or ""):
        raise UnsupportedError(
            "--debug_cmd use_pil_resize: pictures are resized as OpenCV does; give .npy files of "
            "pictures resized otherwise"
        )
    if options.add_postprocess:
        raise UnsupportedError(
            f"--add_postprocess {options.add_postprocess}: this version adds no post-processing"
        )


def _test_inputs(options: argparse.Namespace, dialect: str) -> list[str] | None:
    if not options.test_input:
        return None
    text = options.test_input
    for separator in ":;" if dialect == common.OLD else "":
        text = text.replace(separator, ",")
    return common.names(text)


def _shapes(options: argparse.Namespace, dialect: str) -> list[tuple[str, list[int]]]:
    """(name, shape) of every input: --input_shapes, or the model's with --batch_size and
    --net_input_dims."""
    from ..compiler.original import declared_inputs

    declared = declared_inputs(options.model_def)
    if options.input_shapes is not None:
        if len(options.input_shapes) != len(declared):
            raise OptionError(
                f"--input_shapes has {len(options.input_shapes)} shape(s), the model "
                f"{len(declared)} input(s)"
            )
        return [
            (name, given) for (name, _), given in zip(declared, options.input_shapes, strict=True)
        ]
    shapes = []
    for name, dims in declared:
        made = list(dims)
        if dialect == common.OLD and made:
            made[0] = options.batch_size or made[0] or 1
            if options.net_input_dims and len(made) == 4:
                _apply_net_dims(made, options)
        if None in made or not made:
            shown = [d or "?" for d in made]
            raise OptionError(
                f"input {name!r} of the model has dimensions that are not fixed {shown}: give "
                "--input_shapes"
            )
        shapes.append((name, [int(d) for d in made if d is not None]))
    return shapes


def _apply_net_dims(dims: list[Any], options: argparse.Namespace) -> None:
    at = 1 if options.data_format == "nhwc" else 2
    if len(options.net_input_dims) != 2:
        raise OptionError(f"--net_input_dims takes height,width, not {options.net_input_dims}")
    for i, given in enumerate(options.net_input_dims):
        if dims[at + i] not in (None, given):
            raise OptionError(
                f"--net_input_dims {options.net_input_dims} contradicts the model's input {dims}"
            )
        dims[at + i] = given


def _preprocessing(
    options: argparse.Namespace, dialect: str, shapes: list[tuple[str, list[int]]]
) -> list[dict[str, Any] | None]:
    chosen = options.preprocess_list or range(1, len(shapes) + 1)
    if any(not 1 <= i <= len(shapes) for i in chosen):
        raise OptionError(f"--preprocess_list counts inputs from 1 to {len(shapes)}")
    return [
        input_attributes(options, dialect, shape) if i in chosen else None
        for i, (_, shape) in enumerate(shapes, 1)
    ]
