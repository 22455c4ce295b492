"""Estimated time, traffic and lower bounds of compiled models, next to the vendor's.

    python bench/stream_cost.py build/resnet18_cv181x.cvimodel ... [-o cost.json]

One row per file: milliseconds of the schedule, of each engine alone and of the bounds (hw/cv18xx.md
section 9, design.md section 6), DDR bytes, and, when zoo/baseline.json has an entry, ours / vendor.
The entry is found by file name (NET_CHIP.cvimodel, suffixes after the chip are ignored). CPU
routines are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from tpuforge.compiler import isa
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.errors import TpuforgeError, UnsupportedError
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.isa.cv18xx.stream_cost import StreamCost, stream_cost

SHARED = Path(os.environ.get("TPUFORGE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
HEAD = (
    "model                          est ms    TIU   TDMA |  bounds: TIU    MAC  DDR min | "
    "TIU cmd TDMA cmd | DDR read  written  / min | vendor ms  ours/vendor  DDR ours/vendor"
)


def model_cost(model: cvimodel.Model) -> dict[str, Any]:
    """The numbers of one model: all TPU routines of its first program, one after the other.

    UnsupportedError when a routine carries a dma buffer instead of a command stream.
    """
    chip = chip_named(model.chip)
    sections = {s.name: s for s in reversed(model.sections)}
    weights = next((s.contents() for s in model.sections if s.kind == "weight"), b"")
    program = model.programs[0]
    costs: list[StreamCost] = []
    read: set[str] = set()
    written: set[str] = set()
    for routine in (r for r in program.routines if r.kind == "tpu"):
        section = sections[routine.section]
        if section.kind != "cmdbuf":
            raise UnsupportedError(f"routine {routine.section} carries a {section.kind}")
        costs.append(stream_cost(chip, isa.parse_stream(chip, section.contents()), weights))
        read |= set(routine.inputs)
        written |= set(routine.outputs)
    ends = (read ^ written) | (written & set(program.outputs))
    minimum = len(weights) + sum(program.tensor(n).dense_bytes for n in ends)

    def ms(cycles: list[float]) -> float:
        return round(sum(cycles) / chip.clock_hz * 1e3, 4)

    return {
        "chip": model.chip,
        "est_ms": ms([c.total_cycles for c in costs]),
        "est_tiu_busy_ms": ms([c.tiu_cycles for c in costs]),
        "est_tdma_busy_ms": ms([c.tdma_cycles for c in costs]),
        "tiu_bound_ms": ms([c.bounds.tiu_cycles for c in costs]),
        "mac_bound_ms": ms([c.bounds.mac_cycles for c in costs]),
        "ddr_bound_ms": ms([c.bounds.ddr_cycles for c in costs]),
        "ddr_min_bound_ms": ms([minimum / chip.ddr_bytes_per_cycle]),
        "macs": sum(c.macs for c in costs),
        "tiu_commands": sum(c.tiu_commands for c in costs),
        "tdma_commands": sum(c.tdma_commands for c in costs),
        "ddr_read_bytes": sum(c.ddr_read_bytes for c in costs),
        "ddr_write_bytes": sum(c.ddr_write_bytes for c in costs),
        "min_ddr_bytes": minimum,
    }


def baseline_entry(baseline: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The vendor's numbers for a file called NET_CHIP..., None when there are none."""
    found = re.match(rf"(.+?_(?:{'|'.join(CHIPS)}))", name)
    return baseline.get(found[1]) if found else None


def row(name: str, c: dict[str, Any], vendor: dict[str, Any] | None) -> str:
    """A line of the table."""
    read, written = c["ddr_read_bytes"], c["ddr_write_bytes"]
    text = (
        f"{name:28} {c['est_ms']:8.3f} {c['est_tiu_busy_ms']:6.2f} {c['est_tdma_busy_ms']:6.2f} |"
        f" {c['tiu_bound_ms']:11.3f} {c['mac_bound_ms']:6.2f} {c['ddr_min_bound_ms']:8.3f} |"
        f" {c['tiu_commands']:7} {c['tdma_commands']:8} |"
        f" {read / 1e3:8.0f} {written / 1e3:8.0f} {(read + written) / c['min_ddr_bytes']:6.2f} |"
    )
    if vendor:
        time = c["est_ms"] / vendor["est_ms"]
        traffic = (read + written) / (vendor["ddr_read_bytes"] + vendor["ddr_write_bytes"])
        text += f" {vendor['est_ms']:9.3f} {time:12.3f} {traffic:16.3f}"
    return text


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stored = sorted((SHARED / "zoo" / "vendor").glob("*.cvimodel"))
    parser.add_argument(
        "models", nargs="*", type=Path, default=stored, help="files (default: the vendor's)"
    )
    parser.add_argument("-o", "--json", dest="output", type=Path, help="write all numbers as JSON")
    parser.add_argument("--baseline", type=Path, default=SHARED / "zoo" / "baseline.json")
    options = parser.parse_args(argv)
    known = options.baseline.is_file()
    baseline = json.loads(options.baseline.read_text()) if known else {}
    results, failed = {}, False
    print(HEAD)
    for path in options.models:
        try:
            cost = model_cost(cvimodel.read(path.read_bytes()))
        except (TpuforgeError, OSError) as e:
            print(f"{path}: {e}", file=sys.stderr)
            failed = True
            continue
        vendor = baseline_entry(baseline, path.stem)
        results[path.stem] = cost | ({"vendor_est_ms": vendor["est_ms"]} if vendor else {})
        print(row(path.stem, cost, vendor), flush=True)
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
