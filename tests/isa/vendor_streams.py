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


def vendor_names() -> list[str]:
    """NAME_CHIP of every vendor model; one parameter that skips when the shared folder is missing.
    """
    return sorted(p.stem for p in VENDOR.glob("*.cvimodel")) or [""]


@functools.cache
def vendor_stream(name: str) -> tuple[Chip, bytes]:
    """The chip and the command stream (all routines) of a vendor model."""
    if not name:
        pytest.skip(f"no vendor models in {VENDOR.name}: set TPUFORGE_SHARED")
    data = (VENDOR / f"{name}.cvimodel").read_bytes()
    chip = chip_named(data[30:46].rstrip(b"\0").decode())
    heads = (bytes((chip.magic, 64, 2, 0, 0, 0, 0, 0)), bytes((chip.magic, 112, 0, 0, 0, 0, 0, 0)))
    starts = sorted(at for at in (data.find(h) for h in heads) if at >= 0)
    at = end = starts[0]
    while end < len(data):
        assert data[end : end + 8] in heads
        end += 8 + data[end + 1]
    assert end == len(data)
    return chip, data[at:]
