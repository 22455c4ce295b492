"""Model -> bytes of a `.cvimodel` 1.4.0 (formats/cvimodel.md sections 1, 2, 4 and the checklist of
section 16).

The same Model gives the same bytes; only `build_time` is taken from the clock when the Model has
none.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Callable, Sequence

import flatbuffers
from flatbuffers import number_types as kinds

from ..errors import InternalError
from .cvimodel_reader import MAGIC
from .cvimodel_tables import (
    ROUTINE_KINDS,
    SECTION_KINDS,
    Argument,
    Floats,
    Ints,
    Model,
    Program,
    Routine,
    Section,
    Tensor,
    Weight,
)


def build_time_now() -> str:
    """Now as `YYYY-MM-DD HH:MM:SS`; the environment variable SOURCE_DATE_EPOCH (seconds, UTC) fixes
    it.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = time.gmtime(int(epoch)) if epoch.isdigit() else time.localtime()
    return time.strftime("%Y-%m-%d %H:%M:%S", moment)


def write(model: Model) -> bytes:
    """The file: header with the MD5 of everything behind it, body, sections without gaps in the
    model's order.
    """
    body = _body(model)
    content = b"".join([body, *(s.data for s in model.sections)])
    major, minor, _ = model.version
    header = struct.pack(
        "<8sIBB16s16s2s",
        MAGIC,
        len(body),
        major,
        minor,
        hashlib.md5(content).digest(),
        model.chip.encode(),
        b"Cv",
    )
    if (major, minor) == (1, 0):  # the old header has no chip (section 2)
        header = header[:30] + b"Cv"
    return header + content


