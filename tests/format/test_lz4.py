"""Our LZ4 blocks against our decoder and the reference library; damaged blocks."""

from __future__ import annotations

import random

import pytest
from tpuforge.compiler.errors import UserInputError
from tpuforge.compiler.format.lz4 import compress, decompress


def samples() -> list[bytes]:
    generator = random.Random(3)
    noise = generator.randbytes(5000)
    words = [generator.randbytes(8) for _ in range(6)]
    rows = b"".join(words[generator.randrange(6)] for _ in range(3000))
    special = [
        b"x",
        b"abcd" * 3,
        b"a" * 13,
        b"ab" * 5000,
        bytes(70_000),
        noise + bytes(300) + noise,
    ]
    return [
        *special,
        noise,
        rows,
        *(rows[:n] for n in range(11, 34)),
        *(bytes(n) for n in range(1, 40)),
    ]


def test_round_trip():
    for data in samples():
        assert decompress(compress(data), len(data)) == data
    assert len(compress(bytes(70_000))) < 400


def test_the_reference_library_agrees():
    block = pytest.importorskip("lz4.block", reason="package lz4 is not installed")
    for data in samples():
        assert block.decompress(compress(data), uncompressed_size=len(data)) == data
        assert decompress(block.compress(data, store_size=False), len(data)) == data


@pytest.mark.parametrize(
    ("block", "size", "message"),
    [
        (b"", 1, "cut"),
        (b"\x10", 1, "over the end"),
        (b"\x10ab", 2, "cut"),
        (b"\x20ab", 3, "lz4 gives 2 bytes, decompressed_size says 3"),
        (b"\x20ab", 1, "over the end"),
        (b"\x10a\x02\x00\x00", 9, "distance 2"),
        (b"\x10a\x00\x00\x00", 9, "distance 0"),
        (b"\x1fa\x01\x00\xff\xff", 900, "cut"),
        (b"\xf0\xff\xff", 300, "cut"),
        (b"\x20ab", 0, "decompressed_size 0"),
        (b"\x20ab", 1 << 20, "can not come from 3 bytes"),
    ],
)
def test_damaged_blocks(block, size, message):
    with pytest.raises(UserInputError, match=message):
        decompress(block, size, "here")


def test_flipped_bits():
    generator = random.Random(5)
    data = b"".join(generator.choice((b"convolution", b"pooling", b"add")) for _ in range(300))
    block = compress(data)
    for _ in range(500):
        mutant = bytearray(block)
        mutant[generator.randrange(len(block))] ^= 1 << generator.randrange(8)
        try:
            assert len(decompress(bytes(mutant), len(data))) == len(data)
        except UserInputError as error:
            assert "lz4" in str(error)
