"""CPU time and agreement of run_calibration with the vendor: 100 photographs, KL, 5 for tuning.

usage: python bench/calibration.py [--zoo FOLDER_WITH_ONNX] [--images N]
                                   [--json FILE] [NETWORK ...]

Runs the command in a process of its own, start-up included, and reads user + system time and peak
memory from the system. The vendor took 28 s of CPU for efficientnet_lite0 (issue 3). `digits`:
agreement of the worst threshold that is not a near tie; `off`: how many differ by more than 1e-5
(one of googlenet, where the vendor's tool differs from itself on another CPU:
tests/calibrate/test_networks.py). Exit code 1 if efficientnet_lite0 is slower than the vendor's.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import NETWORKS, SHARED, ZOO, timed, tool, zoo_file
from tpuforge.compiler.calibrate import read_table
from tpuforge.compiler.frontend.onnx import load
from tpuforge.compiler.ir import text
from tpuforge.compiler.passes.pipeline import optimise

VENDOR_CPU_SECONDS = {"efficientnet_lite0": 28.0}
NEAR_TIE = 1e-4  # a threshold that differs more is another bin of the histogram


def write_graph(onnx: Path, shared: Path, folder: Path) -> Path:
    """The optimised float graph as model_transform writes it."""
    zoo = json.loads((shared / "zoo" / "zoo.json").read_text())
    graph = optimise(load(onnx, preprocess=zoo[onnx.stem]["preprocessing"]))
    path = folder / f"{onnx.stem}.mlir"
    text.write(graph, path, folder / f"{onnx.stem}_top_f32_all_weight.npz")
    return path


def measure(onnx: Path, shared: Path, images: int) -> dict[str, Any]:
    vendor = read_table(shared / "zoo" / "vendor" / f"{onnx.stem}_cali_table")
    with tempfile.TemporaryDirectory() as folder:
        mlir = write_graph(onnx, shared, Path(folder))
        table = Path(folder, "table")
        data = str(shared / "data" / "ILSVRC2012")
        options = ["--dataset", data, "--input_num", str(images), "-o", str(table)]
        cpu, wall, peak = timed([*tool("run_calibration"), str(mlir), *options])
        ours = read_table(table)
    relative = [abs(ours[n].threshold / vendor[n].threshold - 1) for n in vendor]
    worst = max([d for d in relative if d < NEAR_TIE], default=0.0)
    known = VENDOR_CPU_SECONDS.get(onnx.stem) if images == 100 else None
    return {
        "network": onnx.stem,
        "cpu_s": round(cpu, 2),
        "wall_s": round(wall, 2),
        "peak_mb": round(peak),
        "tensors": len(vendor),
        "off": sum(d > 1e-5 for d in relative),
        "digits": round(-math.log10(max(worst, 1e-9)), 1),
        "vendor_cpu_s": known,
        "times_faster": round(known / cpu, 1) if known else None,
    }


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("networks", nargs="*", default=list(NETWORKS))
    p.add_argument("--zoo", type=Path, default=ZOO)
    p.add_argument("--images", type=int, default=100)
    p.add_argument("--json", type=Path)
    o = p.parse_args()
    rows = []
    print("network               CPU s  wall s  peak MB  tensors  off  digits  vendor/ours")
    for network in o.networks:
        r = measure(zoo_file(network, o.zoo), SHARED, o.images)
        rows.append(r)
        print(
            f"{network:20s} {r['cpu_s']:6.2f} {r['wall_s']:7.2f} {r['peak_mb']:8d} "
            f"{r['tensors']:8d} {r['off']:4d} {r['digits']:7.1f}  {r['times_faster'] or '-'}",
            flush=True,
        )
    if o.json:
        o.json.write_text(json.dumps(rows, indent=1) + "\n")
    slow = [r for r in rows if o.images == 100 and r["times_faster"] and r["times_faster"] < 1]
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
