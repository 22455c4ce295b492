"""The SDK folder of a board: layout, sizes, the glibc it needs, command lines of users on it
(cli.md sections 1.2 and 2.1, issue 4 point 6, issue 5 point 1)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import missing
from cross import (
    ROOT,
    TARGETS,
    emulated,
    execute,
    needs_compiler,
    pairs,
    tool,
)  # fmt: skip
from tpuforge.evb.elf import read_archive, read_elf
from tpuforge.evb.sdk import TOOLCHAINS, find_program, find_zig, pack

pytestmark = pytest.mark.model
GLIBC = (2, 17)
#: stripped bytes of the board library without and with the simulator
LIMITS = {False: 150_000, True: 500_000}
FLAGS = "-DCMAKE_BUILD_TYPE=RELEASE -DCMAKE_C_FLAGS_RELEASE=-O3 -DCMAKE_CXX_FLAGS_RELEASE=-O3"
LINES = (
    "mkdir build_soc\ncd build_soc\n"
    "cmake -G Ninja " + FLAGS + " -DCMAKE_TOOLCHAIN_FILE=$TPU_SDK_PATH/cmake/{file} "
    "-DTPU_SDK_PATH=$TPU_SDK_PATH -DOPENCV_PATH=$TPU_SDK_PATH/opencv "
    "-DCMAKE_INSTALL_PREFIX=../install_samples ..\n"
    "cmake --build . --target install\n"
)


@pytest.mark.parametrize("name", TARGETS)
def test_layout(sdk: Callable[..., Path], tmp_path: Path, name: str) -> None:
    folder = sdk(name)
    library = "lib/libcviruntime.so" if TARGETS[name].sysroot else "lib/libcviruntime.a"
    for place in (
        library, "include/cviruntime.h", "include/cviruntime_context.h", "bin/model_runner",
        "bin/cvi_sample_model_info", *(f"cmake/{file}" for file in TOOLCHAINS.values() if file),
        "opencv", "samples/bin/cvi_sample_classifier", "samples/data/cat.jpg",
        "samples/data/synset_words.txt", "samples/data/README", "samples/run_classifier.sh",
        "samples/run_classifier_multi_batch.sh", "samples/run_classifier_fused_preprocess.sh",
        "samples/src/CMakeLists.txt", "third_party/stb_image.h", "envs_tpu_sdk.sh",
    ):  # fmt: skip
        assert (folder / place).exists(), place
    pack(folder, tmp_path / "sdk.tar.gz")
    with tarfile.open(tmp_path / "sdk.tar.gz") as tar:
        names = set(tar.getnames())
        assert f"{folder.name}/envs_tpu_sdk.sh" in names and len(names) > 60
        mode = tar.getmember(f"{folder.name}/samples/bin/cvi_sample_classifier").mode
        assert mode & 0o111 == 0o111


def library_size(path: Path) -> int:
    """Bytes in the file system of a board: of the stripped file, or what a static library adds."""
    if path.suffix == ".a":
        return sum(part.loaded for part in read_archive(path))
    assert not read_elf(path).symbols
    return path.stat().st_size


@pytest.mark.parametrize("name", TARGETS)
def test_size_and_glibc(sdk: Callable[..., Path], name: str) -> None:
    """The library with and without simulator; every program with zig's libraries."""
    target, folder, small = TARGETS[name], sdk(name), sdk(name, simulator=False)
    for simulator, place in ((False, small), (True, folder)):
        library = next((place / "lib").iterdir())
        size = library_size(library)
        print(f"{name} {library.name} simulator {simulator}: {size} of {LIMITS[simulator]} bytes")
        assert size < LIMITS[simulator]
    binaries = [p for part in ("bin", "samples/bin") for p in (folder / part).iterdir()]
    if target.sysroot:
        binaries += [*(folder / "lib").iterdir(), *(small / "lib").iterdir()]
    for path in binaries:
        elf = read_elf(path)
        assert elf.machine == target.machine and not elf.symbols, path
        assert elf.glibc() <= GLIBC and bool(elf.glibc()) == bool(target.sysroot), (path, elf)


@pytest.mark.parametrize("name", [t for t in TARGETS if TARGETS[t].sysroot])
def test_reading_of_versions(sdk: Callable[..., Path], name: str) -> None:
    """A second voice: readelf names the same versions."""
    if not shutil.which("readelf"):
        missing("needs readelf (apt install binutils)")
    for compiler in ("zig", "gcc"):
        path = sdk(name, compiler) / "lib/libcviruntime.so"
        text = execute("readelf", "-V", "-W", path)
        names = {
            line.split("Name: ")[1].split()[0] for line in text.splitlines() if "Name: " in line
        }
        assert read_elf(path).versions == names and names


def users_path(compiler: str) -> str:
    """PATH of a shell where cmake, ninja and this Python are found."""
    if not find_program("ninja"):
        missing("needs ninja (pip install ninja)")
    places = [Path(tool("cmake")).parent, Path(str(find_program("ninja"))).parent]
    if compiler == "zig":
        places.append(Path(str(find_zig())).parent)
    return os.pathsep.join([*map(str, places), os.environ["PATH"]])


