"""The vendor's runtime and emulator as a judge (design.md section 4): run a cvimodel, get its
output bytes.

    from parity.oracle import vendor_run            # tests/ is on the path, see tests/conftest.py
    outputs = vendor_run("net.cvimodel", {"input": array})

Starting the library is slow and its assertions abort, so a worker process per chip runs the jobs
one after the other; one that dies or hangs is replaced at the next job. Without the libraries
`vendor_library_dir` raises OracleMissing with the reason, and the `oracle` fixture skips.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

LIBRARIES = ("libcviruntime.so", "libcvicmodel.so", "libcvikernel.so")
_WORKER = Path(__file__).with_name("vendor_worker.py")
_workers: dict[str, _Worker] = {}


class OracleMissing(Exception):
    """The vendor's libraries are not here; the text says how to get them."""


class OracleError(Exception):
    """The vendor's runtime refused the model, aborted or hung; the text ends with the tail of its
    log."""


def vendor_library_dir() -> Path:
    """The folder with the three libraries: TPUFORGE_ORACLE, or ~/.cache/tpuforge (filled from the
    package index when TPUFORGE_ORACLE_DOWNLOAD=1). Raises OracleMissing."""
    named = os.environ.get("TPUFORGE_ORACLE")
    folder = Path(named) if named else Path.home() / ".cache" / "tpuforge"
    missing = [n for n in LIBRARIES if not (folder / n).is_file()]
    if missing and not named and os.environ.get("TPUFORGE_ORACLE_DOWNLOAD") == "1":
        from .fetch_oracle import fetch

        return fetch(folder)
    if missing:
        raise OracleMissing(
            f"no {missing[0]} in {folder}: set TPUFORGE_ORACLE to the folder with the vendor's "
            "libraries, or run `python tests/parity/fetch_oracle.py` (TPUFORGE_ORACLE_DOWNLOAD=1 "
            "does it during the tests)"
        )
    return folder


def vendor_run(
    model: str | os.PathLike[str] | bytes,
    inputs: dict[str, np.ndarray],
    *,
    program: int = 0,
    all_tensors: bool = False,
    timeout: float = 300.0,
) -> dict[str, np.ndarray]:
    """One forward on the vendor's runtime.

    inputs: by tensor name, in the native type (bf16 as uint16), any shape of the right size.
    Result: every output (with all_tensors every tensor that is not overwritten) by name, native
    type, 4-D. Raises OracleError, OracleMissing.
    """
    data = model if isinstance(model, bytes) else Path(model).read_bytes()
    chip = "cv183x" if data[12:14] == b"\1\0" else data[30:46].split(b"\0")[0].decode("latin-1")
    worker = _workers.get(chip)
    if worker is None:
        worker = _workers[chip] = _Worker(vendor_library_dir())
    job = {f"in:{k}": np.ascontiguousarray(v) for k, v in inputs.items()}
    job["model"] = np.frombuffer(data, np.uint8)
    job["program"], job["all_tensors"] = np.array(program), np.array(int(all_tensors))
    try:
        answer = worker.ask(job, timeout)
    except OracleError:
        _workers.pop(chip).close()
        raise
    if "error" in answer:
        raise OracleError(f"{answer['error']}\n{worker.log_tail()}")
    return {k.removeprefix("out:"): v for k, v in answer.items()}


def close_workers() -> None:
    """End the worker processes."""
    while _workers:
        _workers.popitem()[1].close()


atexit.register(close_workers)


class _Worker:
    """One child process that has loaded the vendor's library."""

    def __init__(self, library_dir: Path) -> None:
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self.process = subprocess.Popen(
            [sys.executable, str(_WORKER), str(library_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            bufsize=0,
        )

    def ask(self, job: dict[str, np.ndarray], timeout: float) -> dict[str, np.ndarray]:
        blob = io.BytesIO()
        np.savez(blob, **job)  # type: ignore[arg-type]
        assert self.process.stdin
        try:
            self.process.stdin.write(struct.pack("<I", blob.tell()))
            view = blob.getbuffer()
            while view:
                view = view[self.process.stdin.write(view) :]
        except BrokenPipeError:
            raise self.failure("ended before the job") from None
        size = struct.unpack("<I", self.read(4, timeout))[0]
        with np.load(io.BytesIO(self.read(size, timeout))) as arrays:
            return dict(arrays)

    def read(self, size: int, timeout: float) -> bytes:
        assert self.process.stdout
        descriptor = self.process.stdout.fileno()
        parts, missing = [], size
        while missing:
            if not select.select([descriptor], [], [], timeout)[0]:
                raise self.failure(f"gave no answer within {timeout:g} s")
            parts.append(os.read(descriptor, min(missing, 1 << 20)))
            if not parts[-1]:
                raise self.failure(f"died with exit code {self.process.wait()}")
            missing -= len(parts[-1])
        return b"".join(parts)

    def failure(self, what: str) -> OracleError:
        return OracleError(f"the vendor's runtime {what}\n{self.log_tail()}")

    def log_tail(self) -> str:
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 1500))
        return self.log.read().decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream:
                stream.close()
