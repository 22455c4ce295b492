"""The KL threshold against the vendor's library (cli.md section 13.2), histogram by histogram.

Its function is kl_diversity_hist(int32 counts[bins], float width, int64 bins, int64 levels), a
float. Where a table of a whole network still differs, float kernels gave other last bits and two
ranges are equally good, as between two runs of the vendor's tool: tests/calibrate/test_networks.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tpuforge.compiler.calibrate.kl import kl_threshold

from .oracle import OracleMissing, vendor_library_dir

pytestmark = pytest.mark.parity
LIBRARY = "calibration_math.so"
CHILD = """
import ctypes, sys
import numpy as np
f = ctypes.CDLL(sys.argv[1]).kl_diversity_hist
f.restype = ctypes.c_float
f.argtypes = [ctypes.c_void_p, ctypes.c_float, ctypes.c_longlong, ctypes.c_longlong]
with np.load(sys.argv[2]) as z:
    for name in z.files:
        counts = z[name]
        print(f(counts.ctypes.data, 0.5, counts.size, 128))
"""


def histograms(count: int) -> list[np.ndarray]:
    """Falling, noisy and nearly empty ones, flat ones with many ranges that are almost equally good
    and ones whose sums exceed 24 bits; 2 to 40 times 128 bins."""
    rng, found = np.random.default_rng(13), []
    for number in range(count):
        n = 128 * int(rng.integers(2, 41))
        i = np.arange(n)
        if number % 5 == 0:
            h = rng.uniform(10, 1e5) * np.exp(-i / rng.uniform(20, n)) * (rng.random(n) < 0.9)
        elif number % 5 == 1:
            h = rng.poisson(rng.uniform(1, 300) * np.exp(-((i / rng.uniform(100, n)) ** 2)))
        elif number % 5 == 2:
            h = rng.integers(0, 3, n)
        elif number % 5 == 3:
            h = rng.integers(990, 1000, n) * (i < rng.integers(200, n))
        else:
            h = rng.uniform(1e5, 3e7) * np.exp(-4 * i / rng.uniform(20, n)) + (rng.random(n) < 0.9)
        found.append(np.floor(h).astype(np.int32))
    return found


@pytest.fixture
def library() -> Path:
    try:
        path = vendor_library_dir() / LIBRARY
    except OracleMissing as e:
        pytest.skip(str(e))
    if not path.is_file():
        pytest.skip(f"no {LIBRARY}: run `python tests/parity/fetch_oracle.py`")
    return path


def test_same_thresholds(library: Path, tmp_path: Path) -> None:
    stub = ["-shared", "-x", "c", "-", "-o", str(tmp_path / "libomp.so.5")]  # linked, never called
    subprocess.run(["cc", *stub, "-Wl,-soname,libomp.so.5"], input=b"\n", check=True)
    cases = histograms(600)
    np.savez(tmp_path / "cases.npz", **{str(i): h for i, h in enumerate(cases)})
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(library), str(tmp_path / "cases.npz")],
        env={"LD_LIBRARY_PATH": str(tmp_path)}, capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    theirs = [float(line) for line in done.stdout.split()]
    assert theirs == [kl_threshold(h, 0.5) for h in cases]
    assert len(set(theirs)) > 30
