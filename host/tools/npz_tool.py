"""npz_tool: compare, show and edit files of arrays (cli.md section 9).

Each sub-command is a function with a table entry; `npz_tool SUB --help` shows its arguments.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable

import numpy as np

from ..compiler import verify
from ..compiler.errors import OptionError, UnsupportedError, UserInputError
from ..compiler.fileio import existing_file, write_text
from ..compiler.inputs import read_npz
from . import common, npz_edit
from .npz_edit import Arrays, pick


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "npz_tool", argv)


def _main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(common.version_line())
        return 0
    if argv[0] in ELSEWHERE:
        raise UnsupportedError(f"npz_tool {argv[0]}: this version has none; {ELSEWHERE[argv[0]]}")
    if argv[0] not in COMMANDS:
        raise OptionError(f"unknown sub-command {argv[0]!r}: one of {', '.join(COMMANDS)}")
    prepare, run = COMMANDS[argv[0]]
    p = common.Parser(f"npz_tool {argv[0]}", (run.__doc__ or "").strip())
    prepare(p)
    p.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return run(p.parse(argv[1:])) or 0


def _overview() -> str:
    lines = ["usage: npz_tool SUB-COMMAND ARGUMENTS", "", "sub-commands:"]
    return "\n".join(
        lines
        + [f"  {n:14s} {(run.__doc__ or '').splitlines()[0]}" for n, (_, run) in COMMANDS.items()]
    )


def _positional(*names: str, optional: tuple[str, ...] = ()) -> Callable[[common.Parser], None]:
    def prepare(p: common.Parser) -> None:
        for n in names:
            p.add_argument(n, metavar=n.upper())
        for n in optional:
            p.add_argument(n, metavar=n.upper(), nargs="?")

    return prepare


# ------------------------------------------------------------ compare


def _compare_options(p: common.Parser) -> None:
    p.add_argument("target", metavar="TARGET")
    p.add_argument("reference", metavar="REF")
    p.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="-v: every tensor; -vv: and the largest values of failing ones",
    )
    p.add_argument(
        "--tolerance",
        default="0.99,0.99",
        metavar="COS,EUC",
        help="1 to 4 numbers (3 and 4: old dialect)",
    )
    p.add_argument(
        "--excepts",
        type=common.names,
        default=[],
        metavar="A,B",
        help="tensors that are not compared",
    )
    p.add_argument(
        "--key",
        "-k",
        "--only_key",
        dest="key",
        type=common.names,
        metavar="A,B",
        help="compare only these",
    )
    p.add_argument("--save", "-s", metavar="CSV", help="write the table of results")
    p.add_argument(
        "--full-array",
        "--full_array",
        dest="full_array",
        action="store_true",
        help="print whole arrays of failing tensors",
    )
    p.add_argument(
        "--stats_int8_tensor", action="store_true", help="statistics of the int8 tensors"
    )
    p.add_argument(
        "--int8_tensor_close",
        type=int,
        choices=(0, 1),
        default=0,
        help="1: int8 tensors must be equal (old dialect)",
    )
    p.add_argument(
        "--per_axis_compare", type=int, metavar="K", help="also compare slice by slice along axis K"
    )
    p.add_argument(
        "--fuzzy_match",
        action="store_true",
        help="names may differ in case, punctuation and a _f32 ending",
    )
    p.add_argument(
        "--forall", "-a", action="store_true", help="accepted: all tensors are always compared"
    )
    p.add_argument(
        "--op_info", metavar="CSV", help="operation and quantisation of each tensor (old dialect)"
    )
    p.add_argument(
        "--dequant",
        action="store_true",
        help="multiply int8 targets by threshold/127 from --op_info (old dialect)",
    )


def _compare(o: argparse.Namespace) -> int:
    """Compare TARGET with REF; exit code 1 when a tensor fails."""
    target, reference = read_npz(o.target), read_npz(o.reference)
    info = _op_info(o.op_info) if o.op_info else {}
    if o.dequant:
        target = _dequantised(target, info)
    report = verify.compare(
        target,
        reference,
        o.tolerance,
        names=o.key,
        excepts=o.excepts,
        fuzzy=o.fuzzy_match,
        int8_exact=bool(o.int8_tensor_close),
        target_name=o.target,
        reference_name=o.reference,
    )
    print(report.text(o.verbose))
    if o.full_array:
        with np.printoptions(threshold=np.inf, linewidth=120):  # type: ignore[arg-type]
            for r in report.failed:
                print(
                    f"{r.name}\ntarget\n{report.tensors[r.name][0]}\nreference\n{report.tensors[r.name][1]}"
                )
    pairs = verify.pair_names(list(target), list(reference), fuzzy=o.fuzzy_match)
    for r in report.results:
        if o.per_axis_compare is not None:
            print(_per_axis(r.name, target[r.name], reference[pairs[r.name]], o.per_axis_compare))
        if o.stats_int8_tensor and target[r.name].dtype == np.int8:
            print(_int8_statistics(r.name, target[r.name], reference[pairs[r.name]]))
    if o.save:
        write_text(o.save, report.csv({n: row[:2] for n, row in info.items()}))
    return 0 if report.passed else 1


def _op_info(path: str) -> dict[str, tuple[str, str, float]]:
    """Rows of an `_op_info.csv`: tensor -> (operation, quantisation, threshold)."""
    rows = {}
    with existing_file(path, "an op_info csv").open(
        newline="", encoding="utf-8", errors="replace"
    ) as file:
        for row in csv.reader(file):
            if len(row) >= 3 and row[0] != "name":
                rows[row[0].strip()] = (
                    row[1].strip(),
                    row[2].strip(),
                    _threshold(row[3] if len(row) > 3 else ""),
                )
    return rows


def _threshold(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _dequantised(target: Arrays, info: dict[str, tuple[str, str, float]]) -> Arrays:
    if not info:
        raise OptionError("--dequant needs the thresholds of --op_info")
    scaled = {
        n: np.float32(info[n][2] / 127) for n in target if n in info and target[n].dtype == np.int8
    }
    return {n: x * scaled[n] if n in scaled else x for n, x in target.items()}


def _per_axis(name: str, a: np.ndarray, b: np.ndarray, axis: int) -> str:
    if a.size != b.size or not -a.ndim <= axis < a.ndim:
        return f"{name}: no axis {axis} to compare along in {list(a.shape)}"
    x, y = (np.moveaxis(verify.widened(t), axis, 0) for t in (a, b.reshape(a.shape)))
    rows = (
        f"    {i:5d} cosine {verify.cosine(p, q):.6f} euclidean {verify.euclidean(p, q):.6f}"
        for i, (p, q) in enumerate(zip(x, y, strict=True))
    )
    return "\n".join([f"{name} along axis {axis}", *rows])


def _int8_statistics(name: str, a: np.ndarray, b: np.ndarray) -> str:
    if a.size != b.size:
        return f"{name}: shapes differ"
    d = np.abs(
        a.reshape(-1).astype(np.int64) - np.rint(b.reshape(-1).astype(np.float64)).astype(np.int64)
    )
    saturated = int(np.count_nonzero((a == 127) | (a == -128)))
    differ = f"{np.count_nonzero(d)} of {d.size} differ, largest difference {d.max(initial=0)}"
    return f"{name}: {differ}, {saturated} saturated"


def _print_diff(o: argparse.Namespace) -> int:
    """Where one array differs in two files: the largest differences first."""
    a = verify.widened(pick(read_npz(o.target), o.name, o.target))
    b = verify.widened(pick(read_npz(o.reference), o.name, o.reference))
    if a.size != b.size:
        raise UserInputError(
            f"{o.name}: {list(a.shape)} in {o.target}, {list(b.shape)} in {o.reference}"
        )
    x, y = a.reshape(-1).astype(np.float64), b.reshape(-1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        d = np.abs(x - y)
    d[np.isnan(d) & ~(np.isnan(x) & np.isnan(y))] = np.inf
    d = np.nan_to_num(d, nan=0.0, posinf=np.inf)
    differ = f"{np.count_nonzero(d)} of {d.size} differ, largest difference {d.max(initial=0):g}"
    print(f"{o.name} {list(a.shape)}: {differ}")
    for i in np.argsort(-d, kind="stable")[: _count(o.count, 10)]:
        if d[i]:
            at = ",".join(str(int(v)) for v in np.unravel_index(i, a.shape)) if a.ndim else "-"
            print(f"  [{at}] {x[i]:g} {y[i]:g} {d[i]:g}")
    return 0


# ------------------------------------------------------------ show


def _count(text: str | None, default: int) -> int:
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"{text!r} is not a number of elements") from None


def _dump(o: argparse.Namespace) -> int:
    """List the arrays of FILE, or print the array NAME (its first COUNT values; -1: all)."""
    arrays = read_npz(o.file)
    if o.name is None:
        for n, x in arrays.items():
            print(f"{n} {list(x.shape)} {x.dtype}{_range(x)}")
        return 0
    x = pick(arrays, o.name, o.file)
    count = _count(o.count, -1)
    print(f"{o.name} {list(x.shape)} {x.dtype}{_range(x)}")
    with np.printoptions(threshold=np.inf if count < 0 else 1000, linewidth=120):  # type: ignore[arg-type]
        print(x if count < 0 else x.reshape(-1)[:count])
    return 0


def _range(x: np.ndarray) -> str:
    w = verify.widened(x)
    if not w.size or w.dtype.kind not in "fiub":
        return ""
    return (
        f" min {float(w.min()):g} max {float(w.max()):g} mean {float(w.mean(dtype=np.float64)):g}"
    )


def _get_shape(o: argparse.Namespace) -> int:
    """Print the shape of NAME, or of every array, as comma-separated numbers."""
    arrays = read_npz(o.file)
    for n, x in ({o.name: pick(arrays, o.name, o.file)} if o.name else arrays).items():
        print(("" if o.name else f"{n} ") + ",".join(map(str, x.shape)))
    return 0


def _statistic(o: argparse.Namespace) -> int:
    """Minimum, maximum, mean, standard deviation and share of zeros of every array."""
    for n, x in read_npz(o.file).items():
        w = verify.widened(x)
        if w.size and w.dtype.kind in "fiub":
            w = w.astype(np.float64)
            more = f"std {w.std():g} zeros {np.mean(w == 0):.4f}"
            print(f"{n} {list(x.shape)} {x.dtype}{_range(x)} {more}")
    return 0


def _check_nan_inf(o: argparse.Namespace) -> int:
    """Exit code 1 if an array holds NaN or infinity; their names."""
    bad = 0
    for n, x in read_npz(o.file).items():
        w = verify.widened(x)
        if w.dtype.kind == "f" and not np.isfinite(w).all():
            bad += 1
            nan, infinite = np.count_nonzero(np.isnan(w)), np.count_nonzero(np.isinf(w))
            print(f"{n}: {nan} NaN, {infinite} infinite of {w.size}")
    print(f"{bad} arrays with NaN or infinity")
    return 1 if bad else 0


#: sub-commands of the vendor's tool that are not here, and what does the work instead
ELSEWHERE = {
    "visualize_diff": "print_diff shows the largest differences",
    "cali_test": "run_calibration makes tables",
}
COMMANDS: dict[str, tuple[Callable[[common.Parser], None], Callable[[argparse.Namespace], int]]] = {
    "compare": (_compare_options, _compare),
    "print_diff": (_positional("target", "reference", "name", optional=("count",)), _print_diff),
    "dump": (_positional("file", optional=("name", "count")), _dump),
    "extract": (_positional("file", "out", "names"), npz_edit.extract),
    "remove": (_positional("file", "out", "names"), npz_edit.remove),
    "insert": (_positional("file", "into", optional=("names",)), npz_edit.insert),
    "merge": (_positional("file", "other", "out"), npz_edit.merge),
    "rename": (_positional("file", "old", "new", optional=("out",)), npz_edit.rename),
    "reshape": (_positional("file", "name", "shape"), npz_edit.reshape),
    "permute": (_positional("file", "name", "order"), npz_edit.permute),
    "get_shape": (_positional("file", optional=("name",)), _get_shape),
    "bf16_to_fp32": (_positional("file", "out"), npz_edit.bf16_to_fp32),
    "fp16_to_fp32": (_positional("file", "out"), npz_edit.fp16_to_fp32),
    "fp32_to_bf16": (_positional("file", "out"), npz_edit.fp32_to_bf16),
    "fp32_to_fp16": (_positional("file", "out"), npz_edit.fp32_to_fp16),
    "to_bin": (_positional("file", "name", "out", optional=("type",)), npz_edit.to_bin),
    "to_dat": (_positional("file", "out"), npz_edit.to_dat),
    "to_npy": (_positional("file", "name", optional=("out",)), npz_edit.to_npy),
    "statistic": (_positional("file"), _statistic),
    "check_nan_inf": (_positional("file"), _check_nan_inf),
}
