"""Speed of our simulator beside the vendor's emulator: the same files, one thread, the same run.

usage: python bench/simulator.py [--chip cv181x] [--json FILE] [NETWORK ...]

Takes the vendor-compiled models of shared/zoo/vendor. GMAC/s: multiply-accumulates of the network
(zoo.json) over CPU seconds of a Forward, float32 input and output included; ours: the best of
several, the vendor's: one (it is slow), after the first outputs were compared with the stored
bytes. Without the vendor's libraries (tests/parity/fetch_oracle.py) only ours is measured. Exit
code 1 if ours is less than 20 times faster (issue 3).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import SHARED, parser, write_json

NETWORKS = ("efficientnet_lite0", "resnet18")
WANTED = 20.0
LIBRARY = "libcviruntime.so"
CHILD = """
import json, sys, time
import numpy as np
import cvi_nn
model, stored, expected, library, runs = sys.argv[1:]
x = np.load(stored)
want = np.load(expected)
times = []
with cvi_nn.Model(model, library=library or None) as m:
    for i in range(int(runs)):
        begin = time.process_time()
        out = m.forward(dict(x))
        times.append(time.process_time() - begin)
        assert all(out[k].tobytes() == want[k].tobytes() for k in want.files), "other bytes"
print("\\n" + json.dumps(min(times)))
"""


def oracle_folder() -> Path | None:
    """The folder of the vendor's libraries, None when they are not here."""
    named = os.environ.get("TPUFORGE_ORACLE", Path.home() / ".cache" / "tpuforge")
    return Path(named) if Path(named, LIBRARY).is_file() else None


def seconds(network: str, chip: str, folder: Path | None, runs: int) -> float:
    """CPU seconds of one Forward in a process of its own; folder: that of the vendor's library."""
    vendor = SHARED / "zoo" / "vendor"
    files = [vendor / f"{network}_{chip}.cvimodel", vendor / f"{network}_in.npz"]
    files.append(vendor / f"{network}_{chip}_out.npz")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env.pop("CVI_NN_LIB", None)
    if folder:
        env["LD_LIBRARY_PATH"] = str(folder)
    library = str(folder / LIBRARY) if folder else ""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, files), library, str(runs)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{network} on {library or 'our library'} failed:\n{done.stderr}")
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> int:
    p = parser(__doc__ or "", zoo=False)
    p.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    p.add_argument("--chip", default="cv181x")
    o = p.parse_args()
    zoo = json.loads((SHARED / "zoo" / "zoo.json").read_text())
    folder = oracle_folder()
    if not folder:
        print("without the vendor's emulator: its libraries are not here", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    print(f"{o.chip:20}    ours ms  GMAC/s   vendor ms  GMAC/s   times faster (wanted {WANTED:g})")
    for network in o.networks:
        macs = zoo[network]["macs"]
        ours = seconds(network, o.chip, None, 12)
        row = {"network": network, "ours_s": ours, "ours_gmacs": macs / ours / 1e9}
        text = f"{network:20} {ours * 1e3:10.2f} {macs / ours / 1e9:7.1f}"
        if folder:
            theirs = seconds(network, o.chip, folder, 1)
            row |= {"vendor_s": theirs, "vendor_gmacs": macs / theirs / 1e9}
            row["times_faster"] = theirs / ours
            text += f" {theirs * 1e3:11.0f} {macs / theirs / 1e9:7.3f} {theirs / ours:14.0f}"
        rows.append(row)
        print(text, flush=True)
    write_json(o.json, {"chip": o.chip, "networks": rows})
    return int(any(r.get("times_faster", WANTED) < WANTED for r in rows))


if __name__ == "__main__":
    sys.exit(main())
