"""What our compiled files cost beside the vendor's: time, engines, DDR bytes, lower bounds.

usage: python bench/compiled.py [--zoo FOLDER_WITH_ONNX] [--opt 2] [--json FILE] [NETWORK_CHIP ...]

Compiles every network of shared/zoo/vendor for the chips of its vendor files, with the vendor's
calibration tables, and applies the cost model of hw/cv18xx.md section 9 to the command stream; the
vendor's figures are those of zoo/baseline.json (the same model on its files). `faster` is vendor /
ours, `DDR` and `TIU` are ours / vendor; `near` is the larger of both lower bounds (TIU: every MAC
and element at full rate; DDR: weights, inputs and outputs once) over our time: 1 is perfect.
Geometric means per chip. Exit code 1 if a file is slower than the vendor's, or moves more bytes.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from common import SHARED, geometric_mean, parser, quantised, write_json
from stream_cost import model_cost
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.emit.cv18xx import compile_graph

HEAD = (
    "file                            ms   vendor  faster |    TIU  TDMA  bounds: TIU  DDR  near |"
    "   DDR kB  vendor   DDR   TIU | compile CPU s"
)


def compare(name: str, chip: str, zoo: Any, opt: int, vendor: dict[str, Any]) -> dict[str, Any]:
    """All figures of one network on one chip."""
    _, graph, _ = quantised(name, chip, zoo)
    begin = time.process_time()
    model = compile_graph(graph, chip_named(chip), opt=opt).model
    seconds = time.process_time() - begin
    cost = model_cost(model)
    traffic, theirs = (c["ddr_read_bytes"] + c["ddr_write_bytes"] for c in (cost, vendor))
    bound = max(cost["tiu_bound_ms"], cost["ddr_min_bound_ms"])
    return cost | {
        "compile_cpu_s": round(seconds, 2),
        "ddr_bytes": traffic,
        "vendor": vendor,
        "vendor_ddr_bytes": theirs,
        "times_faster": vendor["est_ms"] / cost["est_ms"],
        "ddr_ratio": traffic / theirs,
        "tiu_ratio": cost["est_tiu_busy_ms"] / vendor["est_tiu_busy_ms"],
        "bound_over_time": bound / cost["est_ms"],
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
    o = p.parse_args()
    baseline = json.loads((SHARED / "zoo" / "baseline.json").read_text())
    unknown = [f for f in o.files if f not in baseline]
    if unknown:
        p.error(f"{', '.join(unknown)} not among {', '.join(baseline)}")
    results: dict[str, dict[str, Any]] = {}
    print(HEAD)
    for name in o.files or baseline:
        vendor = baseline[name]
        results[name] = compare(vendor["net"], vendor["chip"], o.zoo, o.opt, vendor)
        print(row(name, results[name]), flush=True)
    for chip, m in means(results).items():
        print(
            f"{chip} geometric mean: {m['times_faster']:.2f} times faster, "
            f"DDR bytes {m['ddr_ratio']:.2f}, TIU time {m['tiu_ratio']:.2f}, "
            f"bound / time {m['bound_over_time']:.2f}"
        )
    write_json(o.json, {"files": results, "means": means(results)})
    worse = [n for n, c in results.items() if c["times_faster"] < 1 or c["ddr_ratio"] > 1]
    if worse:
        print(f"slower than the vendor's or more bytes: {', '.join(worse)}", file=sys.stderr)
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
