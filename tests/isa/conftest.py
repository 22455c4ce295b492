"""Command streams of the vendor-compiled test networks, found without a model reader (packets fill
the file's end).
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from tpuforge.compiler.chip import Chip, chip_named

SHARED = Path(
    os.environ.get("TPUFORGE_SHARED", Path(__file__).resolve().parents[2].parent / "shared")
)
VENDOR = SHARED / "zoo" / "vendor"


@functools.cache
def read_stream(name: str) -> tuple[Chip, bytes]:
    """The chip and the command stream (all routines) of a vendor model NAME_CHIP."""
    data = (VENDOR / f"{name}.cvimodel").read_bytes()
    chip = chip_named(data[30:46].rstrip(b"\0").decode())
    heads = (
        bytes((chip.magic, 64, 2, 0, 0, 0, 0, 0)),
        bytes((chip.magic, 112, 0, 0, 0, 0, 0, 0)),
    )
    start = end = min(at for at in (data.find(h) for h in heads) if at >= 0)
    while end < len(data):
        assert data[end : end + 8] in heads
        end += 8 + data[end + 1]
    assert end == len(data)
    return chip, data[start:]


@pytest.fixture
def shared():
    """The shared folder; skips without it."""
    if not VENDOR.is_dir():
        pytest.skip(f"no folder {VENDOR}: set TPUFORGE_SHARED")
    return SHARED


@pytest.fixture
def stream(shared):
    """A function: name of a vendor model -> (chip, stream)."""
    return read_stream


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`vendor_name` runs over all vendor models, `small_vendor_name` and `large_vendor_name` over
    those with few and with many commands (one case that skips without the shared folder).
    """
    names = sorted(p.stem for p in VENDOR.glob("*.cvimodel"))
    large = [n for n in names if n.endswith("cv180x") and not n.startswith("tiny")]
    choices = {
        "vendor_name": names,
        "small_vendor_name": [n for n in names if n not in large],
        "large_vendor_name": large,
    }
    for fixture, chosen in choices.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, chosen or ["none"])
