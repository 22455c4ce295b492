"""Programs for boards, built here and run under qemu-user (issue 4 point 6).

A program gets a shell script in front of it that calls the emulator, so that a test runs it as it
runs a program of this machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import missing
from tpuforge.evb.sdk import TOOLCHAINS, build_sdk, find_program, find_zig

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Target:
    """sysroot: where the dynamic loader and the C library are, "" for static programs."""

    name: str
    machine: str  # as evb/elf.py calls it
    emulator: str
    gcc: str
    sysroot: str = ""
    package: str = ""

    def words(self) -> list[str]:
        """What stands before a program; skips without the emulator."""
        program = shutil.which(f"qemu-{self.emulator}-static") or shutil.which(
            f"qemu-{self.emulator}"
        )
        if not program or (self.sysroot and not Path(self.sysroot).exists()):
            missing(f"needs the Debian packages qemu-user-static {self.package}")
        return [program, *(["-L", self.sysroot] if self.sysroot else [])]


TARGETS = {
    t.name: t
    for t in (
        Target("aarch64", "aarch64", "aarch64", "aarch64-linux-gnu-gcc",
               "/usr/aarch64-linux-gnu", "libc6-arm64-cross"),
        Target("armhf", "arm", "arm", "arm-linux-gnueabihf-gcc",
               "/usr/arm-linux-gnueabihf", "libc6-armhf-cross"),
        Target("riscv64-musl", "riscv64", "riscv64", "riscv64-linux-gnu-gcc"),
    )
}  # fmt: skip
COMPILERS = ("zig", "gcc")


def tool(name: str) -> str:
    return find_program(name) or missing(f"needs {name} (pip install {name})")


def needs_compiler(target: Target, compiler: str) -> None:
    if compiler == "zig" and not find_zig():
        missing("needs zig (pip install ziglang)")
    if compiler == "gcc" and not shutil.which(target.gcc):
        missing(f"needs the Debian package gcc-{target.gcc.removesuffix('-gcc')}")


def cmake_words(target: Target, compiler: str) -> list[str]:
    """Options of cmake for a target."""
    needs_compiler(target, compiler)
    words = [
        f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/{TOOLCHAINS[target.name]}",
        f"-DTPU_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release",
    ]  # fmt: skip
    if compiler == "zig":
        words.append(f"-DZIG={find_zig()}")
    if ninja := find_program("ninja"):
        words += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    return words


def execute(
    *command: object, timeout: float = 900, env: Mapping[str, str] | None = None, cwd: object = None
) -> str:
    """Run it; its standard output. The test fails with the end of the output if it fails."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=timeout,
        env=None if env is None else {**os.environ, **env}, cwd=cwd, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def emulated(target: Target, program: Path, folder: Path, options: Sequence[object] = ()) -> Path:
    """A script in `folder` that runs the program in the emulator; options: of the emulator."""
    script = folder / f"emulated-{program.name}"
    words = " ".join(f"'{word}'" for word in [*target.words(), *options, program])
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    return script


def sdk_builder(folder: Path) -> Callable[..., Path]:
    """`sdk(target, compiler="zig", simulator=True)`: the SDK folder, built on first use below
    `folder`."""

    def build(name: str, compiler: str = "zig", simulator: bool = True) -> Path:
        place = folder / f"{name}-{compiler}{'' if simulator else '-board'}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{place.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # other processes may want the same one
            if not place.exists():
                if name in TARGETS:
                    needs_compiler(TARGETS[name], compiler)
                tool("cmake")
                build_sdk(name, place, source=ROOT, compiler=compiler, simulator=simulator)
        return place

    return build


def pairs() -> list[object]:
    """Every target with every compiler, for pytest.mark.parametrize."""
    return [pytest.param(t, c, id=f"{t}-{c}") for t in TARGETS for c in COMPILERS]
