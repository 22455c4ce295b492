"""samples/common/inflate.c against zlib."""

from __future__ import annotations

import ctypes
import zlib
from typing import Any

import numpy as np
import pytest

RNG = np.random.default_rng(0)
CONTENTS = {
    "empty": b"",
    "one": b"x",
    "zeros": bytes(300_000),
    "noise": RNG.integers(0, 256, 100_000, np.uint8).tobytes(),
    "text": b"the quick brown fox jumps over the lazy dog; " * 2000,
    "skewed": np.minimum(RNG.geometric(0.1, 70_000), 255).astype(np.uint8).tobytes(),
    "far": (lambda noise: noise + noise)(RNG.integers(0, 256, 32_768, np.uint8).tobytes()),
}


def deflate(data: bytes, level: int, strategy: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
    return packer.compress(data) + packer.flush()


def inflate(samples: Any, packed: bytes, size: int) -> bytes | None:
    function = samples.c.inflate_bytes
    function.restype = ctypes.c_bool
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    out = ctypes.create_string_buffer(size + 1)
    return out.raw[:size] if function(packed, len(packed), out, size) else None


@pytest.mark.parametrize("name", CONTENTS)
def test_inflate(samples: Any, name: str) -> None:
    data = CONTENTS[name]
    for level in (0, 1, 6, 9):
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
            packed = deflate(data, level, strategy)
            assert inflate(samples, packed, len(data)) == data
            assert inflate(samples, packed, len(data) + 1) is None
            assert inflate(samples, packed[:-1], len(data)) is None
            if data:
                assert inflate(samples, packed, len(data) - 1) is None


def test_damaged_streams_agree_with_zlib(samples: Any) -> None:
    data = CONTENTS["text"][:3000] + CONTENTS["skewed"][:3000]
    sound = bytearray(deflate(data, 9, zlib.Z_DEFAULT_STRATEGY))
    for _ in range(2000):
        packed = bytearray(sound)
        at = RNG.integers(min(60, len(packed))) if RNG.random() < 0.5 else RNG.integers(len(packed))
        packed[at] ^= 1 << RNG.integers(8)
        got = inflate(samples, bytes(packed), len(data))
        unpacker = zlib.decompressobj(-15)
        try:
            want = unpacker.decompress(bytes(packed))
            good = unpacker.eof and len(want) == len(data)
        except zlib.error:
            good = False
        if good:
            assert got == want
        elif got is not None:  # zlib also refuses incomplete codes
            assert len(got) == len(data)
