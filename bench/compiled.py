"""What our compiled files cost beside the vendor's: time, engines, DDR bytes, lower bounds.

usage: python bench/compiled.py [--zoo FOLDER_WITH_ONNX] [--opt 2] [--table ours|vendor]
                                [--json FILE] [NETWORK_CHIP ...]

Compiles every network of shared/zoo/vendor for the chips of its vendor files, with the calibration
tables of run_calibration (--table vendor: with the vendor's, which lack tensors, so that its costly
merging of 1x1 convolutions must be repeated; bench/accuracy.py has the accuracy of both), and
applies the cost model of hw/cv18xx.md section 9 to the command stream; the vendor's figures are
those of zoo/baseline.json (the same model on its files). `faster` is vendor / ours, `DDR` and `TIU`
are ours / vendor; `near` is the larger of both lower bounds (TIU: every MAC and element at full
rate; DDR: weights, inputs and outputs once) over our time: 1 is perfect. Geometric means per chip.

The figures count what the TPU does, and the files do not leave it the same work: the vendor's
quantise the float input in a routine of the CPU on every chip (cv180x boards have none, so ours do
it on the TPU, on four times the bytes) and convert the output to float on the TPU (ours do it in a
routine of the CPU where there is one). A file whose work differs has two more lines. One says how
ours was made to do the same: `int8 input` (cv180x) or `output by TPU` (the others). The other,
`with CPU routines`, adds to both sides what their CPU routines take at least: their tensors are
moved over DDR once, at the rate that the cost model gives the TDMA. Exit code 1 if a file is slower
than the vendor's, or moves more bytes, in the same work or with CPU routines: only there the same
thing is measured on both sides.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from common import SHARED, TABLES, geometric_mean, parser, quantised, write_json
from stream_cost import model_cost
from tpuforge.compiler import tpu
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.emit.cv18xx import compile_graph
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.tpu.arith import significant

HEAD = (
    "file                            ms   vendor  faster |    TIU  TDMA  bounds: TIU  DDR  near |"
    "   DDR kB  vendor   DDR   TIU | compile CPU s"
)


def compare(
    name: str, chip: str, zoo: Any, table: str, opt: int, vendor: dict[str, Any]
) -> dict[str, Any]:
    """All figures of one network on one chip; `same_work`: those of the file that leaves the TPU
    what the vendor's does, `changed`: in what it differs; `with_cpu`: with the least that CPU
    routines take."""
    _, graph, _ = quantised(name, chip, zoo, table)
    model, cost = compiled(graph, chip, opt)
    result = figures(cost, vendor)
    path = SHARED / "zoo" / "vendor" / f"{name}_{chip}.cvimodel"
    other = cvimodel.read(path.read_bytes())
    result["with_cpu"] = figures(cost, vendor, (cpu_bytes(model), cpu_bytes(other)))
    theirs, ours = conversions(other), conversions(model)
    changed = []
    if theirs[0] and not ours[0]:
        changed.append("int8 input")
        _, graph, _ = quantised(name, chip, zoo, table, quant_input=True)
    if ours[1] and not theirs[1]:
        changed.append("output by TPU")
        for op in graph.ops:
            if isinstance(op, tpu.Dequantize):
                op.attrs |= {"engine": "tpu", "scale": significant(op.scale, 16)}
    same = dict(result)
    if changed:
        same = figures(compiled(graph, chip, opt)[1], vendor)
    result["same_work"] = same | {"changed": changed}
    return result


def compiled(graph: Graph, chip: str, opt: int) -> tuple[cvimodel.Model, dict[str, Any]]:
    """The file of a Tpu graph and its cost, with the CPU seconds it took to compile."""
    begin = time.process_time()
    model = compile_graph(graph, chip_named(chip), opt=opt).model
    seconds = round(time.process_time() - begin, 2)
    return model, model_cost(model) | {"compile_cpu_s": seconds}


def conversions(model: cvimodel.Model) -> tuple[bool, bool]:
    """Does the CPU work before the first, and behind the last routine of the TPU?"""
    kinds = [r.kind for r in model.programs[0].routines]
    return kinds[0] == "cpu", kinds[-1] == "cpu"


def cpu_bytes(model: cvimodel.Model) -> int:
    """Bytes that the routines of the CPU read and write."""
    program = model.programs[0]
    routines = (r for r in program.routines if r.kind == "cpu")
    return sum(program.tensor(n).dense_bytes for r in routines for n in (*r.inputs, *r.outputs))


def figures(
    cost: dict[str, Any], vendor: dict[str, Any], cpu: tuple[int, int] = (0, 0)
) -> dict[str, Any]:
    """The cost of a file beside the vendor's. cpu: bytes that CPU routines move in ours and in the
    vendor's, which are added at the rate of the TDMA."""
    chip = chip_named(cost["chip"])
    per_ms = chip.ddr_bytes_per_cycle * chip.clock_hz / 1e3
    (ms, moved), (vendor_ms, vendor_moved) = (
        (c["est_ms"] + n / per_ms, c["ddr_read_bytes"] + c["ddr_write_bytes"] + n)
        for c, n in zip((cost, vendor), cpu, strict=True)
    )
    return cost | {
        "est_ms": ms,
        "ddr_bytes": moved,
        "vendor": vendor | {"est_ms": vendor_ms},
        "vendor_ddr_bytes": vendor_moved,
        "times_faster": vendor_ms / ms,
        "ddr_ratio": moved / vendor_moved,
        "tiu_ratio": cost["est_tiu_busy_ms"] / vendor["est_tiu_busy_ms"],
        "bound_over_time": max(cost["tiu_bound_ms"], cost["ddr_min_bound_ms"]) / ms,
    }


