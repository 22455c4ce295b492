"""Zoo networks as optimised Top graphs with the preprocessing of zoo.json."""

from __future__ import annotations

import json
from pathlib import Path

from tpuforge.compiler.calibrate import CalibrationTable
from tpuforge.compiler.frontend.onnx import load
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.passes.pipeline import optimise


def zoo_preprocessing(shared: Path, network: str) -> dict:
    return json.loads((shared / "zoo" / "zoo.json").read_text())[network]["preprocessing"]


def top_graph(onnx_file: Path, shared: Path) -> Graph:
    """The graph as model_transform writes it."""
    return optimise(load(onnx_file, preprocess=zoo_preprocessing(shared, onnx_file.stem)))


def shared_names(ours: CalibrationTable, vendor: CalibrationTable) -> list[str]:
    """The tensors of our table that the vendor's knows: its compiler merges all 1x1 convolutions
    in a row, so that the tensors between are only in ours."""
    return [n for n in ours if n in vendor]


def differences(ours: CalibrationTable, vendor: CalibrationTable) -> dict[str, float]:
    """Per tensor |threshold - vendor's| / vendor's."""
    return {n: abs(ours[n].threshold - vendor[n].threshold) / vendor[n].threshold for n in vendor}
