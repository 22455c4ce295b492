"""Whole networks with the vendor's calibration tables: references == our simulator == the vendor's
runtime and emulator, byte for byte.

The vendor's emulator does about 0.25 GMAC/s: this file is most of the parity tier's time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tpuforge.compiler.calibrate.table import CalibrationTable, Entry, read_table
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.frontend import transform_graph
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.lower import lower, merge_pairs
from tpuforge.compiler.top import reference
from tpuforge.compiler.tpu import interpreter
from voices import compiled, difference, simulate

pytestmark = pytest.mark.parity

MODELS = ["squeezenet1_1", "mobilenet_v2", "efficientnet_lite0", "resnet18", "googlenet"]
SLOW = ["resnet50", "vgg16"]


def built(path: Path, table: Path, chip: str) -> Graph:
    """The Tpu graph of a network with the thresholds of a table."""
    graph = transform_graph(str(path), name=path.stem)
    thresholds = read_table(str(table))
    merge_pairs(graph, thresholds.keys(), chip_named(chip))
    return lower(graph, thresholds, chip_named(chip))


def built_for(path: Path, x: np.ndarray, chip: str) -> Graph:
    """The same without a table: thresholds are the largest values on one picture, 1x1 convolutions
    are only merged where that is faster."""
    graph = transform_graph(str(path), name=path.stem)
    table = CalibrationTable()
    for name, v in reference.run(graph, {graph.inputs[0].name: x}, "all").items():
        table.entries[name] = Entry(float(np.abs(v).max()) or 1.0, float(v.min()), float(v.max()))
    merge_pairs(graph, table.keys(), chip_named(chip))
    return lower(graph, table, chip_named(chip))


def agree(oracle: ModuleType, graph: Graph, chip: str, x: np.ndarray, **options) -> None:
    """All three voices on one input."""
    _, model = compiled(graph, chip_named(chip), **options)
    arrays = {graph.inputs[0].name: np.ascontiguousarray(x, np.float32)}
    expected = interpreter.run(graph, arrays)
    assert not difference(expected, simulate(model, arrays)), "our simulator"
    answer = oracle.vendor_run(model, arrays, timeout=500)
    assert not difference(expected, answer), "the vendor's emulator"


def stored_input(vendor_dir: Path, name: str) -> np.ndarray:
    with np.load(vendor_dir / f"{name}_in.npz") as arrays:
        return arrays["input"]


@pytest.mark.parametrize("opt", range(4))
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", ["tiny_resnet", "tiny_mobilenet"])
def test_small(
    oracle: ModuleType, zoo: Callable, vendor_dir: Path, name: str, chip: str, opt: int
) -> None:
    graph = built(zoo(name), vendor_dir / f"{name}_cali_table", chip)
    agree(oracle, graph, chip, stored_input(vendor_dir, name), opt=opt)


@pytest.mark.model
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chip", CHIPS)
def test_batch_1(oracle: ModuleType, zoo: Callable, vendor_dir: Path, name: str, chip: str) -> None:
    graph = built(zoo(name), vendor_dir / f"{name}_cali_table", chip)
    agree(oracle, graph, chip, stored_input(vendor_dir, name))


@pytest.mark.model
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chip", CHIPS)
def test_batch_4(oracle: ModuleType, zoo: Callable, vendor_dir: Path, name: str, chip: str) -> None:
    """Four pictures: the stored one, two noisy ones and noise alone. Without the vendor's table,
    which lacks tensors between 1x1 convolutions."""
    picture = stored_input(vendor_dir, name)
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((4, *picture.shape[1:])).astype(np.float32)
    weight = np.float32([0, 0.1, 0.5, 1]).reshape(4, 1, 1, 1)
    x = picture * (1 - weight) + noise * weight
    agree(oracle, built_for(zoo(name, 4), x, chip), chip, x)


@pytest.mark.model
@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("chip", CHIPS)
def test_slow(oracle: ModuleType, zoo: Callable, vendor_dir: Path, name: str, chip: str) -> None:
    """resnet50 (4.1 GMAC) and vgg16 (15.5 GMAC), for which the vendor gave no table."""
    x = stored_input(vendor_dir, "resnet18")
    agree(oracle, built_for(zoo(name), x, chip), chip, x)
