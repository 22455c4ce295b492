"""run_calibration: float graph + samples -> calibration table (cli.md section 4)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.errors import OptionError, UnsupportedError
from . import common
from .console import TERMINAL
from .preprocessing import describe

if TYPE_CHECKING:
    from ..compiler.ir import Graph

#: options of searches and expert switches of the vendor's tool: accepted, and a note says so
IGNORED_VALUES = (
    "--inference_num", "--bc_inference_num", "--expected_cos", "--min_layer_cos",
    "--max_float_layers", "--chip", "--processor", "--fp_type", "--global_compare_layers",
    "--quantize_method_list", "--benchmark_method", "--mix_mode", "--pre_qtable",
    "--quantize_table", "--q_group_size", "--custom_operator", "--debug_log", "--part_quantize",
    "--buffer_size",
)  # fmt: skip
IGNORED_FLAGS = ("--kurtosis_analysis", "--post_process", "--cluster")
#: they change weights or thresholds
LATER_FLAGS = {
    "--we": "weight equalisation", "--bc": "bias correction", "--sq": "smooth-quant",
    "--smc": "softmax correction", "--part_asymmetric": "zero points",
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "run_calibration", argv)


def parser() -> common.Parser:
    p = common.Parser(
        "run_calibration", "Run the float graph on samples and write the thresholds of its tensors."
    )
    p.add_argument("mlir_file", metavar="MODEL.mlir", help="written by model_transform")
    p.add_argument("--dataset", metavar="DIR", help="folder with samples, searched recursively")
    p.add_argument(
        "--data_list",
        "--image_list",
        dest="data_list",
        metavar="FILE",
        help="text file: one sample a line, several inputs separated by commas",
    )
    p.add_argument("--input_num", type=int, default=0, metavar="N", help="samples; 0 = all")
    p.add_argument(
        "--cali_method",
        metavar="METHOD",
        help="kl (default), max, mse, percentile9999, aciq_laplace, aciq_gauss",
    )
    p.add_argument(
        "--tune_num", type=int, default=5, metavar="N", help="samples for tuning; 0 = no tuning"
    )
    p.add_argument("--tune_list", metavar="FILE", help="samples for tuning, default the first")
    p.add_argument("--histogram_bin_num", type=int, default=2048, metavar="BINS")
    p.add_argument("--strict", action="store_true", help="an unreadable sample ends the run")
    p.add_argument("--threads", type=int, default=0, metavar="N", help="0 = all cores")
    p.add_argument(
        "-o", "--calibration_table", required=True, metavar="TABLE", help="the table to write"
    )
    p.add_argument("--search", default="False", help=argparse.SUPPRESS)
    p.add_argument("--debug_cmd", default="", help=argparse.SUPPRESS)
    p.add_argument("--custom_op_plugin", default="", help=argparse.SUPPRESS)
    for option in IGNORED_VALUES:
        p.add_argument(option, help=argparse.SUPPRESS)
    for flag in (*IGNORED_FLAGS, *LATER_FLAGS):
        p.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    common.add_common_options(p)
    return p


def _main(argv: list[str]) -> int:
    from ..compiler.flow.deploy import read_top

    options = parser().parse(argv)
    common.apply_common_options(options)
    method = _check(options)
    common.check_output(options.calibration_table)
    graph = read_top(options.mlir_file)
    log = Path(options.calibration_table).with_name(f"{graph.name}.log")
    with common.log_to(log, "run_calibration", argv):
        _calibrate(options, graph, method)
    return 0


def _calibrate(options: argparse.Namespace, graph: Graph, method: str) -> None:
    from ..compiler import api

    common.say(common.version_line())
    for option in sorted(
        {o.lstrip("-") for o in (*IGNORED_FLAGS, *IGNORED_VALUES)} & options.present
    ):
        common.say(f"note: --{option} has no effect here")
    for value in graph.inputs:
        if value.owner is not None and value.owner.attrs.get("do_preprocess"):
            common.say("\n".join(describe(value.owner.attrs)))
    with common.step(f"calibration of {graph.name}, {method}, {options.tune_num} for tuning"):
        api.calibrate(
            graph,
            options.dataset,
            table=options.calibration_table,
            method=method,
            input_num=options.input_num,
            tune_num=options.tune_num,
            data_list=options.data_list,
            tune_list=options.tune_list,
            bins=options.histogram_bin_num,
            threads=options.threads,
            strict=options.strict,
            old_files=_is_old(options, graph),
            console=TERMINAL,
        )


def _is_old(options: argparse.Namespace, graph: Graph) -> bool:
    """The old command line: by its options, or the graph is one that the old model_transform made
    (most of the old lines have no option that the new ones lack)."""
    folded = any(v.owner is not None and v.owner.attrs.get("folded") for v in graph.inputs)
    return folded or common.detect_dialect(options) == common.OLD


def _check(options: argparse.Namespace) -> str:
    """The method; OptionError and UnsupportedError for what makes no sense before any work."""
    from ..compiler.calibrate.methods import ALIASES, METHODS, method_named

    if not (options.dataset or options.data_list):
        raise OptionError("no samples: give --dataset DIR or --data_list FILE")
    if options.search.lower() not in ("false", "0", "no"):
        raise UnsupportedError(f"--search {options.search}: this version has no searches")
    for flag, what in LATER_FLAGS.items():
        if flag.lstrip("-") in options.present:
            raise UnsupportedError(f"{flag}: this version has no {what}")
    if options.custom_op_plugin:
        raise UnsupportedError("--custom_op_plugin: this version has no custom operators")
    if options.tune_num < 0 or options.input_num < 0 or options.threads < 0:
        raise OptionError("--input_num, --tune_num and --threads must not be negative")
    words = options.debug_cmd.replace(",", " ").split()
    named = [w for w in words if w.lower() in (*ALIASES, *METHODS)]
    if (
        options.cali_method
        and named
        and method_named(named[0]) != method_named(options.cali_method)
    ):
        raise OptionError(f"--cali_method {options.cali_method} contradicts --debug_cmd {named[0]}")
    for word in words:
        if word not in named:
            common.say(f"note: --debug_cmd {word} has no effect here")
    return method_named(options.cali_method or (named[0] if named else "kl"))
