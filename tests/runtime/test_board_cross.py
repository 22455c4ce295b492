"""The board libraries of aarch64 and armhf under qemu-user with the fake driver preloaded: an
unmodified program (samples/tools/model_runner.c) on libcviruntime.so (issue 4 point 5)."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[2]
# toolchain file, emulators, where the C library of the target is, and its Debian package
TARGETS = {
    "aarch64": ("aarch64-linux", "qemu-aarch64", "/usr/aarch64-linux-gnu", "libc6-arm64-cross"),
    "armhf": ("linux-gnueabihf", "qemu-arm", "/usr/arm-linux-gnueabihf", "libc6-armhf-cross"),
}


def zig() -> str | None:
    spec = importlib.util.find_spec("ziglang")
    program = Path(spec.origin).with_name("zig") if spec and spec.origin else None
    return str(program) if program and program.exists() else shutil.which("zig")


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest, tmp_path_factory) -> tuple[Path, list[str]]:
    """Build folder; the words in front of a program."""
    toolchain, emulator, sysroot, package = TARGETS[request.param]
    qemu = shutil.which(emulator) or shutil.which(f"{emulator}-static")
    if not qemu or not Path(sysroot).exists():
        pytest.skip(f"needs the Debian packages qemu-user-static and {package}")
    if not zig() or not shutil.which("cmake"):
        pytest.skip("needs cmake and zig (pip install ziglang)")
    folder = tmp_path_factory.mktemp(request.param)
    file = f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/toolchain-{toolchain}.cmake"
    environment = {**os.environ, "ZIG": zig() or "", "TPU_COMPILER": "zig"}
    source = Path(__file__).with_name("c")
    for command in (
        ["cmake", "-S", source, "-B", folder, file, "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", folder, "-j", "2", "--target", "runner", "fake_tpu"],
    ):
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=900
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, [qemu, "-L", sysroot]


@pytest.mark.parametrize("chip", ["cv183x", "cv182x", "cv181x", "cv180x"])
def test_model_runner(target: tuple, vendor_dir: Path, tmp_path: Path, chip: str):
    """The bytes of the vendor's emulator with every cache rule enforced."""
    folder, emulator = target
    x = np.load(vendor_dir / "tiny_resnet_in.npz")["input"]
    np.savez(tmp_path / "in.npz", input=x)
    driver = {
        "LD_PRELOAD": folder / "libfake_tpu.so",
        "FAKE_TPU": f"chip={chip};evict;size=33554432",
        "FAKE_TPU_REPORT": tmp_path / "report",
    }
    words = [word for name, value in driver.items() for word in ("-E", f"{name}={value}")]
    model = vendor_dir / f"tiny_resnet_{chip}.cvimodel"
    files = ["-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz"]
    done = subprocess.run(
        [*emulator, *words, folder / "runner", "-m", model, *files, "-c", "3"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = np.load(vendor_dir / f"tiny_resnet_{chip}_out.npz")["output_Gemm_f32"]
    out = np.load(tmp_path / "out.npz")["output_Gemm_f32"]
    assert out.tobytes() == expected.tobytes()
    report = (tmp_path / "report").read_text()
    assert "jobs 3 segments 3 violations 0 buffers 0" in report


def test_board_without_driver(target: tuple, vendor_dir: Path):
    """A clear error, exit code 1."""
    folder, emulator = target
    model = vendor_dir / "tiny_resnet_cv181x.cvimodel"
    done = subprocess.run(
        [*emulator, "-E", "CVI_NN_BACKEND=board", folder / "runner", "-m", model],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1
    assert "TPU driver not loaded: /dev/cvi-tpu0" in done.stderr
