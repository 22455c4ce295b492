"""Files made by hand run on the vendor's runtime: the worked example of formats/cvimodel.md section
15, all chips."""

from __future__ import annotations

import numpy as np
import pytest
from format.sample import tiny
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.format.cvimodel import DType, Routine, Tensor
from tpuforge.compiler.format.lz4 import compress

pytestmark = pytest.mark.parity

CHIPS = ("cv183x", "cv182x", "cv181x", "cv180x")


@pytest.mark.parametrize("chip", CHIPS)
def test_one_copy_command(oracle, chip):
    values = np.random.default_rng(7).integers(-128, 128, 64, np.int8)
    outputs = oracle.vendor_run(cvimodel.write(tiny(chip)), {"in": values})
    assert outputs["out"].shape == (1, 1, 1, 64)
    assert outputs["out"].tobytes() == values.tobytes()


@pytest.mark.parametrize("chip", CHIPS)
def test_all_tensors_and_a_cpu_routine(oracle, chip):
    """A `quant` routine before the copy: its nested arguments are understood, and every tensor is
    readable."""
    model = tiny(chip)
    program = model.programs[0]
    program.tensors.append(Tensor("x", -1, DType.FP32, (1, 1, 1, 64)))
    args = {"from": "FP32", "scale": 50.0, "to": "INT8"}
    program.routines.insert(0, Routine("cpu", ["x"], ["in"], function="quant", args=args))
    program.inputs = ["x"]
    values = np.random.default_rng(8).standard_normal(64).astype(np.float32)
    outputs = oracle.vendor_run(cvimodel.write(model), {"x": values}, all_tensors=True)
    product = values * np.float32(50.0)
    expected = np.clip(np.trunc(product + np.copysign(np.float32(0.5), product)), -128, 127)
    assert list(outputs) == ["in", "out", "x"]
    assert outputs["out"].tobytes() == outputs["in"].tobytes() == expected.astype(np.int8).tobytes()
    assert outputs["x"].tobytes() == values.tobytes()


@pytest.mark.parametrize("chip", CHIPS)
def test_our_lz4_is_understood(oracle, chip):
    model = tiny(chip)
    section = model.sections[1]
    section.decompressed_size, section.compress = len(section.data), True
    section.data = compress(section.data)
    values = np.arange(-32, 32, dtype=np.int8)
    outputs = oracle.vendor_run(cvimodel.write(model), {"in": values})
    assert outputs["out"].tobytes() == values.tobytes()
