"""How near INT8 comes to float32: ours (numpy reference of the Tpu graph) beside the vendor.

usage: python bench/accuracy.py [--zoo FOLDER_WITH_ONNX] [--chip cv181x]
                                [--json FILE] [--images N] [NETWORK ...]

Uses the vendor's calibration tables, stored inputs, float outputs and emulator outputs
(shared/zoo/vendor). For efficientnet_lite0 also top-1 and mean cosine on the photographs of
shared/data/ILSVRC2012 (--images, 0 = none). The bytes of a compiled file equal those of the numpy
reference (parity tests), so no file is compiled here. Exit code 1 if a figure is worse than the
vendor's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import SHARED, ZOO, quantised
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.top import reference
from tpuforge.compiler.tpu import interpreter

NETWORKS = (
    "tiny_resnet",
    "tiny_mobilenet",
    "squeezenet1_1",
    "mobilenet_v2",
    "efficientnet_lite0",
    "resnet18",
    "googlenet",
)  # fmt: skip
#: the vendor on the 100 photographs: measured in shared/data/README.md and issue 3
VENDOR_100 = {"top1": 84, "cosine": 0.98975, "float_top1": 85}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the flattened arrays, in float64."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def one_array(path: Path) -> np.ndarray:
    """The only array of an npz file."""
    with np.load(path) as data:
        return data[data.files[0]]


def output(graph: Graph, x: np.ndarray) -> np.ndarray:
    """The only output of a Tpu graph with one input."""
    (y,) = interpreter.run(graph, {graph.inputs[0].name: x}).values()
    return y


def stored_input(name: str, tpu_graph: Graph, vendor: Path) -> dict[str, Any]:
    """Cosine against float on the stored input: ours and the vendor's."""
    reference_output = one_array(vendor / f"{name}_float.npz")
    start = time.process_time()
    ours = output(tpu_graph, one_array(vendor / f"{name}_in.npz"))
    seconds = time.process_time() - start
    theirs = one_array(next(vendor.glob(f"{name}_cv*_out.npz")))
    return {
        "ours": cosine(ours, reference_output),
        "vendor": cosine(theirs, reference_output),
        "run_cpu_seconds": seconds,
    }


def photograph(path: Path) -> np.ndarray:
    """Short side to 256 (bilinear up, area down), centre crop 224, RGB, (x - 127) / 128, as in
    shared/data/README.md."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    h, w = picture.shape[:2]
    ratio = 256 / min(h, w)
    size = (max(256, round(w * ratio)), max(256, round(h * ratio)))
    picture = cv2.resize(
        picture, size, interpolation=cv2.INTER_LINEAR if ratio > 1 else cv2.INTER_AREA
    )
    y, x = (picture.shape[0] - 224) // 2, (picture.shape[1] - 224) // 2
    rgb = picture[y : y + 224, x : x + 224, ::-1].astype(np.float32)
    return np.ascontiguousarray(((rgb - 127) / 128).transpose(2, 0, 1))[None]


def photographs(top_graph: Graph, tpu_graph: Graph, data: Path, count: int) -> dict[str, Any]:
    """Top-1 (labels from the file names) and mean cosine against float on the first `count`
    photographs."""
    lines = (data / "labels" / "synset_words.txt").read_text().splitlines()
    label = {line.split()[0]: i for i, line in enumerate(lines)}
    files = sorted((data / "ILSVRC2012").glob("*.JPEG"))[:count]
    exact = reference.Reference(top_graph)
    hits = {"ours": 0, "float": 0}
    cosines = []
    for path in files:
        x = photograph(path)
        (y_float,) = exact.run({top_graph.inputs[0].name: x}).values()
        y = output(tpu_graph, x)
        truth = label[path.name.split("_")[0]]
        hits["ours"] += int(y.argmax()) == truth
        hits["float"] += int(y_float.argmax()) == truth
        cosines.append(cosine(y, y_float))
    return {
        "images": len(files),
        "top1": hits["ours"],
        "float_top1": hits["float"],
        "mean_cosine": float(np.mean(cosines)),
        "min_cosine": float(np.min(cosines)),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--chip", default="cv181x")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    vendor = SHARED / "zoo" / "vendor"
    result: dict[str, Any] = {"chip": args.chip, "networks": {}}
    worse = []
    print(
        f"{'network':20} {'ours':>8} {'vendor':>8}   "
        "cosine against float32 on the stored input; CPU seconds: lower, run"
    )
    for name in args.networks:
        top_graph, tpu_graph, seconds = quantised(name, args.chip, args.zoo)
        row = {**stored_input(name, tpu_graph, vendor), "lower_cpu_seconds": seconds}
        result["networks"][name] = row
        worse += [name] if row["ours"] < row["vendor"] else []
        print(
            f"{name:20} {row['ours']:8.5f} {row['vendor']:8.5f}   "
            f"{seconds:.2f} {row['run_cpu_seconds']:.2f}",
            flush=True,
        )
        if name == "efficientnet_lite0" and args.images:
            hundred = photographs(top_graph, tpu_graph, SHARED / "data", args.images)
            result["photographs"] = {**hundred, "vendor_100": VENDOR_100}
            print(
                f"  {hundred['images']} photographs: top-1 {hundred['top1']} "
                f"(float {hundred['float_top1']}), cosine mean {hundred['mean_cosine']:.5f} "
                f"min {hundred['min_cosine']:.5f}; "
                f"vendor on 100: top-1 {VENDOR_100['top1']}, mean {VENDOR_100['cosine']}",
                flush=True,
            )
            if hundred["images"] == 100 and (
                hundred["top1"] < VENDOR_100["top1"] or hundred["mean_cosine"] < 0.990
            ):
                worse.append("photographs")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if worse:
        print(f"worse than the vendor: {', '.join(worse)}", file=sys.stderr)
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