@pytest.mark.parametrize(("name", "compiler"), pairs())
def test_lines_of_users(
    sdk: Callable[..., Path], vendor_dir: Path, tmp_path: Path, name: str, compiler: str
) -> None:
    """The CMake lines of the vendor's quick start, as they are, on our SDK; the result runs."""
    folder, target = sdk(name, compiler), TARGETS[name]
    needs_compiler(target, compiler)
    shutil.copytree(folder / "samples/src", tmp_path / "samples")
    env = {"TPU_SDK_PATH": str(folder), "PATH": users_path(compiler), "TPU_COMPILER": compiler}
    script = "set -e\n" + LINES.format(file=TOOLCHAINS[name])
    execute("sh", "-c", script, env=env, cwd=tmp_path / "samples")
    installed = tmp_path / "samples/install_samples"
    for place in ("data/cat.jpg", "data/synset_words.txt", "run_classifier.sh"):
        assert (installed / place).exists()
    program = installed / "bin/cvi_sample_classifier"
    assert read_elf(program).machine == target.machine
    words = ["-E", f"LD_LIBRARY_PATH={folder}/lib"] if target.sysroot else []
    out = execute(
        emulated(target, program, tmp_path, words), vendor_dir / "tiny_mobilenet_cv181x.cvimodel",
        installed / "data/cat.jpg", installed / "data/synset_words.txt",
    )  # fmt: skip
    assert "TOP_K[5]:\n" in out and out.endswith("CVI_NN_CleanupModel succeeded\n")


def test_static_library_of_another_libc(sdk: Callable[..., Path], tmp_path: Path) -> None:
    """musl objects are not linked with glibc: an error that says what to do."""
    folder = sdk("riscv64-musl", "zig")
    needs_compiler(TARGETS["riscv64-musl"], "gcc")
    file = folder / "cmake" / TOOLCHAINS["riscv64-musl"]
    done = subprocess.run(
        [tool("cmake"), "-S", folder / "samples/src", "-B", tmp_path, f"-DTPU_SDK_PATH={folder}",
         f"-DCMAKE_TOOLCHAIN_FILE={file}", "-DTPU_COMPILER=gcc"],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode and "-DTPU_COMPILER=zig" in done.stderr


def test_gcc_of_the_boards_vendor(tmp_path: Path, vendor_dir: Path) -> None:
    """A musl gcc named as the one of the RISC-V boards is taken before Debian's: here a script of
    that name that calls zig."""
    target = TARGETS["riscv64-musl"]
    needs_compiler(target, "zig")
    gcc = tmp_path / "tools/riscv64-unknown-linux-musl-gcc"
    gcc.parent.mkdir()
    flags = "-target riscv64-linux-musl -mcpu=generic_rv64+m+a+f+d+c -fno-sanitize=undefined -g0"
    gcc.write_text(
        '#!/bin/sh\nfor word do shift; case $word in -march=*) ;; *) set -- "$@" "$word";; '
        f"esac; done\nexec '{find_zig()}' cc {flags} \"$@\"\n"
    )
    gcc.chmod(0o755)
    words = ["--target", "riscv64-musl", "--compiler", "gcc", "--output", tmp_path / "sdk"]
    env = {"PATH": f"{gcc.parent}:{os.environ['PATH']}"}
    execute(sys.executable, "-m", "tpuforge", "build-runtime", *words, env=env)
    assert "musl" in (tmp_path / "sdk/cmake/libc.cmake").read_text()
    info = emulated(target, tmp_path / "sdk/bin/cvi_sample_model_info", tmp_path)
    assert "fmt" in execute(info, vendor_dir / "tiny_mobilenet_cv180x.cvimodel")


def test_installed_wheel(tmp_path: Path) -> None:
    """A user without a checkout: the wheel, its evb extra in a fresh environment, build-runtime."""
    source, env = tmp_path / "checkout", tmp_path / "env"
    skip = shutil.ignore_patterns("build", ".venv*", ".git", "*.so", "__pycache__", "tests")
    shutil.copytree(ROOT, source, ignore=skip)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "-w", tmp_path, source],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if "Could not find a version" in done.stderr or "No module named pip" in done.stderr:
        missing("needs pip and a package index")
    assert done.returncode == 0, done.stderr[-3000:]
    shutil.rmtree(source)
    wheel = next(tmp_path.glob("*.whl"))
    print(f"{wheel.name}: {wheel.stat().st_size} bytes")
    assert wheel.stat().st_size < 1_500_000
    with zipfile.ZipFile(wheel) as archive:
        names = [n.removeprefix("tpuforge/source/") for n in archive.namelist()]
    for part in ("device/runtime", "samples", "cmake"):
        files = {p.relative_to(ROOT).as_posix() for p in (ROOT / part).rglob("*") if p.is_file()}
        assert files <= set(names), files - set(names)
    execute(sys.executable, "-m", "venv", env)
    execute(env / "bin/pip", "install", "-q", f"{wheel}[evb]")
    words = ["--target", "riscv64-musl", "--output", tmp_path / "sdk", "--tarball"]
    path = {"PATH": f"{env}/bin:/usr/bin:/bin", "PYTHONPATH": ""}
    out = execute(env / "bin/tpuforge", "build-runtime", *words, env=path, cwd=tmp_path)
    assert "lib/libcviruntime.a" in out and (tmp_path / "sdk.tar.gz").exists()
    out = execute(env / "bin/tpuforge", "deploy", "--help", env=path, cwd=tmp_path)
    assert "--sample" in out
