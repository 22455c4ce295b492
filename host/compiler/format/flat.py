"""A small bounds-checked reader of FlatBuffers for files that nobody can trust (formats/cvimodel.md
section 13).

Every vtable, table, vector and string is checked to lie inside the buffer and to be aligned before
it is read. Elements may be shared by many tables, so the work is bounded by a budget that grows
with the buffer, and strings are decoded once. Errors are UserInputError and name the path, e.g.
`Model.programs[0].tensor_map[3].shape`.
"""

from __future__ import annotations

import struct
from typing import NoReturn

from ..errors import UserInputError

_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from
_SCALARS = {k: struct.Struct("<" + k) for k in "?BIiqf"}


class FlatBuffer:
    """The bytes of one buffer, the name of its root table, and what reading it may cost."""

    def __init__(self, data: bytes, name: str, *, relaxed_alignment: bool = False) -> None:
        self.data = data
        self.name = name
        self.budget = 2 * len(data) + 64
        self.strings: dict[int, str] = {}
        self.align_mask = 0 if relaxed_alignment else -1

    def root(self) -> FlatTable:
        """The root table (the word at byte 0 tells where)."""
        if len(self.data) < 8:
            raise UserInputError(
                f"{self.name}: {len(self.data)} bytes are too few for a FlatBuffer"
            )
        return FlatTable(self, _U32(self.data, 0)[0], (None, self.name, -1))

    def charge(self, count: int, table: FlatTable, field: str) -> None:
        self.budget -= count
        if self.budget < 0:
            table.fail(field, "has more elements than a file of this size can hold")


