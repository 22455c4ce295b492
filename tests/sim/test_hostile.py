"""Damaged command streams under the address and undefined-behaviour sanitizers: an error code or a
run, never a crash or a report.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sim.cases import Maker
from sim.compare import TDMA_KINDS, TIU_KINDS, exists
from sim.simlib import SOURCE, compiler
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.isa.cv18xx.stream import encode_tdma, encode_tiu, packet

pytestmark = [
    pytest.mark.model,  # slow: builds with sanitizers
    pytest.mark.skipif(compiler() is None, reason="no C compiler"),
]
ROUNDS = os.environ.get("TPUFORGE_SIM_HOSTILE", "60")
REGION = 300000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hostile") / "hostile"
    flags = [
        "-O1",
        "-g",
        "-std=c11",
        "-pthread",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ]
    sources = [Path(__file__).with_name("hostile.c"), *sorted(SOURCE.glob("*.c"))]
    done = subprocess.run(
        [compiler() or "cc", *flags, "-o", out, *sources], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no sanitizers here: {done.stderr.decode()[-200:]}")
    return out


def stream(chip_name: str) -> bytes:
    """One command of every kind."""
    chip = CHIPS[chip_name]
    m = Maker(np.random.default_rng(5), chip)
    out, ids = b"", [0, 0]
    for kind, make in TIU_KINDS.items():
        if exists(kind, chip):
            ids[0] += 1
            fields = make(m) | {"cmd_id_tpu": ids[0], "cmd_id_gdma": 0}
            out += packet(chip, "tiu", encode_tiu(chip.generation, fields))
    for kind in TDMA_KINDS:
        made = TDMA_KINDS[kind](m, 0)
        for f in made if isinstance(made, tuple) else (made,):
            ids[1] += 1
            out += packet(chip, "tdma", encode_tdma(f | {"cmd_id": ids[1]}))
    return out


@pytest.mark.parametrize("kernel", ["scalar", "avx2", "avx512vnni"])
@pytest.mark.parametrize("chip", ["cv183x", "cv180x"])
def test_damaged_streams(chip: str, kernel: str, program: Path, tmp_path: Path) -> None:
    path = tmp_path / "stream"
    path.write_bytes(stream(chip))
    done = subprocess.run(
        [program, chip, path, str(REGION), ROUNDS, "1"], capture_output=True, check=False,
        text=True, env=os.environ | {"TPU_SIM_KERNEL": kernel}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    ran, *refused = [int(w.strip(",")) for w in done.stdout.split() if w.strip(",").isdigit()]
    assert ran > 0 and sum(refused) > 0
