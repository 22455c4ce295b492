"""The vendor's simulator as an oracle for single instructions: a child process runs command streams
through its CVI_RT functions (api/cvi_nn.md section 7) on one block of device memory.

As a script: vendor_rt.py LIBRARY_DIR CHIP. Messages are a 4-byte little endian length and bytes:
u32 stream length, stream, memory image in; memory image out. Assertions abort the child.
"""

from __future__ import annotations

import contextlib
import ctypes as c
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

MEMORY = 32 << 20  # bytes of device memory


class VendorAbortError(Exception):
    """The vendor's simulator refused (its assertion text) or crashed."""


class VendorTpu:
    """One child process with one chip, started when needed and again after an abort."""

    def __init__(self, folder: Path, chip: str) -> None:
        self.folder, self.chip = folder, chip
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
        self.child = subprocess.Popen(
            [sys.executable, __file__, str(self.folder), self.chip],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            env=os.environ | {"SET_CHIP_NAME": self.chip},
        )  # fmt: skip
        return self.child

    def run(self, stream: bytes, memory: bytes) -> bytes:
        """Memory after the stream, all base registers 0-based at the start of `memory`."""
        child = self.child or self.start()
        body = struct.pack("<I", len(stream)) + stream + memory
        try:
            child.stdin.write(struct.pack("<I", len(body)) + body)
            child.stdin.flush()
            head = child.stdout.read(4)
            if len(head) == 4:
                return child.stdout.read(struct.unpack("<I", head)[0])
        except BrokenPipeError:
            pass
        code = child.wait()
        self.log.seek(0)
        tail = self.log.read()[-400:].decode(errors="replace").strip().splitlines()
        self.close()
        raise VendorAbortError(f"exit {code}: {tail[-1] if tail else ''}")

    def close(self) -> None:
        if self.child:
            with contextlib.suppress(BrokenPipeError):
                self.child.stdin.close()
            self.child.stdout.close()
            self.child.wait()
            self.child = None
            self.log.close()


def serve(folder: str, chip: str) -> None:
    """The child: loop over jobs on stdin."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the vendor's chatter
    for name in ("libcvikernel.so", "libcvicmodel.so"):
        c.CDLL(str(Path(folder, name)), mode=c.RTLD_GLOBAL)
    lib = c.CDLL(str(Path(folder, "libcviruntime.so")), mode=c.RTLD_GLOBAL)
    for name in ("CVI_RT_MemAlloc", "CVI_RT_MemGetVAddr"):
        getattr(lib, name).restype = c.c_void_p
    lib.CVI_RT_MemGetPAddr.restype = c.c_uint64
    handle = c.c_void_p()
    assert lib.CVI_RT_Init(c.byref(handle)) == 0
    memory = c.c_void_p(lib.CVI_RT_MemAlloc(handle, c.c_uint64(MEMORY)))
    host = lib.CVI_RT_MemGetVAddr(memory)
    bases = (c.c_uint64 * 8)(*[lib.CVI_RT_MemGetPAddr(memory)] * 8)
    stdin = sys.stdin.buffer
    while len(head := stdin.read(4)) == 4:
        body = stdin.read(struct.unpack("<I", head)[0])
        size = struct.unpack_from("<I", body)[0]
        stream, image = body[4 : 4 + size], body[4 + size :]
        c.memmove(host, image, len(image))
        commands = c.c_void_p()
        zero = c.c_uint64(0)
        lib.CVI_RT_LoadCmdbuf(
            handle, stream, c.c_uint64(size), zero, zero, c.c_bool(False), c.byref(commands)
        )
        lib.CVI_RT_RunCmdbufEx(handle, commands, c.byref(bases))
        lib.CVI_RT_MemFree(handle, commands)
        answers.write(struct.pack("<I", len(image)) + c.string_at(host, len(image)))
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
