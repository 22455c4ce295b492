"""Zoo networks as optimised Top graphs with the preprocessing of zoo.json."""

from __future__ import annotations

import json
from pathlib import Path

from tpuforge.compiler.calibrate import CalibrationTable
from tpuforge.compiler.frontend.onnx import load
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.passes.merge_pointwise import merge_missing
from tpuforge.compiler.passes.pipeline import optimise


def zoo_preprocessing(shared: Path, network: str) -> dict:
    return json.loads((shared / "zoo" / "zoo.json").read_text())[network]["preprocessing"]


def top_graph(onnx_file: Path, shared: Path, vendor: CalibrationTable) -> Graph:
    """The graph with the tensors of the vendor's table (its compiler merges more 1x1
    convolutions)."""
    graph = optimise(load(onnx_file, preprocess=zoo_preprocessing(shared, onnx_file.stem)))
    merge_missing(graph, vendor)
    return graph


def differences(ours: CalibrationTable, vendor: CalibrationTable) -> dict[str, float]:
    """Per tensor |threshold - vendor's| / vendor's."""
    return {n: abs(ours[n].threshold - vendor[n].threshold) / vendor[n].threshold for n in vendor}
