"""Speed of our simulator beside the vendor's emulator: the same files, the same run.

usage: python bench/simulator.py [--chip cv181x] [--zoo FOLDER_WITH_ONNX] [--threads N]
                                 [--kernels NAME,NAME...] [--json FILE] [NETWORK ...]

Takes the vendor-compiled models of shared/zoo/vendor; a network that is not there (resnet50) is
compiled by us, calibrated on one photograph. GMAC/s: multiply-accumulates of the network (zoo.json)
over CPU seconds of a Forward on one thread, float32 input and output included; ours: the best of
several with every kernel set of this processor, the vendor's: one (it is slow). All outputs must
be the same bytes, and the stored ones where there are any. --threads: also the wall clock with that
many threads beside that with one, which means something on an idle machine only. Without the
vendor's libraries (tests/parity/fetch_oracle.py) only ours is measured. Exit code 1 if the best set
is not as many times faster as wanted (issue 4 point 4; 20 for networks without a goal).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from common import SHARED, parser, timed, tool, write_json, zoo_file

NETWORKS = ("efficientnet_lite0", "resnet18", "resnet50")
WANTED = {"efficientnet_lite0": 50.0, "resnet50": 100.0}
#: kernel sets, best first, and what /proc/cpuinfo calls their instructions
KERNELS = {
    "avx512vnni": "avx512_vnni",
    "avx2": "avx2",
    "neon-dot": "asimddp",
    "neon": "asimd",
    "scalar": "",
}
LIBRARY = "libcviruntime.so"
CHILD = """
import hashlib, json, sys, time
import numpy as np
import cvi_nn
model, stored, expected, library, runs = sys.argv[1:]
x = np.load(stored)
cpu, wall = [], []
with cvi_nn.Model(model, library=library or None) as m:
    for i in range(int(runs)):
        begin = time.process_time(), time.perf_counter()
        out = m.forward(dict(x))
        cpu.append(time.process_time() - begin[0])
        wall.append(time.perf_counter() - begin[1])
        if expected:
            want = np.load(expected)
            assert all(out[k].tobytes() == want[k].tobytes() for k in want.files), "other bytes"
digest = hashlib.sha256(b"".join(out[k].tobytes() for k in sorted(out))).hexdigest()
print("\\n" + json.dumps([min(cpu), min(wall), digest]))
"""


class Files(NamedTuple):
    """A compiled network, its input, its stored output (or nothing)."""

    model: Path
    input: Path
    output: Path | None


class Measured(NamedTuple):
    """Seconds of the best Forward, digest of the outputs."""

    cpu: float
    wall: float
    digest: str


def oracle_folder() -> Path | None:
    """The folder of the vendor's libraries, None when they are not here."""
    named = os.environ.get("TPUFORGE_ORACLE", Path.home() / ".cache" / "tpuforge")
    return Path(named) if Path(named, LIBRARY).is_file() else None


def kernel_sets() -> list[str]:
    """The kernel sets that this processor can use."""
    text = Path("/proc/cpuinfo").read_text().split()
    return [name for name, flag in KERNELS.items() if not flag or flag in text]


def compiled(network: str, chip: str, zoo: Path, folder: Path) -> Path:
    """A network compiled by us; thresholds from one photograph are good enough for its speed."""
    mlir, table = folder / f"{network}.mlir", folder / f"{network}_table"
    model = folder / f"{network}_{chip}.cvimodel"
    shape = json.dumps(
        [json.loads((SHARED / "zoo" / "zoo.json").read_text())[network]["input_shape"]]
    )
    source = str(zoo_file(network, zoo))
    images = str(SHARED / "data" / "ILSVRC2012")
    print(f"compiling {network}", file=sys.stderr, flush=True)
    transform = ["--model_name", network, "--model_def", source, "--input_shapes", shape]
    deploy = ["--quantize", "INT8", "--calibration_table", str(table), "--processor", chip]
    for name, *words in (
        ["model_transform", *transform, "--mlir", str(mlir)],
        ["run_calibration", str(mlir), "--dataset", images, "--input_num", "1", "-o", str(table)],
        ["model_deploy", "--mlir", str(mlir), *deploy, "--model", str(model)],
    ):
        timed([*tool(name), *words], folder)
    return model


