"""evb/elf.py on handmade and damaged files; tests/evb/test_sdk.py compares it with readelf."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tpuforge.compiler.errors import UserInputError
from tpuforge.evb.elf import read_archive, read_elf

NEEDS, STRINGS, CODE, ZEROS, SYMBOLS = 0x6FFFFFFE, 3, 1, 8, 2


def elf(wide: bool, versions: list[str], machine: int = 183, step: int = 16) -> bytes:
    """A file with code (100 bytes), zeros (1000 bytes), names, versions and a symbol table."""
    names = b"\0" + b"".join(v.encode() + b"\0" for v in versions)
    record = struct.pack("<2H3I", 1, len(versions), 0, 16, 0)
    for i, v in enumerate(versions):
        at = names.index(v.encode() + b"\0")
        record += struct.pack("<I2H2I", 0, 0, 2, at, step if i + 1 < len(versions) else 0)
    head = 64 if wide else 52
    parts = [(CODE, 2, 100, 0), (ZEROS, 2, 1000, 0), (STRINGS, 0, len(names), 0),
             (NEEDS, 0, len(record), 2), (SYMBOLS, 0, 0, 2)]  # fmt: skip
    body, headers, at = bytes(100) + names + record, b"", head
    for kind, flags, size, link in parts:
        form = "<2I4Q2I2Q" if wide else "<10I"
        headers += struct.pack(form, 0, kind, flags, 0, at, size, link, 0, 0, 0)
        at += 0 if kind == ZEROS else size
    start = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    if wide:
        start += struct.pack("<2HI3QI6H", 3, machine, 1, 0, 0, at, 0, 64, 0, 0, 64, len(parts), 0)
    else:
        start += struct.pack("<2H5I6H", 3, machine, 1, 0, 0, at, 0, 52, 0, 0, 40, len(parts), 0)
    return start + body + headers


@pytest.mark.parametrize("wide", [False, True])
def test_fields(tmp_path: Path, wide: bool) -> None:
    versions = ["GLIBC_2.4", "GLIBC_2.17", "GCC_3.5", "GLIBC_2.9"]
    (tmp_path / "a").write_bytes(elf(wide, versions))
    found = read_elf(tmp_path / "a")
    assert found.machine == "aarch64" and found.loaded == 100 and found.symbols
    assert found.versions == set(versions) and found.glibc() == (2, 17)
    (tmp_path / "b").write_bytes(elf(wide, [], machine=40))
    assert read_elf(tmp_path / "b").glibc() == () and read_elf(tmp_path / "b").machine == "arm"


def test_archive(tmp_path: Path) -> None:
    members = [(b"/", b"xyz"), (b"a.o/", elf(True, [], 243)), (b"b.o/", elf(True, [], 243))]
    data = b"!<arch>\n"
    for name, content in members:
        data += name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"644".ljust(8)
        data += str(len(content)).encode().ljust(10) + b"`\n" + content + b"\n" * (len(content) % 2)
    (tmp_path / "a.a").write_bytes(data)
    assert [part.loaded for part in read_archive(tmp_path / "a.a")] == [100, 100]
    (tmp_path / "a.a").write_bytes(data[:-2])
    with pytest.raises(UserInputError, match="damaged"):
        read_archive(tmp_path / "a.a")


@pytest.mark.parametrize("wide", [False, True])
def test_damaged(tmp_path: Path, wide: bool) -> None:
    """Every cut and every changed byte: an error or a result, in bounded time."""
    data, path = elf(wide, ["GLIBC_2.4", "GLIBC_2.17"]), tmp_path / "a"
    cases = [data[:n] for n in range(0, len(data), 3)]
    cases += [data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :] for i in range(len(data))]
    cases += [elf(wide, ["GLIBC_2.4"] * 3, step=0), b"", b"#!/bin/sh\n"]
    good = 0
    for case in cases:
        path.write_bytes(case)
        try:
            read_elf(path)
            good += 1
        except UserInputError as e:
            assert str(path) in str(e)
    assert 0 < good < len(cases)
