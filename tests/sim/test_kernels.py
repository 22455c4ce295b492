"""All kernel sets give the same bytes: every function against the portable one (kernels.c; the ARM
sets under qemu-user), and the same random instructions in one process per set. The cases prefer
sizes around the vector lengths (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sim.cases import Maker
from sim.compare import TDMA_KINDS, TIU_KINDS, exists, tdma_case, tiu_case
from sim.simlib import SOURCE, Sim, SimError, build, compiler, kernel_name
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
def other_process(chip: str, kernel: str, flags: str = "", threads: int = 1) -> list[str]:
    path = [str(Path(__file__).resolve().parents[1]), *sys.path]
    env = os.environ | {"TPU_SIM_KERNEL": kernel, "PYTHONPATH": os.pathsep.join(path)}
    env |= {"TPUFORGE_SIM_FLAGS": flags, "TPU_SIM_THREADS": str(threads)}
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


@pytest.mark.model
@pytest.mark.skipif(compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("kernel", ["scalar", "avx512vnni"])
def test_one_row_at_a_time(kernel: str) -> None:
    """The smallest work areas: the same bytes."""
    flags = "-DSCRATCH_SHARE=(1ull<<40) -DSCRATCH_LEAST=1"
    assert other_process("cv181x", kernel, flags) == other_process("cv181x", "scalar")


@pytest.mark.model
@pytest.mark.skipif(compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("chip", ["cv181x", "cv183x"])
@pytest.mark.parametrize("threads", [2, 5])
def test_parts(chip: str, threads: int) -> None:
    """Every command that can be, however small, computed in parts by threads: the same bytes."""
    parts = other_process(chip, kernel_name(), "-DSHARED_WORK=4", threads)
    assert parts == other_process(chip, kernel_name())


# ---- function by function ----

KERNELS = [Path(__file__).with_name("kernels.c"), SOURCE / "dispatch.c",
           *sorted(SOURCE.glob("kernels_*.c"))]  # fmt: skip
FLAGS = ["-O2", "-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", f"-I{SOURCE}"]
# zig's target and processor, emulator, C library and its Debian package
ARM = {
    "aarch64": ("aarch64-linux-gnu.2.17", "cortex_a53", "qemu-aarch64", "aarch64-linux-gnu",
                "libc6-arm64-cross"),
    "armhf": ("arm-linux-gnueabihf.2.17", "cortex_a7", "qemu-arm", "arm-linux-gnueabihf",
              "libc6-armhf-cross"),
}  # fmt: skip


def compile_kernels(folder: Path, *command: str) -> Path:
    done = subprocess.run([*command, *FLAGS, *map(str, KERNELS), "-o", str(folder / "kernels")],
                          capture_output=True, text=True, check=False, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "kernels"


def compare_functions(kernel: str, *program: str, rounds: int = 20) -> None:
    """kernels.c with the set `kernel`."""
    done = subprocess.run([*program, str(rounds)], env=os.environ | {"TPU_SIM_KERNEL": kernel},
                          capture_output=True, text=True, check=False, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    name, count = done.stdout.split()
    if name != kernel:
        pytest.skip(f"this processor has no {kernel}")
    assert int(count) > 200 * rounds


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> str:
    if compiler() is None:
        pytest.skip("no C compiler")
    return str(compile_kernels(tmp_path_factory.mktemp("kernels"), compiler() or "cc"))


@pytest.mark.parametrize("kernel", ["avx2", "avx512vnni"])
def test_functions(kernel: str, native: str) -> None:
    compare_functions(kernel, native)


@pytest.fixture(scope="module", params=ARM)
def arm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words that run kernels.c of a target, without the processor."""
    target, cpu, emulator, library, package = ARM[request.param]
    qemu = shutil.which(f"{emulator}-static") or shutil.which(emulator)
    if not qemu or not Path("/usr", library).exists():
        pytest.skip(f"needs the Debian packages qemu-user-static and {package}")
    if not importlib.util.find_spec("ziglang"):
        pytest.skip("needs zig (pip install ziglang)")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target, f"-mcpu={cpu}"]
    folder = tmp_path_factory.mktemp(request.param)
    return [qemu, "-L", f"/usr/{library}", str(compile_kernels(folder, *zig))]


@pytest.mark.model
@pytest.mark.parametrize("kernel, cpu", [("neon", "plain"), ("neon-dot", "max"), ("neon", "max")])
def test_arm_functions(kernel: str, cpu: str, arm: list[str]) -> None:
    wide = "aarch64" in arm[0]
    if cpu == "plain":
        cpu = "cortex-a53" if wide else "cortex-a7"
    elif not wide:
        return  # 32-bit ARM has one set
    compare_functions(kernel, arm[0], "-cpu", cpu, *arm[1:], rounds=5)


@pytest.mark.model
def test_arm_choice(arm: list[str]) -> None:
    """By what the processor says: no dot products on a Cortex-A53, whatever is asked for."""
    wide = "aarch64" in arm[0]
    for cpu, best in {"cortex-a53": "neon", "max": "neon-dot"}.items() if wide else {}.items():
        for wanted, found in (("", best), ("neon-dot", best), ("neon", "neon")):
            done = subprocess.run([arm[0], "-cpu", cpu, *arm[1:], "gemm8", "1"],
                                  env=os.environ | {"TPU_SIM_KERNEL": wanted}, capture_output=True,
                                  text=True, check=True, timeout=60)  # fmt: skip
            assert done.stdout.split()[0] == found


if __name__ == "__main__":
    print(kernel_name())
    print(digests(sys.argv[1]))
