"""Hand-made cvimodels for the tests, written with the generic FlatBuffers builder only
(formats/cvimodel.md sections 1, 2, 4, 9, 11; independent of tpuforge.compiler.format).

A table is a list of (field id, kind, value); a field whose value is None is left out, so that every
kind of damage can be built.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np

CHIPS = ("cv183x", "cv182x", "cv181x", "cv180x")
MAGIC = dict(zip(CHIPS, (0xA5, 0xA6, 0xA7, 0xA8), strict=True))
DTYPES = ("fp32", "int32", "uint32", "bf16", "int16", "uint16", "int8", "uint8")
NUMPY = dict(zip(DTYPES, ("<f4", "<i4", "<u4", "<u2", "<i2", "<u2", "i1", "u1"), strict=True))
SCALARS = {
    "u8": "Uint8",
    "b": "Bool",
    "i32": "Int32",
    "u32": "Uint32",
    "i64": "Int64",
    "f32": "Float32",
}

Table = list[tuple[int, str, Any]]


def _vector(b: flatbuffers.Builder, values: Sequence, size: int, put: str) -> int:
    b.StartVector(size, len(values), size)
    for value in reversed(values):
        getattr(b, put)(value)
    return b.EndVector()


def _write_value(b: flatbuffers.Builder, kind: str, value: Any) -> int:
    """Everything that is stored outside the table; its offset."""
    if kind == "str":
        return b.CreateString(value)
    if kind == "table":
        return _write_table(b, value)
    if kind == "[table]":
        offsets = [_write_table(b, t) for t in value]
        return _vector(b, offsets, 4, "PrependUOffsetTRelative")
    if kind == "[str]":
        offsets = [b.CreateString(t) for t in value]
        return _vector(b, offsets, 4, "PrependUOffsetTRelative")
    if kind == "[u8]":
        return b.CreateByteVector(bytes(value))
    size, put = {
        "[i64]": (8, "PrependInt64"),
        "[i32]": (4, "PrependInt32"),
        "[f32]": (4, "PrependFloat32"),
    }[kind]
    return _vector(b, list(value), size, put)


def _write_table(b: flatbuffers.Builder, table: Table) -> int:
    present = [(i, kind, value) for i, kind, value in table if value is not None]
    offsets = {
        i: _write_value(b, kind, value)
        for i, kind, value in present
        if kind not in SCALARS and kind != "version"
    }
    b.StartObject(max((i for i, _, _ in table), default=-1) + 1)
    for i, kind, value in present:
        if kind == "version":
            b.Prep(1, 3)
            for part in reversed(value):
                b.PrependUint8(part)
            b.PrependStructSlot(i, b.Offset(), 0)
        elif kind in SCALARS:
            getattr(b, f"Prepend{SCALARS[kind]}Slot")(i, value, None)
        else:
            b.PrependUOffsetTRelativeSlot(i, offsets[i], 0)
    return b.EndObject()


def flatbuffer(table: Table) -> bytes:
    """A complete FlatBuffer with this root table."""
    b = flatbuffers.Builder(1024)
    b.Finish(_write_table(b, table))
    return bytes(b.Output())


def cpu_args(**arguments: Any) -> bytes:
    """function_args: keys with Python values (bool, int, float, str, list of int or float)."""

    def attribute(key: str, value: Any) -> Table:
        if isinstance(value, bool):
            slot, kind = 1, "b"
        elif isinstance(value, int):
            slot, kind = 2, "i32"
        elif isinstance(value, float):
            slot, kind = 0, "f32"
        elif isinstance(value, str):
            slot, kind = 3, "str"
        elif value and isinstance(value[0], float):
            slot, kind = 4, "[f32]"
        else:
            slot, kind = 5, "[i32]"
        return [(slot, "table", [(0, "str", key), (1, kind, value)])]

    ordered = sorted(arguments.items())
    return flatbuffer([(0, "[table]", [attribute(key, value) for key, value in ordered])])


def io(base: int, low: int = 0) -> int:
    """Address code."""
    return base << 40 | low


@dataclass
class Tensor:
    name: str | None
    shape: Sequence[int] | None
    dtype: int | str = "int8"
    offset: int = -1
    qscale: float | None = 1.0
    zero_point: float | None = None
    overwrote: bool | None = None
    scale: Sequence[float] | None = None
    mean: Sequence[float] | None = None
    pixel_format: str | None = None
    aligned: bool | None = None
    size: int | None = None

    def table(self) -> Table:
        quant = None
        if self.qscale is not None:
            quant = [(3, "f32", self.zero_point), (4, "f32", self.qscale)]
        dtype = DTYPES.index(self.dtype) if isinstance(self.dtype, str) else self.dtype
        shape = None if self.shape is None else [(0, "[i64]", list(self.shape))]
        return [
            (1, "str", self.name),
            (2, "i64", self.offset),
            (3, "u8", dtype),
            (4, "table", shape),
            (6, "table", quant),
            (7, "b", self.overwrote),
            (8, "[f32]", self.scale),
            (9, "[f32]", self.mean),
            (10, "str", self.pixel_format),
            (11, "b", self.aligned),
            (12, "u32", self.size),
        ]


@dataclass
class Weight:
    name: str
    low: int
    size: int
    shape: Sequence[int]
    dtype: str = "int8"
    base: int = 1

    def table(self) -> Table:
        return [
            (0, "str", self.name),
            (1, "i64", io(self.base, self.low)),
            (2, "u32", self.size),
            (3, "table", [(0, "[i64]", list(self.shape))]),
            (4, "u8", DTYPES.index(self.dtype)),
        ]


@dataclass
class Routine:
    """A TPU routine (section or dmabuf) or a CPU routine (function)."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    section: str | None = None
    dmabuf: str | None = None
    function: str | None = None
    args: bytes | None = None
    kind: int | None = None

    def table(self) -> Table:
        tpu = cpu = None
        if self.function is None:
            tpu = [(0, "str", self.section), (1, "str", self.dmabuf)]
        else:
            cpu = [(0, "str", self.function), (1, "[u8]", self.args)]
        kind = self.kind if self.kind is not None else int(cpu is not None)
        return [
            (0, "u8", kind),
            (1, "[str]", list(self.inputs)),
            (2, "[str]", list(self.outputs)),
            (3, "table", tpu),
            (4, "table", cpu),
        ]


