"""Fetch the vendor's libraries for the parity tests: they are a test aid, never a part or a
need of this package.

usage: python tests/parity/fetch_oracle.py [FOLDER]        (default ~/.cache/tpuforge)

Downloads the public wheel `tpu_mlir` 1.30.2 (312 MB) with pip into a temporary folder, without
installing it, and unzips the runtime, the emulator, the kernel library and the arithmetic of the
calibration. A wheel that already
lies in FOLDER is used instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "tpu_mlir==1.30.2"
LIBRARIES = ("libcviruntime.so", "libcvicmodel.so", "libcvikernel.so", "calibration_math.so")


def fetch(folder: Path) -> Path:
    """`folder` with the libraries in it; CalledProcessError when pip can not download."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = sorted(folder.glob("tpu_mlir-1.30.2-*.whl"))
    if stored:
        _unzip(stored[0], folder)
        return folder
    with tempfile.TemporaryDirectory(dir=folder) as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", work]
        command += ["--python-version", "3.10", "--only-binary=:all:", REQUIREMENT]
        subprocess.run(command, check=True)
        _unzip(next(Path(work).glob("*.whl")), folder)
    return folder


def _unzip(wheel: Path, folder: Path) -> None:
    """Each library under a temporary name first: a cut download leaves no half library."""
    with zipfile.ZipFile(wheel) as archive:
        for name in LIBRARIES:
            part = folder / f"{name}.{os.getpid()}.part"
            part.write_bytes(archive.read(f"tpu_mlir/lib/{name}"))
            part.replace(folder / name)


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.home() / ".cache" / "tpuforge"))