def row(name: str, c: dict[str, Any]) -> str:
    return (
        f"{name:26} {c['est_ms']:8.3f} {c['vendor']['est_ms']:8.3f} {c['times_faster']:7.2f} |"
        f" {c['est_tiu_busy_ms']:6.2f} {c['est_tdma_busy_ms']:5.2f} "
        f"{c['tiu_bound_ms']:11.3f} {c['ddr_min_bound_ms']:4.2f} {c['bound_over_time']:5.2f} |"
        f" {c['ddr_bytes'] / 1e3:8.0f} {c['vendor_ddr_bytes'] / 1e3:7.0f} {c['ddr_ratio']:5.2f} "
        f"{c['tiu_ratio']:5.2f} | {c['compile_cpu_s']:7.2f}"
    )


def means(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per chip the geometric means of the ratios."""
    out = {}
    for chip in CHIPS:
        of_chip = [c for c in results.values() if c["chip"] == chip]
        if of_chip:
            keys = ("times_faster", "ddr_ratio", "tiu_ratio", "bound_over_time")
            out[chip] = {k: geometric_mean(c[k] for c in of_chip) for k in keys}
    return out


def main() -> int:
    p = parser(__doc__ or "")
    p.add_argument("files", nargs="*", metavar="NETWORK_CHIP", help="default: all of baseline.json")
    p.add_argument("--opt", type=int, default=2, choices=range(4))
    p.add_argument("--table", default="ours", choices=TABLES, help="(%(default)s)")
    o = p.parse_args()
    baseline = json.loads((SHARED / "zoo" / "baseline.json").read_text())
    unknown = [f for f in o.files if f not in baseline]
    if unknown:
        p.error(f"{', '.join(unknown)} not among {', '.join(baseline)}")
    results: dict[str, dict[str, Any]] = {}
    print(HEAD)
    for name in o.files or baseline:
        vendor = baseline[name]
        results[name] = compare(vendor["net"], vendor["chip"], o.zoo, o.table, o.opt, vendor)
        print(row(name, results[name]))
        same_work = results[name]["same_work"]
        if same_work["changed"]:
            print(row(f"  {', '.join(same_work['changed'])}", same_work))
            print(row("  with CPU routines", results[name]["with_cpu"]), flush=True)
    same, whole = ({n: c[k] for n, c in results.items()} for k in ("same_work", "with_cpu"))
    for what, some in ("", results), (", same work", same), (", with CPU routines", whole):
        for chip, m in means(some).items():
            print(
                f"{chip} geometric mean{what}: {m['times_faster']:.2f} times faster, "
                f"DDR bytes {m['ddr_ratio']:.2f}, TIU time {m['tiu_ratio']:.2f}, "
                f"bound / time {m['bound_over_time']:.2f}"
            )
    every = {"means": results, "means_same_work": same, "means_with_cpu": whole}
    write_json(o.json, {"files": results} | {key: means(some) for key, some in every.items()})
    compared = (*same.items(), *whole.items())
    worse = {n for n, c in compared if c["times_faster"] < 1 or c["ddr_ratio"] > 1}
    if worse:
        print(
            f"slower than the vendor's or more bytes: {', '.join(sorted(worse))}", file=sys.stderr
        )
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