@dataclass
class Program:
    inputs: Sequence[str] | None
    outputs: Sequence[str] | None
    tensors: Sequence[Tensor] | None
    routines: Sequence[Routine] | None = ()
    neuron_size: int | None = None
    shared: int | None = None
    private: int | None = None

    def table(self) -> Table:
        def tables(items: Sequence | None) -> list[Table] | None:
            return None if items is None else [item.table() for item in items]

        return [
            (1, "u32", self.neuron_size),
            (2, "[str]", self.inputs),
            (3, "[str]", self.outputs),
            (4, "[table]", tables(self.tensors)),
            (5, "[table]", tables(self.routines)),
            (6, "u32", self.shared),
            (7, "u32", self.private),
        ]


@dataclass
class Section:
    kind: int
    name: str | None
    data: bytes = b""
    encrypt: bool | None = None
    decompressed: int | None = None
    compress: bool | None = None
    size: int | None = None
    offset: int | None = None


@dataclass
class Model:
    programs: Sequence[Program] | None
    sections: Sequence[Section] | None = ()
    weights: Sequence[Weight] | None = ()
    chip: str = "cv181x"
    version: tuple[int, int, int] | None = (1, 4, 0)
    header_version: tuple[int, int] | None = None
    name: str | None = "test"
    build_time: str | None = "2024-01-01 00:00:00"
    target: str | None = "cv181x"
    mlir_version: str | None = "hand"
    extra: Table = field(default_factory=list)

    def write(self) -> bytes:
        """The bytes of the file."""
        tables, payload = [], b""
        for s in self.sections or ():
            compress = s.compress if s.compress is not None else s.decompressed is not None
            tables.append(
                [
                    (0, "u8", s.kind),
                    (1, "str", s.name),
                    (2, "u32", len(s.data) if s.size is None else s.size),
                    (3, "u32", len(payload) if s.offset is None else s.offset),
                    (4, "b", s.encrypt),
                    (5, "b", compress),
                    (6, "u32", s.decompressed),
                ]
            )
            payload += s.data
        programs = None if self.programs is None else [p.table() for p in self.programs]
        weights = None if self.weights is None else [w.table() for w in self.weights]
        body = flatbuffer(
            [
                (0, "version", self.version),
                (1, "str", self.name),
                (2, "str", self.build_time),
                (5, "[table]", weights),
                (6, "[table]", programs),
                (7, "[table]", None if self.sections is None else tables),
                (8, "str", self.target),
                (9, "str", self.mlir_version),
                *self.extra,
            ]
        )
        major, minor = self.header_version or (1, 4)
        md5 = hashlib.md5(body + payload).digest()
        header = b"CviModel" + struct.pack("<IBB", len(body), major, minor) + md5
        if (major, minor) == (1, 0):
            header += b"\0\0"
        else:
            header += self.chip.encode().ljust(16, b"\0") + b"Cv"
        return header + body + payload