class _Tables:
    """A FlatBuffers builder with strings and shapes stored once."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(4096)
        self.known: dict[object, int] = {}

    def string(self, text: str) -> int:
        if text not in self.known:
            self.known[text] = self.builder.CreateString(text)
        return self.known[text]

    def shape(self, dims: tuple[int, ...]) -> int:
        if dims not in self.known:
            vector = self.vector(dims, 8, self.builder.PrependInt64)
            self.known[dims] = self.table(1, [(0, kinds.UOffsetTFlags, vector)])
        return self.known[dims]

    def vector(
        self, values: Sequence[object], width: int, prepend: Callable[[object], None]
    ) -> int:
        self.builder.StartVector(width, len(values), width)
        for value in reversed(values):
            prepend(value)
        return int(self.builder.EndVector())

    def offsets(self, positions: list[int]) -> int:
        return self.vector(positions, 4, self.builder.PrependUOffsetTRelative)

    def strings(self, texts: list[str]) -> int:
        return self.offsets([self.string(t) for t in texts])

    def floats(self, values: tuple[float, ...]) -> int:
        return self.vector(values, 4, self.builder.PrependFloat32)

    def table(self, fields: int, slots: list[tuple[int, object, object]]) -> int:
        """slots: (field id, kind, value), wide ones first for a dense table; zero and None stay
        absent.
        """
        builder = self.builder
        builder.StartObject(fields)
        for ident, kind, value in slots:
            if not value:
                continue
            if kind is kinds.UOffsetTFlags:
                builder.PrependUOffsetTRelativeSlot(ident, value, 0)
            else:
                builder.PrependSlot(kind, ident, value, 0)
        return int(builder.EndObject())


def _body(model: Model) -> bytes:
    tables = _Tables()
    builder = tables.builder
    dma_sections = {s.name for s in model.sections if s.kind == "dmabuf"}
    sections, position = [], 0
    for section in model.sections:
        sections.append(_section(tables, section, position))
        position += len(section.data)
    if position >= 1 << 32:
        raise InternalError(
            f"the sections of {model.name!r} have {position} bytes, a cvimodel holds under 4 GiB"
        )
    slots = {
        7: tables.offsets(sections),
        6: tables.offsets([_program(tables, p, dma_sections) for p in model.programs]),
        5: tables.offsets([_weight(tables, w) for w in model.weights]),
        9: tables.string(model.mlir_version) if model.mlir_version is not None else 0,
        8: tables.string(model.target) if model.target is not None else 0,
        2: tables.string(model.build_time or build_time_now()),
        1: tables.string(model.name),
    }
    builder.StartObject(10)
    for ident, offset in slots.items():
        builder.PrependUOffsetTRelativeSlot(ident, offset, 0)
    builder.Prep(1, 3)
    for byte in reversed(model.version):
        builder.PrependByte(byte)
    builder.PrependStructSlot(0, builder.Offset(), 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def _section(tables: _Tables, section: Section, position: int) -> int:
    number = (
        SECTION_KINDS.index(section.kind)
        if section.kind in SECTION_KINDS
        else int(section.kind.removeprefix("type"))
    )
    return tables.table(
        7,
        [
            (1, kinds.UOffsetTFlags, tables.string(section.name)),
            (2, kinds.Uint32Flags, len(section.data)),
            (3, kinds.Uint32Flags, position),
            (6, kinds.Uint32Flags, section.decompressed_size),
            (0, kinds.Uint8Flags, number),
            (4, kinds.BoolFlags, section.encrypt),
            (5, kinds.BoolFlags, section.compress),
        ],
    )


def _weight(tables: _Tables, weight: Weight) -> int:
    return tables.table(
        5,
        [
            (1, kinds.Int64Flags, weight.offset),
            (3, kinds.UOffsetTFlags, tables.shape(weight.shape)),
            (0, kinds.UOffsetTFlags, tables.string(weight.name)),
            (2, kinds.Uint32Flags, weight.size),
            (4, kinds.Uint8Flags, int(weight.dtype)),
        ],
    )


def _program(tables: _Tables, program: Program, dma_sections: set[str]) -> int:
    routines = [_routine(tables, r, dma_sections) for r in program.routines]
    return tables.table(
        8,
        [
            (5, kinds.UOffsetTFlags, tables.offsets(routines)),
            (4, kinds.UOffsetTFlags, tables.offsets([_tensor(tables, t) for t in program.tensors])),
            (3, kinds.UOffsetTFlags, tables.strings(program.outputs)),
            (2, kinds.UOffsetTFlags, tables.strings(program.inputs)),
            (7, kinds.Uint32Flags, program.private_gmem),
            (6, kinds.Uint32Flags, program.shared_gmem),
            (1, kinds.Uint32Flags, program.neuron_size),
            (0, kinds.Uint32Flags, program.batch_num),
        ],
    )


def _tensor(tables: _Tables, tensor: Tensor) -> int:
    if len(tensor.shape) != 4:
        raise InternalError(
            f"tensor {tensor.name!r} of a cvimodel needs 4 dims, it has {list(tensor.shape)}"
        )
    quant = 0
    if tensor.qscale or tensor.zero_point or tensor.quant_type:
        quant = tables.table(
            5,
            [
                (4, kinds.Float32Flags, tensor.qscale),
                (3, kinds.Float32Flags, tensor.zero_point),
                (0, kinds.Uint8Flags, tensor.quant_type),
            ],
        )
    return tables.table(
        13,
        [
            (2, kinds.Int64Flags, tensor.offset),
            (12, kinds.Uint32Flags, tensor.size),
            (
                10,
                kinds.UOffsetTFlags,
                tables.string(tensor.pixel_format) if tensor.pixel_format else 0,
            ),
            (9, kinds.UOffsetTFlags, tables.floats(tensor.mean) if tensor.mean else 0),
            (8, kinds.UOffsetTFlags, tables.floats(tensor.scale) if tensor.scale else 0),
            (6, kinds.UOffsetTFlags, quant),
            (4, kinds.UOffsetTFlags, tables.shape(tensor.shape)),
            (1, kinds.UOffsetTFlags, tables.string(tensor.name)),
            (11, kinds.BoolFlags, tensor.aligned),
            (7, kinds.BoolFlags, tensor.overwrote),
            (3, kinds.Uint8Flags, int(tensor.dtype)),
        ],
    )


def _routine(tables: _Tables, routine: Routine, dma_sections: set[str]) -> int:
    if routine.kind == "tpu":
        ident = 3
        slot = int(routine.section in dma_sections)
        inner = tables.table(2, [(slot, kinds.UOffsetTFlags, tables.string(routine.section))])
    else:
        ident = 4
        args = tables.builder.CreateByteVector(_arguments(routine.args))
        name = tables.string(routine.function)
        inner = tables.table(2, [(1, kinds.UOffsetTFlags, args), (0, kinds.UOffsetTFlags, name)])
    return tables.table(
        5,
        [
            (ident, kinds.UOffsetTFlags, inner),
            (2, kinds.UOffsetTFlags, tables.strings(routine.outputs)),
            (1, kinds.UOffsetTFlags, tables.strings(routine.inputs)),
            (0, kinds.Uint8Flags, ROUTINE_KINDS.index(routine.kind)),
        ],
    )


def _arguments(args: dict[str, Argument]) -> bytes:
    """The nested FlatBuffer of a CPU routine, keys in alphabetical order (section 9)."""
    tables = _Tables()
    attributes = []
    for key in sorted(args):
        ident, attribute = _attribute(tables, key, args[key])
        attributes.append(tables.table(6, [(ident, kinds.UOffsetTFlags, attribute)]))
    tables.builder.Finish(tables.table(1, [(0, kinds.UOffsetTFlags, tables.offsets(attributes))]))
    return bytes(tables.builder.Output())


def _attribute(tables: _Tables, key: str, value: Argument) -> tuple[int, int]:
    """(field id in Attribute, table); the Python type decides the type, as the functions are strict
    about it.
    """
    builder = tables.builder
    ident, kind, stored = 0, kinds.UOffsetTFlags, value
    if isinstance(value, bool):
        ident, kind = 1, kinds.BoolFlags
    elif isinstance(value, int):
        ident, kind = 2, kinds.Int32Flags
    elif isinstance(value, float):
        ident, kind = 0, kinds.Float32Flags
    elif isinstance(value, str):
        ident, stored = 3, tables.string(value)
    elif isinstance(value, Floats):
        ident, stored = 4, tables.floats(value)
    elif isinstance(value, Ints):
        ident, stored = 5, tables.vector(value, 4, builder.PrependInt32)
    else:
        raise InternalError(
            f"CPU argument {key!r} is a {type(value).__name__}; lists must be Floats or Ints"
        )
    name = tables.string(key)
    return ident, tables.table(2, [(0, kinds.UOffsetTFlags, name), (1, kind, stored)])
