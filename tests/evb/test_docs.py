"""Every block of docs/boards.md, in order, on a virtual board."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tpuforge.evb import load_board, virtual

pytestmark = pytest.mark.board
PAGE = Path(__file__).resolve().parents[2] / "docs/boards.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def prepare(folder: Path, vendor_dir: Path) -> dict[str, str]:
    """The files that the page talks about; the environment, with this Python's tools."""
    import cv2

    (folder / "bin").mkdir()
    tool = folder / "bin/tpuforge"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tpuforge "$@"\n')
    tool.chmod(0o755)
    shutil.copy(vendor_dir / "tiny_mobilenet_cv183x.cvimodel", folder / "model.cvimodel")
    cv2.imwrite(str(folder / "picture.png"), np.full((60, 80, 3), 99, np.uint8))
    path = os.pathsep.join([str(tool.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path}


def as_virtual(text: str) -> str:
    """The commands for the board `duo`, with the address and the secrets of the virtual board."""
    board = load_board("virtual")
    given = {
        "--host 192.168.42.1": f"--host 127.0.0.1 --port {board.port}",
        "--password prompt": f"--password {board.password}",
        "--chip cv180x --target riscv64-musl": "--chip cv183x --target aarch64 --simulator",
        "/dev/ttyUSB0": board.serial,
        "SHA256:...": board.host_key,
    }
    for words, real in given.items():
        text = text.replace(words, real)
    return text


def test_boards_page(boards_home: Path, vendor_dir: Path, tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) >= 9 and {language for language, _ in blocks} == {"sh", "python"}
    rest = BLOCK.sub("", PAGE.read_text())
    assert not re.search(r"^(    |```)", rest, re.M)  # blocks of another form would not run
    environment, printed = prepare(tmp_path, vendor_dir), ""
    try:
        for language, text in blocks:
            if "duo" in text:
                text = as_virtual(text)
            words = ["sh", "-exc", text] if language == "sh" else [sys.executable, "-c", text]
            done = subprocess.run(
                words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
            )
            assert done.returncode == 0, f"{text}\n{(done.stdout + done.stderr)[-3000:]}"
            printed += done.stdout
    finally:
        virtual.down()
    assert printed.count("TOP_K[5]:") == 2  # the command, and the Python block
    for text in (
        "virtual: running", "pinned: nothing", "SSH answers after", "same bytes as the simulator",
        "aarch64\n", "complete, checksum", "virtual: switched off",
    ):  # fmt: skip
        assert text in printed, text
    assert (tmp_path / "out.npz").exists() and (tmp_path / "again.npz").exists()
    assert (tmp_path / "install_samples/bin/cvi_sample_classifier").exists()
