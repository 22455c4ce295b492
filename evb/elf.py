"""What an ELF file needs of the system that loads it (System V ABI; GNU symbol versions)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from ..compiler.errors import UserInputError

MACHINES = {40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
ALLOCATED, SYMBOLS, NO_DATA, VERSION_NEEDS = 2, 2, 8, 0x6FFFFFFE  # SHF_ALLOC and section types
MANY = 100_000  # more symbol versions than that: a list in a circle


@dataclass(frozen=True)
class Elf:
    """`versions`: names of symbol versions that other libraries must have, as GLIBC_2.17."""

    machine: str
    versions: frozenset[str]
    loaded: int  # bytes of code and data in memory; zero-initialised data do not count
    symbols: bool  # has a symbol table that `strip` would remove

    def glibc(self) -> tuple[int, ...]:
        """The oldest glibc with all these versions, as (2, 17); () without any."""
        found = (re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", v) for v in self.versions)
        return max((tuple(map(int, m[1].split("."))) for m in found if m), default=())


def read_elf(path: Path) -> Elf:
    """UserInputError: not a little-endian ELF file, or a damaged one."""
    return _parse(path.read_bytes(), str(path))


def read_archive(path: Path) -> list[Elf]:
    """The object files of a static library (.a). UserInputError: as above."""
    data, at, found = path.read_bytes(), 8, []
    if data[:8] != b"!<arch>\n":
        raise UserInputError(f"{path}: not a static library")
    while at + 60 <= len(data):  # name 16, date 12, owner 6, group 6, mode 8, size 10, end 2
        size = data[at + 48 : at + 58].strip()
        if not size.isdigit() or at + 60 + int(size) > len(data):
            raise UserInputError(f"{path}: a damaged static library (member at byte {at})")
        member = data[at + 60 : at + 60 + int(size)]
        if data[at : at + 2] not in (b"/ ", b"//"):  # tables of symbols and long names
            found.append(_parse(member, f"{path}, member at byte {at}"))
        at += 60 + int(size) + int(size) % 2
    return found


def _parse(data: bytes, name: str) -> Elf:
    if data[:4] != b"\x7fELF" or data[4:6] not in (b"\x01\x01", b"\x02\x01"):
        raise UserInputError(f"{name}: not a little-endian ELF file")
    try:
        machine = struct.unpack_from("<H", data, 18)[0]
        sections = _sections(data, data[4] == 2)
        needs = [s for s in sections if s[0] == VERSION_NEEDS]
        return Elf(
            MACHINES.get(machine, str(machine)),
            frozenset(v for s in needs for v in _needs(data, s[2], sections[s[4]][2])),
            sum(s[3] for s in sections if s[1] & ALLOCATED and s[0] != NO_DATA),
            any(s[0] == SYMBOLS for s in sections),
        )
    except (struct.error, IndexError, ValueError, OverflowError) as e:
        raise UserInputError(f"{name}: a damaged ELF file ({e})") from None


def _sections(data: bytes, wide: bool) -> list[tuple[int, int, int, int, int]]:
    """(type, flags, offset, size, link) of every section header."""
    start = struct.unpack_from("<Q", data, 40)[0] if wide else struct.unpack_from("<I", data, 32)[0]
    size, count = struct.unpack_from("<2H", data, 58 if wide else 46)
    layout = "<4xIQ8x2QI" if wide else "<4x2I4x3I"
    return [struct.unpack_from(layout, data, start + k * size) for k in range(count)]


def _needs(data: bytes, at: int, names: int) -> list[str]:
    """Verneed records (version, count, file, aux, next), each with Vernaux records (hash, flags,
    other, name, next); distances of 0 end the lists. `names`: offset of the strings."""
    found, following = [], 1
    while following:
        count, aux, following = struct.unpack_from("<2xH4x2I", data, at)
        place, at = at + aux, at + following
        for _ in range(count):
            name, step = struct.unpack_from("<8x2I", data, place)
            begin, place = names + name, place + step
            found.append(data[begin : data.index(b"\0", begin)].decode("ascii", "replace"))
        if len(found) > MANY:
            raise ValueError("endless list of versions")
    return found
