"""All kernel sets give the same bytes: the same random instructions in one process per set. The
cases prefer sizes around the vector lengths (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65).
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sim.cases import Maker
from sim.compare import TDMA_KINDS, TIU_KINDS, exists, tdma_case, tiu_case
from sim.simlib import Sim, SimError, build, compiler, kernel_name
from tpuforge.compiler.chip import CHIPS

CASES = int(os.environ.get("TPUFORGE_SIM_CASES", "2"))


def digests(chip_name: str) -> str:
    """One line per kind: a hash of all memories after its cases."""
    chip, sim, out = CHIPS[chip_name], Sim(chip_name), []
    kinds = [(tiu_case, k) for k in TIU_KINDS if exists(k, chip)]
    for case, kind in kinds + [(tdma_case, k) for k in TDMA_KINDS]:
        m, digest = Maker(np.random.default_rng(7), chip), hashlib.sha256()
        for _ in range(CASES):
            stream, memory, _ = case(kind, m)
            try:
                sim.run(stream, {k: memory for k in range(8)})
            except SimError as error:
                digest.update(str(error).encode())
            digest.update(memory)
        out.append(f"{kind}: {digest.hexdigest()}")
    return "\n".join(out)


@functools.cache
def other_process(chip: str, kernel: str) -> list[str]:
    path = [str(Path(__file__).resolve().parents[1]), *sys.path]
    env = os.environ | {"TPU_SIM_KERNEL": kernel, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run([sys.executable, __file__, chip], env=env, capture_output=True, text=True,
                          check=True)  # fmt: skip
    name, *lines = done.stdout.splitlines()
    if name != kernel:
        pytest.skip(f"this processor has no {kernel}")
    return lines


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("kernel", ["avx2", "avx512vnni"])
@pytest.mark.parametrize("chip", ["cv181x", pytest.param("cv183x", marks=pytest.mark.model)])
def test_same_bytes(chip: str, kernel: str) -> None:
    build()
    assert other_process(chip, kernel) == other_process(chip, "scalar")


if __name__ == "__main__":
    print(kernel_name())
    print(digests(sys.argv[1]))
