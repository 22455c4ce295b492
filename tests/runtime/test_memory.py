"""Memory of a model: at most file + neuron memory + local memory + 10 % (issue 4 point 4). Every
host allocation of the simulator is counted, every ION buffer of the board back-end."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runtime.test_board import Board
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.format import cvimodel

pytestmark = pytest.mark.model

NETWORKS = ("squeezenet1_1", "mobilenet_v2", "resnet18")
CHIPS_OF = {
    "cv183x cv182x cv181x cv180x": ("tiny_mobilenet", "tiny_resnet", "mobilenet_v2"),
    "cv183x cv181x cv180x": ("squeezenet1_1", "resnet18"),
    "cv183x cv181x": ("efficientnet_lite0", "googlenet"),
}
FILES = [f"{n}_{c}" for chips, names in CHIPS_OF.items() for n in names for c in chips.split()]
CLONE = 12_000  # bytes: handle, tensors, routines


SLACK = 1.1


def needs(path: Path) -> tuple[int, int, int]:
    """Bytes of the file, of neuron memory, of local memory."""
    model = cvimodel.load(path)
    program = model.programs[0]
    io = sum(t.size or 0 for t in program.tensors if t.offset >= 0 and t.offset >> 40 >= 3)
    neuron = program.shared_gmem + program.private_gmem + io
    return path.stat().st_size, neuron, CHIPS[model.chip].lanes * 32768


def measure(program: Path, path: Path, *how: str, kernel: str = "") -> dict[str, int]:
    """The counts that memory.c prints."""
    env = os.environ | ({"TPU_SIM_KERNEL": kernel} if kernel else {})
    done = subprocess.run(
        [program, path, *how], capture_output=True, text=True, check=True, timeout=200, env=env
    )
    words = done.stdout.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_simulator(c_program: Callable[..., Path], vendor_dir: Path, name: str):
    """From a file and from a buffer; a clone adds tensors and neuron memory only."""
    path = vendor_dir / f"{name}.cvimodel"
    file, neuron, local = needs(path)
    for how in ((), ("buffer",)):
        counts = measure(c_program("memory"), path, *how)
        print(f"{path.stem} {how}: {counts['peak'] / (file + neuron + local):.3f}")
        assert counts["peak"] <= SLACK * (file + neuron + local)
        assert counts["clone"] <= SLACK * neuron + CLONE and counts["left"] < 4096


@pytest.mark.parametrize("kernel", ["scalar", "avx2"])
@pytest.mark.parametrize("name", ["tiny_mobilenet_cv180x", "tiny_resnet_cv183x"])
def test_other_kernels(c_program: Callable[..., Path], vendor_dir: Path, name: str, kernel: str):
    """Kernels of 16-bit products need more room for weights and inputs."""
    path = vendor_dir / f"{name}.cvimodel"
    assert measure(c_program("memory"), path, kernel=kernel)["peak"] <= SLACK * sum(needs(path))


@pytest.mark.parametrize("chip", ["cv183x", "cv181x", "cv180x"])
@pytest.mark.parametrize("name", NETWORKS)
def test_board(
    c_program: Callable[..., Path], vendor_dir: Path, tmp_path: Path, name: str, chip: str
):
    path = vendor_dir / f"{name}_{chip}.cvimodel"
    x = next(iter(np.load(vendor_dir / f"{name}_in.npz").values()))
    expected = next(iter(np.load(vendor_dir / f"{path.stem}_out.npz").values()))
    result = Board(c_program("board"), tmp_path).run(f"chip={chip}", path.read_bytes(), x)
    assert result.output == expected.tobytes()
    assert result.counts["peak"] < SLACK * sum(needs(path)[:2])
