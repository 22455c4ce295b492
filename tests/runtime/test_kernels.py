"""The ready-made matrix product (api/cvi_nn.md section 11): exact on every chip."""

import ctypes
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import cvi_nn
import numpy as np
import pytest
from runtime import builder as b

INVALID_ARG = -1065910269
INT8, UINT8 = 6, 7
SIZES = [
    (1, 1, 1),
    (3, 5, 7),
    (64, 16, 16),
    (2, 512, 513),
    (65, 513, 33),
    (70, 1030, 150),
    (1, 4095, 40),
    (130, 17, 257),
]


class Kernels:
    """The functions, and memory of one context."""

    def __init__(self) -> None:
        self.c = ctypes.CDLL(cvi_nn.library_path())
        self.c.CVI_NN_PrepareMatrixMulKernelFunc.restype = ctypes.c_void_p
        self.c.CVI_NN_GetLastError.restype = ctypes.c_char_p
        self.c.CVI_NN_Global_SetLogLevel(2)
        self.context = cvi_nn.Context()
        self.raw = ctypes.c_void_p(int(cvi_nn.rt.ffi.cast("uintptr_t", self.context.raw)))

    def prepare(self, fmt: int, m: int, k: int, n: int) -> ctypes.c_void_p:
        made = self.c.CVI_NN_PrepareMatrixMulKernelFunc(self.raw, fmt, m, k, n)
        return ctypes.c_void_p(made)

    def run(self, kernel: ctypes.c_void_p, *addresses: int) -> int:
        words = [ctypes.c_uint64(a) for a in addresses]
        return self.c.CVI_NN_RunKernelFunc(kernel, len(words), *words)

    def text(self) -> str:
        return self.c.CVI_NN_GetLastError().decode()


@pytest.fixture(scope="module")
def kernels() -> Iterator[Kernels]:
    yield Kernels()


@pytest.mark.parametrize("fmt", [INT8, UINT8])
@pytest.mark.parametrize("chip", b.CHIPS)
def test_exact_product(kernels: Kernels, monkeypatch: pytest.MonkeyPatch, chip: str, fmt: int):
    """Awkward sizes, extreme values; nothing but the result is written."""
    monkeypatch.setenv("SET_CHIP_NAME", chip)
    rng = np.random.default_rng(1)
    dtype, low = (np.int8, -128) if fmt == INT8 else (np.uint8, 0)
    for m, k, n in SIZES:
        left = rng.integers(low, low + 256, (m, k)).astype(dtype)
        right = rng.integers(low, low + 256, (k, n)).astype(dtype)
        left[0], right[:, 0] = low, low
        left[-1, :], right[:, -1] = low + 255, low + 255
        memory = [kernels.context.alloc(size) for size in (m * k, k * n, m * n * 4 + 8)]
        memory[0].view(dtype)[:], memory[1].view(dtype)[:] = left.ravel(), right.ravel()
        memory[2].view()[:] = 0xEE
        for part in memory:
            part.flush()
        kernel = kernels.prepare(fmt, m, k, n)
        assert kernel.value, kernels.text()
        for _ in range(2):
            assert kernels.run(kernel, *(part.paddr for part in memory)) == 0, kernels.text()
        memory[2].invalidate()
        got = memory[2].view()[: m * n * 4].view(np.int32).reshape(m, n)
        assert np.array_equal(got, left.astype(np.int64) @ right.astype(np.int64))
        assert (memory[2].view()[-8:] == 0xEE).all()
        assert kernels.c.CVI_NN_DestroyKernelFunc(kernel) == 0


def test_arguments(kernels: Kernels, monkeypatch: pytest.MonkeyPatch):
    for args in ((0, 2, 2, 2), (INT8, 0, 2, 2), (INT8, 2, 4096, 2), (INT8, 2, 2, 2**32 - 1)):
        assert not kernels.prepare(*args).value
        assert "PrepareMatrixMul" in kernels.text() or "matrix product" in kernels.text()
    monkeypatch.setenv("SET_CHIP_NAME", "cv180x")
    assert not kernels.prepare(INT8, 4095, 4095, 4095).value
    assert "too large for one cv180x job" in kernels.text()
    made = kernels.c.CVI_NN_PrepareMatrixMulKernelFunc(None, INT8, 2, 2, 2)
    assert made is None and "context" in kernels.text()
    kernel, memory = kernels.prepare(INT8, 8, 8, 8), kernels.context.alloc(64)
    assert kernels.run(kernel, memory.paddr, memory.paddr) == INVALID_ARG
    assert "takes 3" in kernels.text()
    assert kernels.run(kernel, memory.paddr, memory.paddr, memory.paddr) != 0  # Y has 256 bytes
    assert kernels.run(kernel, memory.paddr, memory.paddr, 1) != 0
    assert kernels.c.CVI_NN_DestroyKernelFunc(kernel) == 0
    assert kernels.c.CVI_NN_DestroyKernelFunc(kernel) == INVALID_ARG
    assert kernels.run(kernel, 0, 0, 0) == INVALID_ARG
    assert kernels.c.CVI_NN_DestroyKernelFunc(None) == INVALID_ARG


@pytest.mark.parity
@pytest.mark.parametrize("chip", b.CHIPS)
def test_the_vendor_runs_our_commands(
    oracle: ModuleType, c_program: Callable[..., Path], tmp_path: Path, chip: str
):
    """As the only routine of a model: L in private memory, R and Y in io buffers."""
    rng, out = np.random.default_rng(2), tmp_path / "stream"
    for (m, k, n), signed in zip(SIZES, (1, 0, 1, 0, 1, 1, 0, 1), strict=True):
        words = [chip, "matmul", f"{m},{k},{n},{signed}", out]
        subprocess.run([c_program("convert"), *words], check=True, timeout=60)
        kind, low = ("int8", -128) if signed else ("uint8", 0)
        left, right = (rng.integers(low, low + 256, s).astype(kind) for s in ((m, k), (k, n)))
        tensors = [
            b.Tensor("left", [1, 1, m, k], kind, b.io(2)),
            b.Tensor("right", [1, 1, k, n], kind, b.io(3)),
            b.Tensor("y", [1, 1, m, n], "int32", b.io(4)),
        ]
        routine = b.Routine(["left", "right"], ["y"], section="s")
        program = b.Program(["left", "right"], ["y"], tensors, [routine], private=m * k)
        model = b.Model([program], [b.Section(1, "s", out.read_bytes())], chip=chip).write()
        got = oracle.vendor_run(model, {"left": left, "right": right})["y"]
        assert np.array_equal(got.reshape(m, n), left.astype(np.int64) @ right.astype(np.int64))