# ---- commands ----


def copy_command(
    chip: str, src: tuple[int, int], dst: tuple[int, int], size: int, command_id: int = 1
) -> bytes:
    """A packet with a TDMA byte copy between (base register, offset) places in DDR
    (formats/cvimodel.md section 15)."""
    high = 1 if chip == "cv183x" else 0
    words = [
        0x0481 | command_id << 16,
        0x28,
        0,
        src[0] << 16 | dst[0] << 20,
        0x10001,
        1,
        0x10001,
        size,
        0x10001,
        0x10001,
        0x10001,
        dst[1],
        src[1],
        1 | high << 16 | high << 24,
        0,
        0,
    ]
    return struct.pack("<BBBBI16I", MAGIC[chip], 64, 2, 0, 0, *words)


def tiny(chip: str = "cv181x", **changes: Any) -> Model:
    """The file of formats/cvimodel.md section 15: copies 64 int8 values in -> out."""
    program = Program(
        ["in"],
        ["out"],
        [
            Tensor("out", [1, 1, 1, 64], offset=io(4), size=64),
            Tensor("in", [1, 1, 1, 64], offset=io(3), size=64),
        ],
        [Routine(["in"], ["out"], section="run")],
    )
    stream = copy_command(chip, (3, 0), (4, 0), 64)
    sections = [Section(0, "weight"), Section(1, "run", stream)]
    values: dict[str, Any] = {
        "programs": [program],
        "sections": sections,
        "chip": chip,
        "target": chip,
        "name": "tiny",
    }
    return Model(**{**values, **changes})


def two_programs() -> bytes:
    """Copies with batch 1 and batch 4."""
    programs, sections = [], [Section(0, "weight")]
    for batch in (1, 4):
        tensors = [
            Tensor("in", [batch, 1, 1, 64], offset=io(3)),
            Tensor("out", [batch, 1, 1, 64], offset=io(4)),
        ]
        name = f"run{batch}"
        routine = Routine(["in"], ["out"], section=name)
        programs.append(Program(["in"], ["out"], tensors, [routine]))
        stream = copy_command("cv181x", (3, 0), (4, 0), 64 * batch)
        sections.append(Section(1, name, stream))
    return Model(programs, sections).write()


def cpu_model(
    function: str,
    arguments: dict[str, Any],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[tuple[Sequence[int], str]],
    *,
    weights: Sequence[np.ndarray] = (),
    dtypes: Sequence[str] | None = None,
    chip: str = "cv181x",
) -> bytes:
    """A model of one CPU routine on system memory. Inputs i0, i1, ...; weights w0, ... follow them;
    outputs o0, o1, ...; `dtypes` names the types of the inputs (default: from numpy)."""
    names = {np.dtype(v): k for k, v in NUMPY.items() if k != "bf16"}
    dtypes = dtypes or [names[a.dtype] for a in inputs]
    tensors = [
        Tensor(f"i{n}", _four(a.shape), t)
        for n, (a, t) in enumerate(zip(inputs, dtypes, strict=True))
    ]
    tensors += [Tensor(f"o{n}", _four(shape), t) for n, (shape, t) in enumerate(outputs)]
    blob, entries = b"", []
    for n, w in enumerate(weights):
        entries.append(Weight(f"w{n}", len(blob), w.nbytes, _four(w.shape), names[w.dtype]))
        blob += w.tobytes() + bytes(-w.nbytes % 16)
    ins = [f"i{n}" for n in range(len(inputs))]
    outs = [f"o{n}" for n in range(len(outputs))]
    routine = Routine(
        [*ins, *(e.name for e in entries)], outs, function=function, args=cpu_args(**arguments)
    )
    return Model(
        [Program(ins, outs, tensors, [routine])], [Section(0, "weight", blob)], entries, chip=chip
    ).write()


def _four(shape: Sequence[int]) -> list[int]:
    return [*shape, 1, 1, 1, 1][:4]


def run_dtype(name: str) -> np.dtype:
    """numpy type of a format name."""
    return np.dtype(NUMPY[name])