def files_of(network: str, chip: str, zoo: Path, folder: Path) -> Files:
    vendor = SHARED / "zoo" / "vendor"
    model, out = vendor / f"{network}_{chip}.cvimodel", vendor / f"{network}_{chip}_out.npz"
    if model.is_file():
        return Files(model, vendor / f"{network}_in.npz", out)
    return Files(compiled(network, chip, zoo, folder), vendor / "resnet18_in.npz", None)


def measure(
    files: Files, folder: Path | None, runs: int, kernel: str = "", threads: int = 1
) -> Measured:
    """One Forward in a process of its own; folder: that of the vendor's library."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TPU_SIM_THREADS": str(threads)}
    env["TPU_SIM_KERNEL"] = kernel
    env.pop("CVI_NN_LIB", None)
    if folder:
        env["LD_LIBRARY_PATH"] = str(folder)
    library = str(folder / LIBRARY) if folder else ""
    words = [str(files.model), str(files.input), str(files.output or ""), library, str(runs)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *words], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        name = library or "our library"
        raise SystemExit(f"{files.model.name} on {name} failed:\n{done.stderr}")
    return Measured(*json.loads(done.stdout.strip().splitlines()[-1]))


def compare(network: str, files: Files, macs: int, sets: list[str], threads: int) -> dict[str, Any]:
    """All figures of a network, printed as they come."""
    folder = oracle_folder()
    theirs = measure(files, folder, 1) if folder else None
    row: dict[str, Any] = {"network": network, "kernels": {}}
    if theirs:
        row |= {"vendor_s": theirs.cpu, "vendor_gmacs": macs / theirs.cpu / 1e9}
        text = f"{theirs.cpu * 1e3:10.2f} {macs / theirs.cpu / 1e9:8.3f}"
        print(f"{network:20} {'vendor':12} {text}", flush=True)
    for kernel in sets:
        ours = measure(files, None, 3 if kernel == "scalar" else 15, kernel)
        if theirs and ours.digest != theirs.digest:
            raise SystemExit(f"{network}: {kernel} gives other bytes than the vendor's emulator")
        figures = {"ours_s": ours.cpu, "ours_gmacs": macs / ours.cpu / 1e9}
        text = f"{ours.cpu * 1e3:10.2f} {figures['ours_gmacs']:8.2f}"
        if theirs:
            figures["times_faster"] = theirs.cpu / ours.cpu
            text += f" {figures['times_faster']:8.1f}"
        row["kernels"][kernel] = figures
        print(f"{network:20} {kernel:12} {text}", flush=True)
    if threads > 1:
        one, many = (measure(files, None, 40, sets[0], n).wall for n in (1, threads))
        row |= {"threads": threads, "wall_1_s": one, "wall_s": many}
        text = f"{many * 1e3:10.2f} {macs / many / 1e9:8.2f}"
        print(f"{network:20} {f'{threads} threads':12} {text}  wall; one thread {one * 1e3:.2f}")
    return row


def main() -> int:
    p = parser(__doc__ or "")
    p.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    p.add_argument("--chip", default="cv181x")
    p.add_argument("--threads", type=int, default=1, help="also the wall clock of that many")
    p.add_argument("--kernels", help="kernel sets, best first (those of this processor)")
    o = p.parse_args()
    sets = o.kernels.split(",") if o.kernels else kernel_sets()
    zoo = json.loads((SHARED / "zoo" / "zoo.json").read_text())
    if not oracle_folder():
        print("without the vendor's emulator: its libraries are not here", file=sys.stderr)
    rows, missed = [], []
    print(f"{o.chip:20} {'':12} {'ms':>10} {'GMAC/s':>8} {'times':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for network in o.networks:
            files = files_of(network, o.chip, o.zoo, Path(folder))
            row = compare(network, files, zoo[network]["macs"], sets, o.threads)
            wanted = WANTED.get(network, 20.0)
            faster = row["kernels"][sets[0]].get("times_faster", wanted)
            missed += [f"{network}: {faster:.1f} times, wanted {wanted:g}"] * (faster < wanted)
            rows.append(row)
    write_json(o.json, {"chip": o.chip, "networks": rows})
    print("\n".join(missed) if missed else "all goals met")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
