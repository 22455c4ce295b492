"""Dataclasses that mirror the tables of a `.cvimodel` (formats/cvimodel.md sections 4 to 9).

Defaults are what a reader assumes when a field is absent; fields that are only a function of others
(section offsets, sizes, the checksum) are filled by the writer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

from .lz4 import decompress


class DType(IntEnum):
    """Element type of a tensor; the number is the `CVI_FMT` of the C API (section 4.1)."""

    FP32 = 0
    INT32 = 1
    UINT32 = 2
    BF16 = 3
    INT16 = 4
    UINT16 = 5
    INT8 = 6
    UINT8 = 7

    @property
    def word(self) -> str:
        """The name in dumps: "fp32", "int8", ..."""
        return self.name.lower()

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return (4, 4, 4, 2, 2, 2, 1, 1)[self]

    @property
    def numpy(self) -> str:
        """Name of the numpy type that stores it (bf16 as its 16-bit pattern)."""
        return ("float32", "int32", "uint32", "uint16", "int16", "uint16", "int8", "uint8")[self]


class Floats(tuple[float, ...]):
    """A list of floats among the arguments of a CPU routine (tells an empty list of floats from one
    of ints).
    """

    __slots__ = ()


class Ints(tuple[int, ...]):
    """A list of ints among the arguments of a CPU routine."""

    __slots__ = ()


#: what an argument of a CPU routine can be; the type is strict (section 9)
Argument = float | bool | int | str | Floats | Ints

# base selectors of an address code (section 6.1)
SHARED, WEIGHT, PRIVATE = 0, 1, 2
IO_BASES = range(3, 8)
SYSTEM_MEMORY = -1

#: SectionType numbers 0.. (section 4.1), under the words of the dump (section 14.1)
SECTION_KINDS = ("weight", "cmdbuf", "x86_64", "aarch64", "dmabuf")
ROUTINE_KINDS = ("tpu", "cpu")
STREAM_KINDS = ("cmdbuf", "dmabuf")


def address(base: int, offset: int = 0) -> int:
    """The address code: bits 39..0 byte offset, bits 42..40 base selector (section 6.1)."""
    return base << 40 | offset


def selector(code: int) -> int:
    """The base selector of an address code, -1 for a tensor in system memory."""
    return -1 if code == SYSTEM_MEMORY else code >> 40 & 7


def low_offset(code: int) -> int:
    """The byte offset inside its region of an address code."""
    return code & (1 << 40) - 1


@dataclass
class Weight:
    """One constant: `offset` is an address code with selector 1, `size` its bytes in the weight
    section.
    """

    name: str
    offset: int
    size: int
    shape: tuple[int, ...]
    dtype: DType


@dataclass
class Tensor:
    """One activation: 4 dims, `offset` an address code or -1 (system memory only).

    qscale: 0 = the file has no QuantInfo; conventions in section 7.1. size: bytes; default the
    dense size, 0 = absent. scale and mean (3 values each) and pixel_format tell the caller how to
    preprocess (section 7.2).
    """

    name: str
    offset: int
    dtype: DType
    shape: tuple[int, ...]
    qscale: float = 1.0
    zero_point: float = 0.0
    scale: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    pixel_format: str = ""
    aligned: bool = False
    size: int = -1
    overwrote: bool = False
    quant_type: int = 0

    def __post_init__(self) -> None:
        if self.size < 0:
            self.size = self.dense_bytes

    @property
    def dense_bytes(self) -> int:
        """Bytes of the elements without any padding."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def buffer_bytes(self) -> int:
        """Bytes the tensor occupies in its region: `size` if aligned (section 4.2), else the dense
        bytes.
        """
        return self.size if self.aligned and self.size else self.dense_bytes


@dataclass
class Routine:
    """One step of a program: "tpu" runs the commands of `section`, "cpu" calls the built-in
    `function`.
    """

    kind: str
    inputs: list[str]
    outputs: list[str]
    section: str = ""
    function: str = ""
    args: dict[str, Argument] = field(default_factory=dict)


@dataclass
class Program:
    """A network for one batch size: regions, io names in API order, every activation, the routines
    in order.
    """

    inputs: list[str]
    outputs: list[str]
    tensors: list[Tensor]
    routines: list[Routine]
    batch_num: int = 0
    neuron_size: int = 0
    shared_gmem: int = 0
    private_gmem: int = 0

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name (KeyError otherwise)."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)


@dataclass
class Section:
    """Bytes of a file: kind "weight", "cmdbuf", "dmabuf", "x86_64", "aarch64" ("type<n>" for
    numbers unknown to us).
    """

    kind: str
    name: str
    data: bytes = b""
    encrypt: bool = False
    compress: bool = False
    decompressed_size: int = 0
    offset: int | None = field(default=None, compare=False)

    def contents(self) -> bytes:
        """The bytes after decompression; UserInputError when the block is damaged."""
        if not self.compress:
            return self.data
        return decompress(self.data, self.decompressed_size, f"section {self.name!r}")


@dataclass
class Model:
    """A whole file. `target` is the chip again, for information only; None = absent, like
    `mlir_version`.

    warnings: what a reader noticed that does not stop anybody (wrong checksum, nominal weight
    sizes).
    """

    name: str
    chip: str
    programs: list[Program]
    sections: list[Section]
    weights: list[Weight] = field(default_factory=list)
    version: tuple[int, int, int] = (1, 4, 0)
    build_time: str = ""
    target: str | None = ""
    mlir_version: str | None = None
    warnings: list[str] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        if self.target == "":
            self.target = self.chip

    def section(self, name: str) -> Section:
        """The first section of that name (the rule of the vendor's runtime); KeyError otherwise."""
        for section in self.sections:
            if section.name == name:
                return section
        raise KeyError(name)

    def weight_section(self) -> Section | None:
        """The weight section (the last one, as in the vendor's runtime), None if there is none."""
        found = [s for s in self.sections if s.kind == "weight"]
        return found[-1] if found else None

    def weight_bytes(self, weight: Weight) -> bytes:
        """The stored bytes of one constant."""
        section = self.weight_section()
        start = low_offset(weight.offset)
        return b"" if section is None else section.data[start : start + weight.size]
