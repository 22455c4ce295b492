"""The public functions: tpuforge.compiler.transform, .calibrate, .deploy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tpuforge.compiler
from tpuforge.compiler.errors import OptionError, UserInputError

SCRIPT = """
import tpuforge.compiler as c, sys
onnx, samples, out = sys.argv[1:]
preprocess = {"mean": (128,) * 3, "scale": (1 / 128,) * 3, "pixel_format": "rgb"}
graph = c.transform(onnx, preprocess=preprocess).graph
table = c.calibrate(graph, samples, input_num=2, tune_num=0, method="max")
done = c.deploy(graph, table, "cv181x", out, opt=0)
print(done.path, len(table) > 10)
"""


def test_three_functions_from_the_package(shared_dir: Path, tmp_path: Path) -> None:
    """In a fresh interpreter: `calibrate` is also the name of a folder of the package."""
    onnx, samples = shared_dir / "zoo" / "tiny_mobilenet.onnx", shared_dir / "data" / "ILSVRC2012"
    command = [sys.executable, "-c", SCRIPT, str(onnx), str(samples), str(tmp_path / "o.cvimodel")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'o.cvimodel'} True")


def test_arrays_instead_of_files(shared_dir: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    done = tpuforge.compiler.transform(shared_dir / "zoo" / "tiny_mobilenet.onnx")
    shape = done.graph.inputs[0].shape
    x = rng.standard_normal(shape, dtype=np.float32)
    again = tpuforge.compiler.transform(shared_dir / "zoo" / "tiny_mobilenet.onnx", test_input=[x])
    np.testing.assert_array_equal(again.inputs["input"], x)
    assert set(again.outputs) == {v.name for v in again.graph.values()}
    np.save(tmp_path / "x.npy", x)
    table = tpuforge.compiler.calibrate(
        done.graph, [str(tmp_path / "x.npy")], tune_num=0, method="max"
    )
    deployed = tpuforge.compiler.deploy(
        done.graph,
        table,
        "cv180x",
        tmp_path / "n.cvimodel",
        opt=0,
        test_input=[x],
        test_reference=again.outputs,
    )
    assert [r.passed for r in deployed.reports] == [True, True]
    assert set(deployed.expected) == set(deployed.simulated)
    for name, value in deployed.expected.items():
        assert value.tobytes() == deployed.simulated[name].tobytes()
    assert all(f.is_file() for f in deployed.files)


def test_errors_are_ours(shared_dir: Path, tmp_path: Path) -> None:
    graph = tpuforge.compiler.transform(shared_dir / "zoo" / "tiny_mobilenet.onnx").graph
    with pytest.raises(OptionError, match="unknown chip"):
        tpuforge.compiler.deploy(graph, {}, "cv999x", tmp_path / "n.cvimodel")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"\.mlir"):
        tpuforge.compiler.transform(
            shared_dir / "zoo" / "tiny_mobilenet.onnx", mlir=tmp_path / "n.txt"
        )
    with pytest.raises(UserInputError, match="no such folder"):
        tpuforge.compiler.calibrate(graph, tmp_path / "none")
    with pytest.raises(AttributeError):
        tpuforge.compiler.nonsense  # noqa: B018
