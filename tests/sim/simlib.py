"""The simulator as a Python object: compiles device/runtime/src/sim with the C compiler once per
test run and binds sim.h through ctypes.
"""

from __future__ import annotations

import ctypes as ct
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).resolve().parents[2] / "device" / "runtime" / "src" / "sim"
CODES = ["OK", "NOMEM", "BAD_STREAM", "RANGE", "UNSUPPORTED", "DEADLOCK"]
FLAGS = "-O3 -std=c11 -Wall -Wextra -Werror -fPIC -shared -pthread -ffp-contract=off"


class SimError(Exception):
    """An error code of the simulator with its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{CODES[code]}: {text}")
        self.code = CODES[code]
        self.text = text


class Region(ct.Structure):
    _fields_ = [("data", ct.c_void_p), ("size", ct.c_uint64), ("writable", ct.c_int)]


def compiler() -> str | None:
    """The C compiler of this machine, or None."""
    found = map(shutil.which, ("gcc", "cc", "clang"))
    return os.environ.get("CC") or next(filter(None, found), None)


def build(extra: str = "") -> Path:
    """Path of a shared library of the simulator; recompiled when a source changed."""
    sources = sorted(SOURCE.glob("*.c"))
    digest = hashlib.sha256((FLAGS + extra).encode())
    for path in sorted(SOURCE.glob("*.[ch]")):
        digest.update(path.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"tpuforge-sim-{os.getuid()}"
    out = folder / f"{digest.hexdigest()[:16]}.so"
    if not out.exists():
        out.parent.mkdir(exist_ok=True)
        part = out.with_suffix(f".{os.getpid()}")
        command = [compiler() or "cc", *FLAGS.split(), *extra.split(), "-o", str(part)]
        subprocess.run([*command, *map(str, sources)], check=True)
        os.replace(part, out)
    return out


_lib: ct.CDLL | None = None


def library() -> ct.CDLL:
    global _lib
    if _lib is None:
        _lib = ct.CDLL(str(build(os.environ.get("TPUFORGE_SIM_FLAGS", ""))))
        _lib.tpu_sim_lmem.restype = ct.POINTER(ct.c_uint8)
        _lib.tpu_sim_kernel_name.restype = ct.c_char_p
    return _lib


def kernel_name() -> str:
    """The kernel set this process uses."""
    return library().tpu_sim_kernel_name().decode()


class Program:
    """A decoded command stream."""

    def __init__(self, chip: str, stream: bytes) -> None:
        self.lib = library()
        self.handle = ct.c_void_p()
        err = ct.create_string_buffer(512)
        code = self.lib.tpu_program_create(
            chip.encode(), stream, ct.c_size_t(len(stream)), ct.byref(self.handle), err,
            ct.c_size_t(512)
        )  # fmt: skip
        if code:
            raise SimError(code, err.value.decode())

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.lib.tpu_program_destroy(self.handle)


class Sim:
    """One simulated TPU."""

    def __init__(self, chip: str) -> None:
        self.chip = chip
        self.lib = library()
        self.handle = ct.c_void_p()
        code = self.lib.tpu_sim_create(chip.encode(), ct.byref(self.handle))
        if code:
            raise SimError(code, "create")

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.lib.tpu_sim_destroy(self.handle)

    @property
    def lmem(self) -> np.ndarray:
        """Local memory, (lanes, 32768) bytes, writable view."""
        size = ct.c_size_t()
        pointer = self.lib.tpu_sim_lmem(self.handle, ct.byref(size))
        return np.ctypeslib.as_array(pointer, (size.value // 32768, 32768))

    def run(self, stream: bytes | Program, regions: dict[int, np.ndarray] | None = None) -> None:
        """Execute a stream on regions {base selector: byte array}."""
        program = stream if isinstance(stream, Program) else Program(self.chip, stream)
        table = (Region * 8)()
        for k, a in (regions or {}).items():
            table[k] = Region(a.ctypes.data, a.nbytes, int(a.flags.writeable))
        err = ct.create_string_buffer(512)
        code = self.lib.tpu_sim_run(self.handle, program.handle, table, err, ct.c_size_t(512))
        if code:
            raise SimError(code, err.value.decode())
