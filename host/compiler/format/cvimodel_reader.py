"""Bytes of a `.cvimodel` -> Model (formats/cvimodel.md sections 1 to 9), safe on hostile input
(section 13).

Whatever the bytes are, the result is a consistent Model or a UserInputError that names table,
element and value.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

from ..chip import CHIPS
from ..errors import UserInputError
from . import lz4
from .cvimodel_check import check_consistent, check_contents
from .cvimodel_tables import (
    ROUTINE_KINDS,
    SECTION_KINDS,
    STREAM_KINDS,
    WEIGHT,
    Argument,
    DType,
    Floats,
    Ints,
    Model,
    Program,
    Routine,
    Section,
    Tensor,
    Weight,
)
from .flat import FlatBuffer, FlatTable

MAGIC = b"CviModel"
NEWEST = (1, 4)
_HEADER = struct.Struct("<8sIBB16s16s2s")
_OLD_HEADER_BYTES = 32


def read(data: bytes, *, verify: bool = False) -> Model:
    """The model in `data`. verify: also insist on the checksum, decompress every section and check
    the packet framing of every command stream. Raises UserInputError."""
    chip, md5, body_start, body_size = _header(data)
    sections_start = body_start + body_size
    body = FlatBuffer(data[body_start:sections_start], "Model")
    model = _model(body.root(), chip, data, sections_start)
    check_consistent(model)
    if hashlib.md5(memoryview(data)[body_start:]).digest() != md5:
        model.warnings.append("the checksum in the header is not that of the content")
        if verify:
            raise UserInputError(
                "header.md5: the checksum is not that of the content: the file is damaged, or was "
                "merged by a vendor tool, which leaves it undefined; read it without verification"
            )
    if verify:
        check_contents(model)
    return model


def _header(data: bytes) -> tuple[str, bytes, int, int]:
    """(chip, md5, position of the body, its size); section 2."""
    if len(data) <= _HEADER.size:
        raise UserInputError(
            f"a cvimodel is longer than {_HEADER.size} bytes, this file has {len(data)}"
        )
    magic, body_size, major, minor, md5, chip_field, _ = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise UserInputError(
            f"header.magic: this is not a cvimodel: it begins with {magic!r}, not {MAGIC!r}"
        )
    start, chip = _HEADER.size, chip_field.split(b"\0")[0].decode("latin-1")
    if (major, minor) == (1, 0):
        start, chip = _OLD_HEADER_BYTES, "cv183x"
    if chip not in CHIPS:
        raise UserInputError(f"header.chip: {chip!r} is none of {', '.join(CHIPS)}")
    if body_size < 8 or start + body_size > len(data):
        raise UserInputError(
            f"header.body_size: {body_size} bytes from byte {start} on do not fit a file of "
            f"{len(data)} bytes: is it cut?"
        )
    return chip, md5, start, body_size


def _model(root: FlatTable, chip: str, data: bytes, sections_start: int) -> Model:
    version = tuple(root.struct_bytes(0, 3, "version"))
    if version[0] != NEWEST[0] or version[1] > NEWEST[1]:
        root.fail(
            "version",
            f"{'.'.join(map(str, version))} is not one of 1.0 to 1.4, which this version reads",
        )
    for ident, name in (6, "programs"), (7, "sections"):
        root.present(ident, name)
    model = Model(
        name=root.required_string(1, "name"),
        chip=chip,
        version=(version[0], version[1], version[2]),
        build_time=root.string(2, "build_time") or "",
        target=root.string(8, "target"),
        mlir_version=root.string(9, "mlir_version"),
        weights=[_weight(t) for t in root.tables(5, "weight_map")],
        programs=[_program(t) for t in root.tables(6, "programs")],
        sections=[_section(t, data, sections_start) for t in root.tables(7, "sections")],
    )
    if not model.programs:
        root.fail("programs", "is empty: there is nothing to run")
    return model


def _dims(table: FlatTable, ident: int, field: str) -> tuple[int, ...]:
    """Four dims >= 0 (1s are added or dropped on the right)."""
    shape = table.table(ident, field)
    if shape is None:
        table.fail(field, "is required but absent")
    shape.present(0, "dim")
    dims = tuple(int(d) for d in shape.numbers(0, "q", "dim"))
    if len(dims) > 16 or any(d != 1 for d in dims[4:]) or any(not 0 <= d < 1 << 31 for d in dims):
        shape.fail("dim", f"{list(dims[:16])} is not a shape of four dimensions")
    return (*dims, 1, 1, 1, 1)[:4]


def _dtype(table: FlatTable, ident: int, field: str) -> DType:
    number = table.integer(ident, "B", field)
    if number >= len(DType):
        table.fail(field, f"{number} is no element type (0 to {len(DType) - 1})")
    return DType(number)


def _weight(table: FlatTable) -> Weight:
    weight = Weight(
        name=table.string(0, "name") or "",
        offset=table.integer(1, "q", "offset"),
        size=table.integer(2, "I", "size"),
        shape=_dims(table, 3, "shape"),
        dtype=_dtype(table, 4, "type"),
    )
    if weight.offset < 0 or weight.offset >> 40 != WEIGHT:
        table.fail(
            "offset",
            f"{weight.offset:#x} of {weight.name!r} is not an address in the weight section",
        )
    return weight


def _program(table: FlatTable) -> Program:
    for ident, name in (
        (2, "input_tensors"),
        (3, "output_tensors"),
        (4, "tensor_map"),
        (5, "routines"),
    ):
        table.present(ident, name)
    return Program(
        batch_num=table.integer(0, "I", "batch_num"),
        neuron_size=table.integer(1, "I", "neuron_size"),
        inputs=table.strings(2, "input_tensors"),
        outputs=table.strings(3, "output_tensors"),
        tensors=[_tensor(t) for t in table.tables(4, "tensor_map")],
        routines=[_routine(t) for t in table.tables(5, "routines")],
        shared_gmem=table.integer(6, "I", "shared_gmem"),
        private_gmem=table.integer(7, "I", "private_gmem"),
    )


def _tensor(table: FlatTable) -> Tensor:
    quant = table.table(6, "quant")
    tensor = Tensor(
        name=table.required_string(1, "name"),
        offset=table.integer(2, "q", "offset"),
        dtype=_dtype(table, 3, "dtype"),
        shape=_dims(table, 4, "shape"),
        qscale=float(quant.scalar(4, "f", "qscale")) if quant else 0.0,
        zero_point=float(quant.scalar(3, "f", "zero_point")) if quant else 0.0,
        quant_type=quant.integer(0, "B", "type") if quant else 0,
        overwrote=bool(table.scalar(7, "?", "overwrote")),
        scale=table.numbers(8, "f", "scale"),
        mean=table.numbers(9, "f", "mean"),
        pixel_format=table.string(10, "pixel_format") or "",
        aligned=bool(table.scalar(11, "?", "aligned")),
        size=table.integer(12, "I", "size"),
    )
    if tensor.dense_bytes >= 1 << 31:
        table.fail("shape", f"{list(tensor.shape)} of {tensor.name!r} is 2 GiB or more")
    return tensor


def _routine(table: FlatTable) -> Routine:
    number = table.integer(0, "B", "type")
    if number >= len(ROUTINE_KINDS):
        table.fail("type", f"{number} is neither 0 (TPU) nor 1 (CPU)")
    routine = Routine(
        ROUTINE_KINDS[number], table.strings(1, "in_tensors"), table.strings(2, "out_tensors")
    )
    if routine.kind == "tpu":
        tpu = table.table(3, "tpu_routine")
        if tpu is None:
            table.fail("tpu_routine", "is required in a TPU routine but absent")
        section = tpu.string(0, "cmdbuf_section") or tpu.string(1, "dmabuf_section")
        if not section:
            tpu.fail("cmdbuf_section", "neither a cmdbuf_section nor a dmabuf_section is named")
        routine.section = section
    else:
        cpu = table.table(4, "cpu_routine")
        if cpu is None:
            table.fail("cpu_routine", "is required in a CPU routine but absent")
        routine.function = cpu.required_string(0, "function_section")
        args = cpu.raw(1, "function_args")
        if args:
            routine.args = _arguments(args, f"{cpu.path()}.function_args")
    return routine


_READERS: tuple[tuple[str, Callable[[FlatTable], Argument]], ...] = (
    ("float_attr", lambda t: float(t.scalar(1, "f", "value"))),
    ("bool_attr", lambda t: bool(t.scalar(1, "?", "value"))),
    ("int_attr", lambda t: t.integer(1, "i", "value")),
    ("str_attr", lambda t: t.required_string(1, "value")),
    ("float_array_attr", lambda t: Floats(t.numbers(1, "f", "value"))),
    ("int_array_attr", lambda t: Ints(int(v) for v in t.numbers(1, "i", "value"))),
)


def _arguments(data: bytes, where: str) -> dict[str, Argument]:
    """The nested FlatBuffer of a CPU routine's arguments, 4-byte alignment not required (section
    9).
    """
    args: dict[str, Argument] = {}
    for attribute in FlatBuffer(data, where, relaxed_alignment=True).root().tables(0, "attributes"):
        found = [
            (inner.required_string(0, "key"), value(inner))
            for ident, (name, value) in enumerate(_READERS)
            if (inner := attribute.table(ident, name)) is not None
        ]
        if len(found) != 1:
            attribute.fail("", f"has {len(found)} values instead of one")
        if found[0][0] in args:
            attribute.fail("key", f"{found[0][0]!r} is there twice")
        args[found[0][0]] = found[0][1]
    return args


def _section(table: FlatTable, data: bytes, start: int) -> Section:
    """The section with its bytes; its offset counts from the end of the body."""
    number = table.integer(0, "B", "type")
    name = table.required_string(1, "name")
    size, offset = table.integer(2, "I", "size"), table.integer(3, "I", "offset")
    if start + offset + size > len(data):
        table.fail(
            "offset",
            f"{offset} + size {size} of {name!r} leaves the file of {len(data)} bytes: is it cut?",
        )
    section = Section(
        kind=SECTION_KINDS[number] if number < len(SECTION_KINDS) else f"type{number}",
        name=name,
        data=data[start + offset : start + offset + size],
        encrypt=bool(table.scalar(4, "?", "encrypt")),
        compress=bool(table.scalar(5, "?", "compress")),
        decompressed_size=table.integer(6, "I", "decompressed_size"),
        offset=offset,
    )
    if section.compress and section.kind not in STREAM_KINDS:
        table.fail("compress", f"{name!r} is {section.kind}: only command sections are compressed")
    if section.compress and not 0 < section.decompressed_size <= lz4.MAX_OUTPUT:
        table.fail(
            "decompressed_size",
            f"{section.decompressed_size} of {name!r} is not 1 to {lz4.MAX_OUTPUT} bytes",
        )
    return section