class FlatTable:
    """One table. Accessors take the field id and the field's name (for messages)."""

    __slots__ = ("buffer", "data", "origin", "pos", "table_size", "vtable", "vtable_size")

    def __init__(
        self, buffer: FlatBuffer, pos: int, origin: tuple[FlatTable | None, str, int]
    ) -> None:
        self.buffer, self.data, self.pos, self.origin = buffer, buffer.data, pos, origin
        size = len(self.data)
        if pos & 3 & buffer.align_mask or pos + 4 > size:
            self.fail("", f"table at byte {pos} is outside the {size} bytes or not aligned")
        self.vtable = vtable = pos - _I32(self.data, pos)[0]
        if vtable & 1 or vtable < 0 or vtable + 4 > size:
            self.fail("", f"vtable at byte {vtable} is outside the {size} bytes or not aligned")
        self.vtable_size = _U16(self.data, vtable)[0]
        self.table_size = _U16(self.data, vtable + 2)[0]
        if self.vtable_size < 4 or self.vtable_size & 1 or vtable + self.vtable_size > size:
            self.fail("", f"vtable size {self.vtable_size} at byte {vtable}")
        if self.table_size < 4 or pos + self.table_size > size:
            self.fail("", f"table size {self.table_size} at byte {pos} of {size}")

    def path(self) -> str:
        """Where the table is in the tree, as the user would write it."""
        parts = []
        table: FlatTable | None = self
        while table is not None:
            table, name, index = table.origin
            parts.append(name if index < 0 else f"{name}[{index}]")
        return ".".join(reversed(parts))

    def fail(self, field: str, problem: str) -> NoReturn:
        """Raise UserInputError for this table or one of its fields."""
        raise UserInputError(f"{self.path()}{'.' + field if field else ''}: {problem}")

    def _field(self, ident: int, width: int, align: int, field: str) -> int:
        """Absolute position of an inline field, 0 if absent."""
        slot = 4 + 2 * ident
        if slot + 2 > self.vtable_size:
            return 0
        offset = _U16(self.data, self.vtable + slot)[0]
        if not offset:
            return 0
        pos = self.pos + offset
        if (
            offset < 4
            or offset + width > self.table_size
            or pos & (align - 1) & self.buffer.align_mask
        ):
            self.fail(
                field,
                f"field offset {offset} in a table of {self.table_size} bytes at byte {self.pos}",
            )
        return pos

    def scalar(self, ident: int, kind: str, field: str) -> int | float:
        """A number of struct kind "?BIiqf" (0 if absent)."""
        reader = _SCALARS[kind]
        pos = self._field(ident, reader.size, reader.size, field)
        if not pos:
            return 0
        if kind == "?":
            return self.data[pos] != 0
        return reader.unpack_from(self.data, pos)[0]

    def integer(self, ident: int, kind: str, field: str) -> int:
        """`scalar` of an integer kind."""
        return int(self.scalar(ident, kind, field))

    def struct_bytes(self, ident: int, width: int, field: str) -> bytes:
        """The bytes of an inline struct (alignment 1); it must be there."""
        pos = self._field(ident, width, 1, field)
        if not pos:
            self.fail(field, "is required but absent")
        return self.data[pos : pos + width]

    def _target(self, ident: int, field: str) -> int:
        """Absolute position of what an offset field points to, 0 if absent."""
        pos = self._field(ident, 4, 4, field)
        return self._follow(pos, field) if pos else 0

    def _follow(self, pos: int, field: str) -> int:
        target = pos + _U32(self.data, pos)[0]
        if target == pos or target & 3 & self.buffer.align_mask or target + 4 > len(self.data):
            self.fail(field, f"points to byte {target} of {len(self.data)}")
        return target

    def string(self, ident: int, field: str) -> str | None:
        """A string, None if absent."""
        pos = self._target(ident, field)
        return self._string_at(pos, field) if pos else None

    def required_string(self, ident: int, field: str) -> str:
        """A string that must be there."""
        text = self.string(ident, field)
        if text is None:
            self.fail(field, "is required but absent")
        return text

    def _string_at(self, pos: int, field: str) -> str:
        known = self.buffer.strings.get(pos)
        if known is not None:
            return known
        length = _U32(self.data, pos)[0]
        end = pos + 4 + length
        if end >= len(self.data) or self.data[end]:
            self.fail(field, f"string of {length} bytes at byte {pos} has no end")
        self.buffer.charge(length, self, field)
        try:
            text = self.data[pos + 4 : end].decode()
        except UnicodeDecodeError:
            self.fail(field, f"string at byte {pos} is not UTF-8")
        self.buffer.strings[pos] = text
        return text

    def _vector(self, ident: int, width: int, field: str) -> tuple[int, int]:
        """(position of element 0, count); position 0 if absent."""
        pos = self._target(ident, field)
        if not pos:
            return 0, 0
        count = _U32(self.data, pos)[0]
        first = pos + 4
        if first + count * width > len(self.data) or (
            width == 8 and first & 7 & self.buffer.align_mask
        ):
            self.fail(
                field, f"vector of {count} elements at byte {pos} leaves the {len(self.data)} bytes"
            )
        self.buffer.charge(count, self, field)
        return first, count

    def present(self, ident: int, field: str) -> None:
        """UserInputError if the field is absent."""
        if not self._target(ident, field):
            self.fail(field, "is required but absent")

    def numbers(self, ident: int, kind: str, field: str) -> tuple[int, ...] | tuple[float, ...]:
        """A vector of numbers, () if absent."""
        width = _SCALARS[kind].size
        first, count = self._vector(ident, width, field)
        return struct.unpack_from(f"<{count}{kind}", self.data, first) if count else ()

    def raw(self, ident: int, field: str) -> bytes:
        """A vector of bytes, b"" if absent."""
        first, count = self._vector(ident, 1, field)
        return self.data[first : first + count]

    def strings(self, ident: int, field: str) -> list[str]:
        """A vector of strings, [] if absent."""
        first, count = self._vector(ident, 4, field)
        return [
            self._string_at(self._follow(first + 4 * i, field), f"{field}[{i}]")
            for i in range(count)
        ]

    def table(self, ident: int, field: str) -> FlatTable | None:
        """A table, None if absent."""
        pos = self._target(ident, field)
        if not pos:
            return None
        self.buffer.charge(1, self, field)
        return FlatTable(self.buffer, pos, (self, field, -1))

    def tables(self, ident: int, field: str) -> list[FlatTable]:
        """A vector of tables, [] if absent."""
        first, count = self._vector(ident, 4, field)
        return [
            FlatTable(self.buffer, self._follow(first + 4 * i, field), (self, field, i))
            for i in range(count)
        ]
