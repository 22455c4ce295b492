"""Builds the C programs of tests/runtime/c."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = Path(__file__).with_name("c")


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """`c_program(name, sanitizers)`: the built program; sanitizers "" or e.g. "address,undefined".
    Takes about a minute per set of sanitizers: only for tests marked `model`."""
    folders: dict[str, Path] = {}

    def build(name: str, sanitizers: str = "") -> Path:
        if not shutil.which("cmake") or not shutil.which("cc"):
            pytest.skip("needs cmake and a C compiler")
        if sanitizers not in folders:
            folders[sanitizers] = tmp_path_factory.mktemp("c")
            command = [
                "cmake",
                "-S",
                SOURCES,
                "-B",
                folders[sanitizers],
                f"-DTPU_SANITIZE={sanitizers}",
                f"-DCMAKE_BUILD_TYPE={'RelWithDebInfo' if sanitizers else 'Release'}",
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=100)
        command = ["cmake", "--build", folders[sanitizers], "--target", name, "-j", "2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        program = folders[sanitizers] / name
        return program if program.exists() else program.with_name(f"lib{name}.so")

    return build
