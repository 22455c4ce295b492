"""model_deploy: float graph + calibration table -> verified .cvimodel (cli.md section 5)."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.errors import OptionError, UnsupportedError
from . import common
from .console import TERMINAL

if TYPE_CHECKING:
    from ..compiler.api import Deployed
    from ..compiler.ir import Graph

#: options of the vendor's tools that mean nothing here: accepted, and a note says so (section 5.1)
IGNORED_FLAGS = (
    "--cache_skip", "--op_divide", "--do_winograd", "--disable_layer_group", "--high_precision",
    "--matmul_perchannel", "--q_symmetric", "--weight_deduplicate", "--disable_affine", "--dynamic",
    "--disable_gdma_check", "--disable_topo_sort", "--ignore_f16_overflow", "--io_alone", "--cuda",
    "--not_gen_bmodel", "--quant_input_int8", "--quant_output_int8", "--group_by_cores",
    "--opt_post_processor", "--tg_op_divide",
)  # fmt: skip
IGNORED_VALUES = (
    "--compress_mode", "--iomem_set", "--addr_mode", "--same_addr", "--layer_group_config",
    "--q_group_size", "--trunc_final", "--gen_test_input", "--gen_test_seed", "--gelu_mode",
    "--time_fixed_subnet", "--subnet_params", "--global_op_types", "--fazzy_match", "--ip", "--pwd",
)  # fmt: skip
LATER_FLAGS = ("--quant_output_bf16", "--expose_bf16_inputs")
TYPES = ("AUTO", "FP32", "INT8", "BF16", "SAME")
CV18XX = ("cv183x", "cv182x", "cv181x", "cv180x")
BM168X = ("bm1684x", "bm1684")
#: default tolerance of the vendor's current tool, shown as a hint when ours passes and it would not
HINT_TOLERANCE = (0.90, 0.80)


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "model_deploy", argv)


def parser() -> common.Parser:
    p = common.Parser(
        "model_deploy", "Quantise a float graph, compile it for a chip, and check the file."
    )
    p.add_argument("--mlir", required=True, metavar="FILE.mlir", help="the float graph")
    p.add_argument("--chip", "--processor", required=True, type=str.lower, dest="chip",
                   metavar="|".join(CV18XX), help="target chip")  # fmt: skip
    p.add_argument("--model", "--cvimodel", metavar="OUT.cvimodel", help="the model file to write")
    p.add_argument("--quantize", type=str.upper, help="INT8 (others in later versions)")
    p.add_argument("--calibration_table", metavar="FILE", help="thresholds; needed for INT8")
    p.add_argument(
        "--quantize_table", "--mix_precision_table", metavar="FILE", help="data type per layer"
    )
    p.add_argument("--test_input", "--image", metavar="FILES", help="picture(s), .npz or .npy")
    p.add_argument("--test_reference", metavar="REF.npz", help="float tensors to compare with")
    p.add_argument("--tolerance", type=common.floats, metavar="COS,EUC", help="default 0.8,0.5")
    p.add_argument("--correctness", "--correctnetss", type=common.floats, metavar="COS,EUC",
                   help="of the file against the quantised graph (always equal)")  # fmt: skip
    p.add_argument("--excepts", type=common.names, default=[], metavar="A,B", help="not compared")
    p.add_argument(
        "--compare_all", action="store_true", help="compare every tensor, not the outputs"
    )
    p.add_argument("--skip_validation", action="store_true", help="do not run anything")
    p.add_argument("--quant_input", action="store_true", help="the file takes int8 inputs")
    p.add_argument("--quant_output", action="store_true", help="the file gives int8 outputs")
    p.add_argument("--quant_input_list", type=common.ints, help=argparse.SUPPRESS)
    p.add_argument("--quant_output_list", type=common.ints, help=argparse.SUPPRESS)
    p.add_bool("--dequant_results_to_fp32", default=True, help="old command line")
    for option in ("--inputs_type", "--outputs_type"):
        p.add_argument(
            option, type=str.upper, choices=TYPES, default="AUTO", help="old command line"
        )
    p.add_argument("--model_version", type=_version, metavar="1.4", help="version in the file")
    p.add_argument("--num_device", type=int, default=1, help=argparse.SUPPRESS)
    p.add_argument("--num_core", type=int, default=1, help=argparse.SUPPRESS)
    p.add_argument("--custom_op_plugin", default="", help=argparse.SUPPRESS)
    p.add_argument(
        "--opt", type=int, choices=(0, 1, 2, 3), default=2, help="search of the scheduler"
    )
    p.add_bool("--merge_weight", help="share constants with the file made before (_weight_map.csv)")
    p.add_bool(
        "--compress_weight", default=True, help="store constants compressed where that is shorter"
    )
    p.add_argument("--model_name", help="old command line: prefix of the files")
    p.add_argument("--all_bf16", action="store_true", help="old command line: quantize BF16")
    p.add_argument("--asymmetric", action="store_true", help=argparse.SUPPRESS)
    p.add_bool("--fuse_preprocess", help="later version")
    p.add_argument("--pixel_format", "--customization_format", dest="customization_format",
                   help=argparse.SUPPRESS)  # fmt: skip
    p.add_bool("--aligned_input", help=argparse.SUPPRESS)
    for flag in LATER_FLAGS:
        p.add_bool(flag, help=argparse.SUPPRESS)
    for flag in IGNORED_FLAGS:
        p.add_argument(flag, nargs="?", const="true", help=argparse.SUPPRESS)
    for option in IGNORED_VALUES:
        p.add_argument(option, help=argparse.SUPPRESS)
    common.add_common_options(p)
    return p


def _version(text: str) -> tuple[int, int, int] | None:
    """`latest`, 1.4 or 1.4.0; files of versions 1.2 to 1.4 differ in this number only
    (formats/cvimodel.md section 17)."""
    if text == "latest":
        return None
    found = re.fullmatch(r"1\.([234])(?:\.(\d{1,2}))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not latest, 1.2, 1.3 or 1.4")
    return 1, int(found[1]), int(found[2] or 0)


def _main(argv: list[str]) -> int:
    options = parser().parse(argv)
    common.apply_common_options(options)
    old = common.detect_dialect(options, name_is_old=True) == common.OLD
    _check(options, old)
    from ..compiler.flow.deploy import read_top

    common.check_output(options.model)
    graph = read_top(options.mlir)
    log = Path(options.model).with_name(f"{options.model_name or graph.name}.log")
    with common.log_to(log, "model_deploy", argv):
        _deploy(options, graph, old)
    return 0


def _deploy(options: argparse.Namespace, graph: Graph, old: bool) -> None:
    from ..compiler import api

    common.say(common.version_line())
    for option in sorted(
        {o.lstrip("-") for o in (*IGNORED_FLAGS, *IGNORED_VALUES)} & options.present
    ):
        common.say(f"note: --{option} has no effect here")
    inputs = None if options.skip_validation or not options.test_input else _files(options, old)
    quant_input, quant_output = _boundary(options, graph)
    done = api.deploy(
        graph,
        options.calibration_table,
        options.chip,
        options.model,
        name=options.model_name,
        quant_input=quant_input,
        quant_output=quant_output,
        quantize_table=options.quantize_table,
        opt=options.opt,
        merge_weight=options.merge_weight,
        compress_weight=options.compress_weight,
        model_version=options.model_version,
        test_input=inputs,
        test_reference=options.test_reference,
        tolerance=options.tolerance,
        correctness=options.correctness,
        excepts=options.excepts,
        compare_all=options.compare_all or old,
        old_files=old,
        keep=options.debug,
        console=TERMINAL,
    )
    _hint(done, options)


def _boundary(options: argparse.Namespace, graph: Graph) -> tuple[bool, bool]:
    """(int8 inputs, int8 outputs): of all or of none, in any of the ways of saying it."""
    for option, values in (
        ("quant_input_list", graph.inputs),
        ("quant_output_list", graph.outputs),
    ):
        chosen = set(getattr(options, option) or ())
        if chosen - set(range(1, len(values) + 1)):
            raise OptionError(f"--{option} counts from 1 to {len(values)}")
        if chosen and len(chosen) < len(values):
            raise UnsupportedError(
                f"--{option}: this version makes all of the {len(values)} int8 or none"
            )
    quant = ("INT8", "SAME")
    return (
        options.quant_input or bool(options.quant_input_list) or options.inputs_type in quant,
        options.quant_output
        or bool(options.quant_output_list)
        or options.outputs_type in quant
        or not options.dequant_results_to_fp32,
    )


def _check(options: argparse.Namespace, old: bool) -> None:
    """What can be said before any work (sections 5.3 and 5.6)."""
    if options.chip in BM168X:
        raise UnsupportedError(
            f"--chip {options.chip}: this version compiles for {', '.join(CV18XX)}"
        )
    if options.chip not in CV18XX:
        raise OptionError(
            f"--chip {options.chip}: unknown; this version compiles for {', '.join(CV18XX)}"
        )
    if not options.model:
        raise OptionError("the model file to write is missing: --model OUT.cvimodel")
    if Path(options.model).suffix != ".cvimodel":
        raise OptionError(
            f"--model {options.model}: the file of a CV18xx chip must end in .cvimodel"
        )
    quantize = options.quantize or ("BF16" if options.all_bf16 else "INT8" if old else None)
    if quantize is None:
        raise OptionError(
            "--quantize is missing: F32, its default, is no type of a CV18xx; say --quantize INT8"
        )
    if quantize in ("F32", "FP32"):
        raise OptionError(f"--quantize {quantize}: CV18xx chips have no float32 commands; use INT8")
    if quantize in ("BF16", "F16", "MIX_BF16"):
        raise UnsupportedError(f"--quantize {quantize}: this version compiles INT8 only")
    if quantize != "INT8":
        raise OptionError(f"--quantize {quantize}: this version compiles INT8")
    if options.asymmetric:
        raise OptionError("--asymmetric: CV18xx chips have no zero points; leave it out")
    if not options.calibration_table:
        raise OptionError("--quantize INT8 needs --calibration_table (written by run_calibration)")
    if options.fuse_preprocess:
        raise UnsupportedError(
            "--fuse_preprocess: this version does not put preprocessing into the file"
        )
    for option in ("customization_format", "pixel_format", "aligned_input"):
        if option in options.typed:
            raise OptionError(f"--{option} goes with --fuse_preprocess only")
    for flag in LATER_FLAGS:
        if getattr(options, flag.lstrip("-")):
            raise UnsupportedError(f"{flag}: this version compiles INT8 only")
    if "BF16" in (options.inputs_type, options.outputs_type):
        raise UnsupportedError(
            "--inputs_type, --outputs_type BF16: this version compiles INT8 only"
        )
    if options.num_core != 1 or options.num_device != 1:
        raise OptionError(f"--num_core, --num_device: a {options.chip} has one core and is alone")
    if options.custom_op_plugin:
        raise UnsupportedError("--custom_op_plugin: this version has no custom operators")
    common.check_module_name(options.model_name)
    for option in ("tolerance", "correctness"):
        numbers = getattr(options, option)
        if numbers is not None and len(numbers) > 4:
            raise OptionError(f"--{option} takes 1 to 4 numbers, not {len(numbers)}")
    if old and not options.test_input and not options.skip_validation:
        raise OptionError("the old command line needs --image, a picture or .npz to check with")
    if options.test_reference and not options.test_input:
        raise OptionError("--test_reference needs --test_input, the input it belongs to")


def _files(options: argparse.Namespace, old: bool) -> list[str]:
    text = options.test_input
    for separator in ":;" if old else "":
        text = text.replace(separator, ",")
    return common.names(text)


def _hint(done: Deployed, options: argparse.Namespace) -> None:
    """Say when the default tolerance passed but the one of the vendor's current tool would not."""
    reports = done.reports
    if options.tolerance is None and reports:
        cosine, euclidean, _ = reports[0].minimum
        if (cosine, euclidean) < HINT_TOLERANCE and (
            cosine <= HINT_TOLERANCE[0] or euclidean <= HINT_TOLERANCE[1]
        ):
            limits = ",".join(map(str, HINT_TOLERANCE))
            common.say(
                f"note: passes the default limits, but not {limits} (the default of tpu_mlir 1.30)"
            )
