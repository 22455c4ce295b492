"""The README is true: its command blocks run, in order, in an empty folder with the installed
package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
#: done by whoever runs this test: `make` and `pip` need a clone and a network
INSTALLATION = re.compile(r"^(make \w+|pip install .*)$", re.M)


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {
        line.split()[1]
        for _, text in blocks()
        for line in text.splitlines()
        if line.startswith("make ")
    }
    assert named == {"demo", "test"}
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.M)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / link).exists(), link


@pytest.mark.model
def test_command_blocks_run(tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    if not (scripts / "tpuforge").is_file():
        pytest.skip("tpuforge is not installed in this environment")
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    folder, ran = tmp_path, 0
    for language, text in blocks():
        text = INSTALLATION.sub("", text).strip()
        if not text:
            continue
        command = (
            [sys.executable, "-c", text] if language == "python" else ["bash", "-eu", "-c", text]
        )
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        folder = folder / "demo_output" if text.startswith("cd demo_output") else folder
        ran += 1
    assert ran >= 6
    assert (folder / "lite0.cvimodel").is_file() and (folder / "python.cvimodel").is_file()
