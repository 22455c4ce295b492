"""What the bench programs share: folders, the clock of a child process, one way to compile."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tpuforge.compiler.calibrate.table import CalibrationTable, read_table
from tpuforge.compiler.chip import chip_named
from tpuforge.compiler.frontend import transform_graph
from tpuforge.compiler.ir import Graph, text
from tpuforge.compiler.lower import lower, merge_pairs

SHARED = Path(os.environ.get("TPUFORGE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
ZOO = Path(os.environ.get("TPUFORGE_ZOO", Path.home() / ".cache" / "tpuforge" / "zoo"))

#: those with a calibration table of the vendor's
NETWORKS = (
    "tiny_resnet",
    "tiny_mobilenet",
    "squeezenet1_1",
    "mobilenet_v2",
    "efficientnet_lite0",
    "resnet18",
    "googlenet",
)


class Used(NamedTuple):
    """What a process took: seconds of CPU and of wall clock, peak resident megabytes."""

    cpu: float
    wall: float
    peak_mb: float


def timed(command: list[str], cwd: Path | None = None) -> Used:
    """Run a process to its end, start-up included; its output is shown when it fails."""
    with tempfile.TemporaryFile("w+") as log:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read()}")
    return Used(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def tool(name: str) -> list[str]:
    """The command line of one of our commands, in this interpreter."""
    start = f"import sys; from tpuforge.tools.{name} import main; sys.exit(main())"
    return [sys.executable, "-c", start]


def zoo_file(name: str, zoo: Path) -> Path:
    """The ONNX file of a network, built when it is missing; the tiny ones are stored."""
    stored = SHARED / "zoo" / f"{name}.onnx"
    path = stored if stored.is_file() else zoo / f"{name}.onnx"
    if not path.is_file():
        print(f"building {path}", file=sys.stderr, flush=True)
        timed([sys.executable, str(SHARED / "zoo" / "build_zoo.py"), str(zoo), name])
    return path


@cache
def our_table(name: str, zoo: Path) -> CalibrationTable:
    """What run_calibration gives on the 100 photographs of shared/data, as the vendor's tables were
    made."""
    about = json.loads((SHARED / "zoo" / "zoo.json").read_text())[name]["preprocessing"]
    with tempfile.TemporaryDirectory() as folder:
        mlir, table = Path(folder, f"{name}.mlir"), Path(folder, "table")
        graph = transform_graph(zoo_file(name, zoo), preprocess=about)
        text.write(graph, mlir, mlir.with_name(f"{name}_top_f32_all_weight.npz"))
        images = ["--dataset", str(SHARED / "data" / "ILSVRC2012"), "--input_num", "100"]
        timed([*tool("run_calibration"), str(mlir), *images, "-o", str(table)])
        return read_table(table)


def vendor_table(name: str, zoo: Path) -> CalibrationTable:
    """The vendor's table. It lacks the tensors between 1x1 convolutions that its compiler merged,
    so they are merged with it."""
    return read_table(SHARED / "zoo" / "vendor" / f"{name}_cali_table")


#: --table
TABLES = {"ours": our_table, "vendor": vendor_table}


def quantised(
    name: str, chip: str, zoo: Path, table: str, *, quant_input: bool = False
) -> tuple[Graph, Graph, float]:
    """(Top graph, Tpu graph, CPU seconds of the lowering) with a table of TABLES."""
    thresholds = TABLES[table](name, zoo)
    graph = transform_graph(zoo_file(name, zoo))
    begin = time.process_time()
    merge_pairs(graph, thresholds.keys(), chip_named(chip))
    lowered = lower(graph, thresholds, chip_named(chip), quant_input=quant_input)
    return graph, lowered, time.process_time() - begin


def geometric_mean(ratios: Iterable[float]) -> float:
    """exp of the mean logarithm; 1 of nothing."""
    logs = [math.log(r) for r in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def parser(doc: str, *, zoo: bool = True) -> argparse.ArgumentParser:
    """The options that all have: --json, and --zoo for programs that compile networks."""
    p = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if zoo:
        p.add_argument("--zoo", type=Path, default=ZOO, help="folder of ONNX files (%(default)s)")
    p.add_argument("--json", type=Path, help="write the figures to this file")
    return p


def write_json(path: Path | None, figures: Any) -> None:
    if path:
        path.write_text(json.dumps(figures, indent=1) + "\n")
