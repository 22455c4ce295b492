"""cvi_nn as a package: types for strict checkers, what it needs on a board, another library."""

import os
import subprocess
import sys
from pathlib import Path

import cvi_nn
import numpy as np
import pytest
from runtime import builder as b

PACKAGE = Path(cvi_nn.__file__).parent
USER = """
import numpy as np
from numpy.typing import NDArray
import cvi_nn


def stages(path: str, images: list[NDArray[np.int8]]) -> list[float]:
    with cvi_nn.Model(path) as model:
        wide: cvi_nn.Model = model.clone(program={"in": (4, 1, 1, 64)})
        batches: list[tuple[int, ...]] = [p.inputs[0].shape for p in model.programs]
        task: cvi_nn.Task = model.forward_async({"in": images[0]})
        result: dict[str, NDArray[np.float32]] = task.wait()
        view = model.input("in*").view()
        view[...] = images[1]
        model.run()
        memory: cvi_nn.DeviceMemory = cvi_nn.Context().alloc(64)
        wide.inputs[0].bind(memory, offset=0)
        real = model.outputs[0].dequantize(result["out"])
        try:
            model.forward([images[0]])
        except cvi_nn.CviError as error:
            name: str = error.name
            print(name, error.code + 1, batches, model.version[0])
        return [float(real.sum()), model.inputs[0].qscale]
"""
WRONG = """
import cvi_nn
model = cvi_nn.Model("x")
count: str = model.inputs[0].count
model.forward_async()
"""


def strict(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """mypy --strict on a program and on the package it uses (cffi has no stubs)."""
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(text)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "cvi_nn").symlink_to(PACKAGE)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--disable-error-code",
            "import-untyped",
            "--cache-dir",
            tmp_path / "cache",
            "user.py",
        ],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(tmp_path / "site"), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.model  # mypy reads numpy: half a minute
def test_strict_types(tmp_path: Path) -> None:
    assert (PACKAGE / "py.typed").exists()
    done = strict(tmp_path, USER)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.model
def test_strict_types_find_mistakes(tmp_path: Path) -> None:
    done = strict(tmp_path, WRONG)
    assert "Incompatible types" in done.stdout and "Missing positional argument" in done.stdout


def test_needs_numpy_and_cffi_only(tmp_path: Path) -> None:
    """A board has Python, numpy and cffi's back-end; every other import fails here."""
    (tmp_path / "m").write_bytes(b.tiny().write())
    script = """
import sys
class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in {"numpy", "_cffi_backend", "cffi", "cvi_nn", *sys.stdlib_module_names}:
            raise ImportError(f"not on this board: {name}")
sys.meta_path.insert(0, Only())
import cvi_nn, numpy as np
x = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)
with cvi_nn.Model(sys.argv[1]) as model:
    assert (model.forward({"in": x})["out"] == x).all()
    assert (model.clone().forward_async([x]).wait()["out"] == x).all()
    assert model.programs[0].inputs[0].name == "in"
assert not {"tpuforge", "onnx", "cv2"} & set(sys.modules)
try:
    import onnx
except ImportError:
    print("fine")
"""
    command = [sys.executable, "-c", script, tmp_path / "m"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_another_library_by_environment(tmp_path: Path) -> None:
    """CVI_NN_LIB names the library that is loaded."""
    (tmp_path / "m").write_bytes(b.tiny().write())
    other = tmp_path / "libother.so"
    other.write_bytes(Path(cvi_nn.library_path()).read_bytes())
    script = (
        "import sys, cvi_nn\n"
        "cvi_nn.Model(sys.argv[1]).close()\n"
        "print(sorted({l.split()[-1] for l in open('/proc/self/maps') if 'lib' in l\n"
        "              and ('cviruntime' in l or 'libother' in l)}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "m"],
        env={**os.environ, "CVI_NN_LIB": str(other)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"['{other}']\n"


def test_stages_of_different_shape() -> None:
    """A detector runs on one picture, its crops go through the program for four."""
    data = b.two_programs()
    crops = np.arange(4 * 64, dtype=np.uint8).view(np.int8).reshape(4, 1, 1, 64)
    with cvi_nn.Model(data) as model, model.clone(program=crops.shape) as second:
        first = model.forward([crops[:1]])["out"]
        assert (first == crops[:1]).all()
        assert (second.forward([crops])["out"] == crops).all()
        with pytest.raises(ValueError, match="no program with input shapes"):
            model.clone(program=(3, 1, 1, 64))
