"""Every command block of docs/boards.md, in order, on a virtual board."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tpuforge.evb import virtual

pytestmark = pytest.mark.board
PAGE = Path(__file__).resolve().parents[2] / "docs/boards.md"


def test_boards_page(boards_home: Path, vendor_dir: Path, tmp_path: Path) -> None:
    import cv2

    pytest.importorskip("paramiko")
    pytest.importorskip("serial")
    if not shutil.which("qemu-system-aarch64"):
        pytest.skip("apt install qemu-system-arm")
    if virtual.status().pid:
        pytest.skip("a virtual board of the user is running")
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(blocks) >= 6
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin/tpuforge"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tpuforge "$@"\n')
    tool.chmod(0o755)
    shutil.copy(vendor_dir / "tiny_mobilenet_cv183x.cvimodel", tmp_path / "model.cvimodel")
    cv2.imwrite(str(tmp_path / "picture.png"), np.full((60, 80, 3), 99, np.uint8))
    path = os.pathsep.join([str(tool.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "set -ex\n" + "\n".join(blocks)
    try:
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env={**os.environ, "PATH": path},
            capture_output=True, text=True, timeout=500,
        )  # fmt: skip
    finally:
        virtual.down()
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    for text in ("TOP_K[5]:", "same bytes as the simulator", "aarch64\n", "complete, checksum"):
        assert text in done.stdout
    assert (tmp_path / "out.npz").exists()
    assert (tmp_path / "install_samples/bin/cvi_sample_classifier").exists()
