"""CPU time of model_transform and model_deploy for efficientnet_lite0 beside the vendor's.

usage: python bench/tools.py [--zoo FOLDER_WITH_ONNX] [--chip cv181x] [--json FILE]

Each command runs three times in a process of its own, start-up included; the least user + system
time counts. The vendor's figures (5.6 s + 1.4 s) are those of issue 3. `plain`: the command lines
of shared/zoo/vendor/commands.txt, which are what is compared; `checked`: with a test input, so that
model_transform compares with the ONNX file, and model_deploy the quantised graph and the compiled
file in the simulator. Exit code 1 if the sum of the plain runs is slower.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from common import SHARED, parser, timed, tool, write_json, zoo_file

NETWORK = "efficientnet_lite0"
VENDOR = {"model_transform": 5.6, "model_deploy": 1.4}


def commands(onnx: Path, chip: str, checked: bool) -> dict[str, list[str]]:
    """The two command lines of shared/zoo/vendor/commands.txt; checked: with a test input."""
    vendor, m = SHARED / "zoo" / "vendor", NETWORK
    how = json.loads((SHARED / "zoo" / "zoo.json").read_text())[m]["preprocessing"]
    transform = [*tool("model_transform"), "--model_name", m, "--model_def", str(onnx)]
    transform += ["--input_shapes", "[[1,3,224,224]]", "--pixel_format", how["pixel_format"]]
    for option in ("mean", "scale"):
        transform += [f"--{option}", ",".join(map(str, how[option]))]
    deploy = [*tool("model_deploy"), "--mlir", f"{m}.mlir", "--quantize", "INT8", "--chip", chip]
    deploy += ["--calibration_table", str(vendor / f"{m}_cali_table")]
    if checked:
        test = ["--test_input", str(vendor / f"{m}_in.npz")]
        transform += [*test, "--test_result", "out.npz"]
        deploy += [*test, "--test_reference", "out.npz", "--tolerance", "0.9,0.5"]
    return {
        "model_transform": [*transform, "--mlir", f"{m}.mlir"],
        "model_deploy": [*deploy, "--model", f"{m}.cvimodel"],
    }


def main() -> int:
    p = parser(__doc__ or "")
    p.add_argument("--chip", default="cv181x")
    o = p.parse_args()
    onnx = zoo_file(NETWORK, o.zoo).resolve()
    figures: dict[str, dict[str, float]] = {}
    print("CPU seconds            plain  checked   vendor  vendor/ours (plain)")
    for name, vendor in VENDOR.items():
        figures[name] = {"vendor": vendor}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("plain", "checked"):
            for name, command in commands(onnx, o.chip, kind == "checked").items():
                figures[name][kind] = min(timed(command, Path(folder)).cpu for _ in range(3))
    figures["sum"] = {
        k: sum(f[k] for f in figures.values()) for k in ("plain", "checked", "vendor")
    }
    for name, f in figures.items():
        f["times_faster"] = f["vendor"] / f["plain"]
        print(
            f"{name:20} {f['plain']:7.2f} {f['checked']:8.2f} {f['vendor']:8.2f} "
            f"{f['times_faster']:8.1f}"
        )
    write_json(o.json, {"chip": o.chip, "network": NETWORK, **figures})
    return int(figures["sum"]["times_faster"] < 1)


if __name__ == "__main__":
    sys.exit(main())
