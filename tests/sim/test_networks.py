"""Vendor-compiled networks on the bare simulator: the bytes of the vendor's emulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sim.network import Network
from sim.simlib import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler")
CHIPS = ("cv183x", "cv182x", "cv181x", "cv180x")
TINY = [f"{n}_{c}" for n in ("tiny_resnet", "tiny_mobilenet") for c in CHIPS]
LARGE = [f"mobilenet_v2_{c}" for c in CHIPS]
LARGE += [f"{n}_{c}" for n in ("squeezenet1_1", "resnet18") for c in ("cv183x", "cv181x", "cv180x")]
LARGE += [f"{n}_{c}" for n in ("efficientnet_lite0", "googlenet") for c in ("cv183x", "cv181x")]


def check(folder: Path, name: str) -> None:
    """Twice: the second run starts with what the first left in local memory."""
    network = Network(folder / f"{name}.cvimodel")
    with np.load(folder / f"{name.rsplit('_', 1)[0]}_in.npz") as arrays:
        image = arrays["input"]
    with np.load(folder / f"{name}_out.npz") as arrays:
        expected = {key: arrays[key].tobytes() for key in arrays.files}
    for _ in range(2):
        outputs = network.run(image)
        assert outputs.keys() == expected.keys()
        assert all(outputs[key] == expected[key] for key in expected)


@pytest.mark.parametrize("name", TINY)
def test_tiny(name: str, vendor_dir: Path) -> None:
    check(vendor_dir, name)


@pytest.mark.model
@pytest.mark.parametrize("name", LARGE)
def test_large(name: str, vendor_dir: Path) -> None:
    check(vendor_dir, name)
