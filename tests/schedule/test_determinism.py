"""The same graph gives the same file, byte for byte: in one process, and whatever the hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from net_cases import random_graph
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.emit.cv18xx import compile_graph
from tpuforge.compiler.format import cvimodel

TESTS = Path(__file__).resolve().parents[1]
NUMBERS = (0, 3)


def digest(chip: str) -> str:
    """Of the files of some graphs."""
    sum_ = hashlib.sha256()
    for number in NUMBERS:
        graph = random_graph(f"same-{number}", CHIPS[chip])
        sum_.update(cvimodel.write(compile_graph(graph, CHIPS[chip], build_time="then").model))
    return sum_.hexdigest()


@pytest.mark.parametrize("chip", CHIPS)
def test_in_one_process(chip: str) -> None:
    litter = [object() for _ in range(1000)]
    first = digest(chip)
    del litter[::3]  # objects of the second run lie elsewhere: orders by identity would show
    assert digest(chip) == first


def test_in_other_processes() -> None:
    code = "from schedule.test_determinism import digest; print(digest('cv180x'))"
    path = os.pathsep.join([str(TESTS), *sys.path])
    found = {digest("cv180x")}
    for seed in ("0", "1234"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout.strip())
    assert len(found) == 1
