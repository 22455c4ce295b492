"""Small models for the tests: the worked example of formats/cvimodel.md section 15, and one that
uses every field."""

from __future__ import annotations

import struct

from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.format.cvimodel import (
    PRIVATE,
    SHARED,
    WEIGHT,
    DType,
    Floats,
    Ints,
    Model,
    Program,
    Routine,
    Section,
    Tensor,
    Weight,
    address,
)


def copy_stream(chip: str, size: int = 64, base: int = 3, offset: int = 0) -> bytes:
    """One TDMA command that copies `size` int8 from `offset` in a region to base 4 (words listed in
    section 15)."""
    high = 0x01010001 if chip == "cv183x" else 0x00000001
    one = 0x00010001
    words = [0x00010481, 0x28, 0, 0x00400000 | base << 16, one, 1, one, size]
    words += [one, one, one, 0, offset, high, 0, 0]
    return bytes((CHIPS[chip].magic, 64, 2, 0, 0, 0, 0, 0)) + struct.pack("<16I", *words)


def tiny(chip: str = "cv181x") -> Model:
    """64 int8 values from "in" to "out"."""
    tensors = [
        Tensor(name, address(base), DType.INT8, (1, 1, 1, 64))
        for name, base in (("in", 3), ("out", 4))
    ]
    return Model(
        name="tiny",
        chip=chip,
        build_time="2024-01-01 00:00:00",
        mlir_version="hand",
        programs=[
            Program(["in"], ["out"], tensors, [Routine("tpu", ["in"], ["out"], section="run")])
        ],
        sections=[Section("weight", "weight"), Section("cmdbuf", "run", copy_stream(chip))],
    )


def full() -> Model:
    """Two programs, a CPU routine with every kind of argument, image fields, holes, every
    region."""
    image = Tensor(
        "in_raw", address(3), DType.UINT8, (1, 4, 6, 3), scale=(1.0, 1.0, 1.0),
        mean=(0.0, 0.5, 2.0), pixel_format="RGB_PACKED", aligned=True, size=256,
    )  # fmt: skip
    tensors = [
        image,
        Tensor("a", address(PRIVATE, 32), DType.INT8, (1, 3, 4, 6), qscale=0.25, zero_point=3.0),
        Tensor("b", address(SHARED, 16), DType.BF16, (1, 3, 4, 6), qscale=0.0, overwrote=True),
        Tensor("out", -1, DType.FP32, (1, 1, 1, 10), quant_type=2),
    ]
    args = {
        "flag": True, "no": False, "int": -7, "zero": 0, "scale": 127.0, "to": "INT8", "empty": "",
        "means": Floats((1.5, -2.0)), "none": Floats(), "axes": Ints((1, -2)), "nothing": Ints(),
    }  # fmt: skip
    routines = [
        Routine("tpu", ["in_raw"], ["a"], section="run"),
        Routine("cpu", ["a", "w0"], ["out"], function="quant", args=args),
    ]
    program = Program(["in_raw"], ["out"], tensors, routines, 1, 0, 4096, 128)
    old = Program(
        ["x"], ["x"], [Tensor("x", address(SHARED, 16), DType.INT16, (2, 1, 1, 8))], [], 2, 64
    )
    weights = [
        Weight("w0", address(WEIGHT, 0), 12, (3, 4, 1, 1), DType.INT8),
        Weight("w1", address(WEIGHT, 16), 8, (2, 1, 1, 1), DType.INT32),
    ]
    sections = [
        Section("weight", "weight", bytes(range(24))),
        Section("cmdbuf", "run", copy_stream("cv181x") * 3),
        Section("x86_64", "custom", b"\x7fELF", encrypt=True),
        Section("type9", "later", b"???"),
    ]
    return Model(
        "full", "cv181x", [program, old], sections, weights, build_time="2024-02-03 04:05:06"
    )
