"""Whatever the bytes are: a consistent Model or a UserInputError, quickly (formats/cvimodel.md
section 13)."""

from __future__ import annotations

import random
import struct
import time

import pytest
from format.sample import full, tiny
from tpuforge.compiler.errors import UserInputError
from tpuforge.compiler.format import dump
from tpuforge.compiler.format.cvimodel import read, write
from tpuforge.compiler.format.flat import FlatBuffer


def survives(data: bytes) -> bool:
    """Whether it was accepted; then it can be dumped and written again."""
    try:
        model = read(data)
        dump.info(model)
        dump.extract(model)
    except UserInputError as error:
        assert str(error)
        return False
    assert read(write(model)) == model or "nan" in repr(model)
    return True


def test_every_truncation_is_refused():
    for model in (tiny(), full()):
        data = write(model)
        assert survives(data)
        accepted = [n for n in range(len(data)) if survives(data[:n])]
        assert accepted == []


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits(seed):
    """500 files with one to four flipped bits in header or body: no other exception."""
    generator = random.Random(seed)
    data = write(full() if seed % 2 else tiny())
    end = 48 + struct.unpack_from("<I", data, 8)[0]
    accepted = 0
    for _ in range(500):
        mutant = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            mutant[generator.randrange(end)] ^= 1 << generator.randrange(8)
        accepted += survives(bytes(mutant))
    assert 0 < accepted < 500


@pytest.mark.parametrize("seed", range(2))
def test_overwritten_words(seed):
    """500 files with words replaced by values that like to break readers."""
    generator = random.Random(100 + seed)
    data = write(full())
    end = 48 + struct.unpack_from("<I", data, 8)[0]
    values = (0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, len(data), end, 1 << 24)
    for _ in range(500):
        mutant = bytearray(data)
        for _ in range(generator.randint(1, 3)):
            position = generator.randrange(0, end - 4, generator.choice((1, 4)))
            struct.pack_into("<I", mutant, position, generator.choice(values))
        survives(bytes(mutant))


def test_random_bytes_behind_a_good_header():
    generator = random.Random(9)
    for _ in range(200):
        size = generator.randint(8, 400)
        head = (
            b"CviModel" + struct.pack("<IBB", size, 1, 4) + bytes(16) + b"cv181x".ljust(18, b"\0")
        )
        assert not survives(head + generator.randbytes(size + 8))


def test_vendor_file_with_flipped_bits(vendor_dir):
    data = (vendor_dir / "tiny_resnet_cv181x.cvimodel").read_bytes()
    end = 48 + struct.unpack_from("<I", data, 8)[0]
    generator = random.Random(77)
    for _ in range(150):
        mutant = bytearray(data)
        mutant[generator.randrange(end)] ^= 1 << generator.randrange(8)
        survives(bytes(mutant))


def shared_program(count: int) -> bytes:
    """A file whose vector of programs is `count` references to one table: the whole body stands a
    second time behind the new vector, which points into that copy (references point forward)."""
    data = write(tiny())
    size = struct.unpack_from("<I", data, 8)[0]
    body = data[48 : 48 + size]
    root = FlatBuffer(body, "Model").root()
    program = root.tables(6, "programs")[0].pos
    field = root._field(6, 4, 4, "programs")
    copy = (size + 4 + 4 * count + 7) // 8 * 8
    vector = struct.pack(
        f"<{count + 1}I", count, *(copy + program - (size + 4 + 4 * i) for i in range(count))
    )
    wide = bytearray(body + vector.ljust(copy - size, b"\0") + body)
    struct.pack_into("<I", wide, field, size - field)
    return data[:8] + struct.pack("<I", len(wide)) + data[12:48] + bytes(wide) + data[48 + size :]


def test_work_is_bounded_by_the_size_of_the_file():
    """Thousands of references to one program: refused by the budget instead of being read thousands
    of times."""
    assert len(read(shared_program(2)).programs) == 2
    begin = time.process_time()
    with pytest.raises(UserInputError, match="more elements than a file of this size can hold"):
        read(shared_program(20_000))
    assert time.process_time() - begin < 4
