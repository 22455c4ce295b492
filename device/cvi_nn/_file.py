"""What programs a cvimodel contains, read from the file (formats/cvimodel.md sections 1, 2, 4).

The C API only tells about the selected program; this small reader lists all of them, for either
library. The runtime has accepted the file before, so damage here is only reported as ValueError.
"""

import os
import struct
from dataclasses import dataclass

from cvi_nn.dtypes import FORMATS


@dataclass(frozen=True)
class TensorInfo:
    """Name, shape and data type name of an input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ProgramInfo:
    """One program of a file: choose it with `Model(file, program=index)`."""

    index: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


class _Table:
    """A FlatBuffers table at `pos`."""

    def __init__(self, data: bytes, pos: int) -> None:
        self.data = data
        self.pos = pos
        self.vtable = pos - struct.unpack_from("<i", data, pos)[0]
        if self.vtable < 0:
            raise ValueError("damaged cvimodel: vtable in front of the body")
        self.vtable_size = struct.unpack_from("<H", data, self.vtable)[0]

    def _field(self, number: int) -> int:
        entry = 4 + 2 * number
        if entry + 2 > self.vtable_size:
            return 0
        offset = struct.unpack_from("<H", self.data, self.vtable + entry)[0]
        return self.pos + offset if offset else 0

    def u8(self, number: int) -> int:
        at = self._field(number)
        return self.data[at] if at else 0

    def _follow(self, number: int) -> int:
        at = self._field(number)
        return at + struct.unpack_from("<I", self.data, at)[0] if at else 0

    def _elements(self, number: int) -> list[int]:
        at = self._follow(number)
        if not at:
            return []
        count = struct.unpack_from("<I", self.data, at)[0]
        if at + 4 + 4 * count > len(self.data):
            raise ValueError("damaged cvimodel: vector leaves the body")
        slots = range(at + 4, at + 4 + 4 * count, 4)
        return [slot + struct.unpack_from("<I", self.data, slot)[0] for slot in slots]

    def text(self, number: int) -> str:
        return _text(self.data, self._follow(number))

    def texts(self, number: int) -> list[str]:
        return [_text(self.data, at) for at in self._elements(number)]

    def tables(self, number: int) -> list["_Table"]:
        return [_Table(self.data, at) for at in self._elements(number)]

    def sub(self, number: int) -> "_Table":
        return _Table(self.data, self._follow(number))

    def longs(self, number: int) -> tuple[int, ...]:
        at = self._follow(number)
        count = struct.unpack_from("<I", self.data, at)[0] if at else 0
        return struct.unpack_from(f"<{count}q", self.data, at + 4) if at else ()


def _text(data: bytes, at: int) -> str:
    size = struct.unpack_from("<I", data, at)[0]
    return data[at + 4 : at + 4 + size].decode("utf-8", "replace")


def _program(index: int, table: _Table) -> ProgramInfo:
    tensors = {}
    for tensor in table.tables(4):
        shape = (*tensor.sub(4).longs(0), 1, 1, 1, 1)[:4]
        name = tensor.text(1)
        tensors[name] = TensorInfo(name, shape, FORMATS[tensor.u8(3)][0])
    inputs, outputs = ([tensors[name] for name in table.texts(i)] for i in (2, 3))
    return ProgramInfo(index, tuple(inputs), tuple(outputs))


def read_programs(source: str | os.PathLike[str] | bytes) -> tuple[ProgramInfo, ...]:
    """The programs of a file or of its bytes. ValueError: damaged."""
    try:
        body = _read_body(source)
        root = _Table(body, struct.unpack_from("<I", body, 0)[0])
        return tuple(_program(i, table) for i, table in enumerate(root.tables(6)))
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(f"damaged cvimodel: {error}") from error


def _read_body(source: str | os.PathLike[str] | bytes) -> bytes:
    if isinstance(source, bytes):
        header, rest = source[:48], source
    else:
        with open(source, "rb") as file:
            header = file.read(48)
            size = struct.unpack_from("<I", header, 8)[0]
            rest = header + file.read(size)
    size, major, minor = struct.unpack_from("<IBB", header, 8)
    start = 32 if (major, minor) == (1, 0) else 48
    return rest[start : start + size]
