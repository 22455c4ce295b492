"""Child process of the oracle: runs cvimodels on the vendor's runtime, one job after the other.

usage: vendor_worker.py LIBRARY_DIR

Jobs come on stdin, answers go to what was stdout; the vendor's own chatter goes to stderr. A
message is a 4-byte little endian length and an npz. Job: `model` (uint8), `program`, `all_tensors`,
`in:<name>` per input in its native type. Answer: `out:<name>` per output in native type and 4-D
shape, or `error` (text). The vendor's assertions abort this process; the parent sees the end of the
stream. One chip per process: the simulator keeps the chip of its first model.

ctypes by hand and not our `cvi_nn`, so that the oracle depends on nothing it judges (api/cvi_nn.md
sections 2.2 and 3).
"""

from __future__ import annotations

import ctypes as c
import io
import os
import struct
import sys
from pathlib import Path

import numpy as np

OUTPUT_ALL_TENSORS, PROGRAM_INDEX = 4, 9
NUMPY = ("float32", "int32", "uint32", "uint16", "int16", "uint16", "int8", "uint8")


class Shape(c.Structure):
    _fields_ = (("dim", c.c_int32 * 6), ("dim_size", c.c_size_t))


class Tensor(c.Structure):
    _fields_ = (
        ("name", c.c_char_p),
        ("shape", Shape),
        ("fmt", c.c_int),
        ("count", c.c_size_t),
        ("mem_size", c.c_size_t),
        ("sys_mem", c.c_void_p),
        ("paddr", c.c_uint64),
        ("mem_type", c.c_int),
        ("qscale", c.c_float),
        ("zero_point", c.c_int),
        ("pixel_format", c.c_int),
        ("aligned", c.c_bool),
        ("mean", c.c_float * 3),
        ("scale", c.c_float * 3),
        ("owner", c.c_void_p),
        ("reserved", c.c_char * 32),
    )


assert c.sizeof(Tensor) == 168


def load(folder: str) -> c.CDLL:
    """The runtime with the two libraries it needs, found without LD_LIBRARY_PATH."""
    for name in ("libcvikernel.so", "libcvicmodel.so"):
        c.CDLL(str(Path(folder, name)), mode=c.RTLD_GLOBAL)
    return c.CDLL(str(Path(folder, "libcviruntime.so")), mode=c.RTLD_GLOBAL)


def check(code: int, what: str) -> None:
    if code:
        raise RuntimeError(f"{what} returned {code & 0xFFFFFFFF:#010x}")


def run(lib: c.CDLL, job: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Register, run once, clean up."""
    data = job["model"].tobytes()
    handle = c.c_void_p()
    check(
        lib.CVI_NN_RegisterModelFromBuffer(data, c.c_uint32(len(data)), c.byref(handle)),
        "RegisterModelFromBuffer",
    )
    try:
        if int(job["program"]):
            check(lib.CVI_NN_SetConfig(handle, PROGRAM_INDEX, int(job["program"])), "SetConfig")
        if int(job["all_tensors"]):
            check(lib.CVI_NN_SetConfig(handle, OUTPUT_ALL_TENSORS, 1), "SetConfig")
        return forward(lib, handle, job)
    finally:
        lib.CVI_NN_CleanupModel(handle)


def forward(lib: c.CDLL, handle: c.c_void_p, job: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    ins, outs = c.POINTER(Tensor)(), c.POINTER(Tensor)()
    nin, nout = c.c_int32(), c.c_int32()
    check(
        lib.CVI_NN_GetInputOutputTensors(
            handle, c.byref(ins), c.byref(nin), c.byref(outs), c.byref(nout)
        ),
        "GetInputOutputTensors",
    )
    for i in range(nin.value):
        fill(ins[i], job)
    check(lib.CVI_NN_Forward(handle, ins, nin, outs, nout), "Forward")
    return {f"out:{outs[i].name.decode()}": fetch(outs[i]) for i in range(nout.value)}


def fill(tensor: Tensor, job: dict[str, np.ndarray]) -> None:
    """Copy an input in; its type and size must be those of the tensor."""
    name = tensor.name.decode()
    array = job.get(f"in:{name}")
    if array is None:
        raise RuntimeError(f"no input {name!r} given")
    if array.dtype != NUMPY[tensor.fmt] or array.nbytes != tensor.mem_size:
        raise RuntimeError(
            f"input {name!r} is {array.dtype} of {array.nbytes} bytes, "
            f"the model wants {NUMPY[tensor.fmt]} of {tensor.mem_size}"
        )
    c.memmove(tensor.sys_mem, array.tobytes(), array.nbytes)


def fetch(tensor: Tensor) -> np.ndarray:
    raw = c.string_at(tensor.sys_mem, tensor.mem_size)
    array = np.frombuffer(raw, NUMPY[tensor.fmt])
    dims = tuple(tensor.shape.dim[:4])
    return array.reshape(dims) if array.size == tensor.count else array


def receive(stream: io.BufferedReader) -> dict[str, np.ndarray] | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    with np.load(io.BytesIO(stream.read(struct.unpack("<I", head)[0]))) as arrays:
        return dict(arrays)


def send(stream: io.BufferedWriter, arrays: dict[str, np.ndarray]) -> None:
    blob = io.BytesIO()
    np.savez(blob, **arrays)
    stream.write(struct.pack("<I", blob.tell()))
    stream.write(blob.getbuffer())
    stream.flush()


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lib = load(sys.argv[1])
    while job := receive(sys.stdin.buffer):
        try:
            answer = run(lib, job)
        except RuntimeError as error:
            answer = {"error": np.array(str(error))}
        send(answers, answer)


if __name__ == "__main__":
    main()
