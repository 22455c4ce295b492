"""Whole networks: at least as near to float as the vendor's own compilation."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tpuforge.compiler.frontend import transform_graph

REPO = Path(__file__).resolve().parents[2]
LARGE = ["squeezenet1_1", "mobilenet_v2", "efficientnet_lite0", "resnet18", "googlenet"]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_accuracy", REPO / "bench" / "accuracy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(REPO / "bench"))  # the programs share bench/common.py
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(REPO / "bench"))
    return module


def compare(bench: ModuleType, onnx: Path, folder: Path, chip: str) -> None:
    """On the stored input, with the vendor's table."""
    models = bench.files(onnx.stem, chip, onnx.parent, folder, ("table", "vendor"))
    cosines = bench.stored_input(onnx.stem, models)
    assert cosines["table"] >= cosines["vendor"]


@pytest.mark.parametrize("chip", ["cv183x", "cv181x"])
@pytest.mark.parametrize("name", ["tiny_resnet", "tiny_mobilenet"])
def test_small(bench: ModuleType, zoo, tmp_path: Path, name: str, chip: str) -> None:
    compare(bench, zoo(name), tmp_path, chip)


@pytest.mark.model
@pytest.mark.parametrize("name", LARGE)
def test_large(bench: ModuleType, zoo, tmp_path: Path, name: str) -> None:
    compare(bench, zoo(name), tmp_path, "cv181x")


@pytest.mark.model
@pytest.mark.parametrize("name", ["tiny_resnet", "tiny_mobilenet", *LARGE])
def test_on_photographs(bench: ModuleType, zoo, tmp_path: Path, name: str) -> None:
    """Issue 3, calibrated by us: over the 100 photographs not below the vendor by more than two
    standard errors; efficientnet_lite0: top-1 within one image of float, mean cosine >= 0.990."""
    onnx = zoo(name)
    models = bench.files(name, "cv181x", onnx.parent, tmp_path, ("ours", "vendor"))
    seen = bench.photographs(name, models, transform_graph(onnx), 100)
    assert seen["images"] == 100
    assert not bench.complaints(name, seen)
