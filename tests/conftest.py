"""What all tests share: the specification folder, the zoo networks, the vendor's runtime.

Tests may import the helpers of other folders as `from parity.oracle import ...`: tests/ is on the
path.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

TESTS = Path(__file__).resolve().parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

SMALL_NETWORKS = ("tiny_resnet", "tiny_mobilenet")


def missing(reason: str) -> NoReturn:
    """Skip a test for want of something; with TPUFORGE_ALL_TESTS (.ci/run) it fails instead."""
    if os.environ.get("TPUFORGE_ALL_TESTS"):
        pytest.fail(reason)
    pytest.skip(reason)


def _shared() -> Path:
    return Path(os.environ.get("TPUFORGE_SHARED", TESTS.parents[1] / "shared"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with specifications, photographs and vendor files (TPUFORGE_SHARED, default
    ../shared)."""
    if not (_shared() / "zoo" / "zoo.json").is_file():
        missing(f"no shared folder at {_shared()}: set TPUFORGE_SHARED")
    return _shared()


@pytest.fixture(scope="session")
def vendor_dir(shared_dir: Path) -> Path:
    """The vendor-compiled models with their inputs and outputs."""
    return shared_dir / "zoo" / "vendor"


@pytest.fixture
def zoo(shared_dir: Path, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """`zoo(name, batch=1)`: the ONNX file of a zoo network.

    The tiny ones are stored. Others come from the folder TPUFORGE_ZOO, or are built once into
    ~/.cache/tpuforge/zoo (slow: only in tests marked `model` or `parity`). Skips when the file can
    not be built, or is not the one of zoo.json, since the vendor's tables and outputs then belong
    to other weights.
    """

    def find(name: str, batch: int = 1) -> Path:
        if name not in json.loads((shared_dir / "zoo" / "zoo.json").read_text()):
            pytest.fail(f"{name} is no network of zoo.json")
        if name in SMALL_NETWORKS and batch == 1:
            return shared_dir / "zoo" / f"{name}.onnx"
        if not any(request.node.get_closest_marker(m) for m in ("model", "parity", "board")):
            pytest.fail(
                f"{name} is a large network: mark the test `model`, or use {SMALL_NETWORKS}"
            )
        path, problem = _zoo_file(shared_dir, name, batch)
        if problem:
            missing(problem)
        return path

    return find


@functools.cache
def _zoo_file(shared: Path, name: str, batch: int) -> tuple[Path, str]:
    """(file, "") or (anything, why not)."""
    named = os.environ.get("TPUFORGE_ZOO")
    folder = Path(named) if named else Path.home() / ".cache" / "tpuforge" / "zoo"
    path = folder / (f"{name}.onnx" if batch == 1 else f"{name}_b{batch}.onnx")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{path.name}.lock").open("w") as lock:  # test processes may run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        problem = "" if path.is_file() else _build(shared, name, batch, path)
    if problem:
        return path, problem
    if batch == 1:
        expected = json.loads((shared / "zoo" / "zoo.json").read_text())[name]["sha256"]
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != expected:
            return path, f"{path} has other weights than the {name} of zoo.json"
    return path, ""


def _build(shared: Path, name: str, batch: int, path: Path) -> str:
    """Build into a temporary folder, then rename; why not, or "" on success."""
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        command = [sys.executable, str(shared / "zoo" / "build_zoo.py"), work, name]
        if batch != 1:
            command += ["--batch", str(batch)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        built = Path(work, path.name)
        if done.returncode or not built.is_file():
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            return f"can not build {path.name}: {lines[-1]}"
        built.replace(path)
    return ""


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`sdk(target, compiler="zig", simulator=True)`: the SDK folder of a board, built on first
    use (half a minute: only in tests marked `model`). Skips without the compiler."""
    from cross import sdk_builder

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # one folder for all workers
        folder = folder.parent
    return sdk_builder(folder / "sdk")


@pytest.fixture(scope="session")
def oracle() -> Iterator[ModuleType]:
    """The module `parity.oracle` (`oracle.vendor_run(...)`); skips when the vendor's libraries are
    missing."""
    from parity import oracle as module

    try:
        module.vendor_library_dir()
    except module.OracleMissing as reason:
        missing(str(reason))
    yield module
    module.close_workers()
