"""Compressed streams (hw/cv18xx-tdma.md section 6): the examples, a bit-by-bit encoder, every
compressed constant of the vendor's files, damage."""

import numpy as np
import pytest
from isa import compress_reference
from tpuforge.compiler.errors import InternalError, UserInputError
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.isa import parse_stream
from tpuforge.compiler.isa.cv18xx.compress import (
    Header,
    compress_int8,
    compressed_int8_size,
    decompress,
)

INT8_DATA = bytes.fromhex("0001ff02fe03000005000100807f0404" + "00" * 16 + "0a" * 5)
INT8_STREAM = bytes.fromhex(
    "20000010000000000000000000000000 9e005900000000000000000000000000"
    "14103235283000f1ff0f000800f8ff3f 00000000088220f87f00000000000000"
)
BF16_DATA = bytes.fromhex("803f80bf00004940003e0000003f00c00041813f823f833f00401040000080be")
BF16_STREAM = bytes.fromhex(
    "200000207f8000000000000000000000 2d000000000000000000000000000000"
    "8b3f73b1e23501009300000001020406 00200001000000000000000000000000"
)
KINDS = ({}, {"signed": False}, {"bias0": 5, "bias1": 77}, {"bias0": 127, "bias1": 127})


def laplace(count, scale, seed=0):
    values = np.round(np.random.default_rng(seed).laplace(0, scale, count))
    return np.clip(values, -128, 127).astype(np.int8)


def test_the_examples():
    assert compress_int8(INT8_DATA) == INT8_STREAM
    assert decompress(INT8_STREAM, 37) == INT8_DATA
    assert decompress(INT8_STREAM) == INT8_DATA + bytes(11)
    assert decompress(BF16_STREAM) == decompress(BF16_STREAM, 16) == BF16_DATA


@pytest.mark.parametrize("options", KINDS)
def test_against_the_bit_by_bit_encoder(options):
    for count in (1, 15, 16, 17, 255, 256, 257, 3000):
        for scale in (0.02, 0.3, 1, 2, 5, 12, 30, 200):
            data = laplace(count, scale).tobytes()
            stream = compress_int8(data, **options)
            assert stream == compress_reference.compress(data, **options), (count, scale)
            assert compressed_int8_size(data, **options) == len(stream)
            assert decompress(stream, count) == data
            assert decompress(stream) == data + bytes(-count % 16)


def test_every_block_that_holds_one_symbol():
    """All bytes, alone in a block at either end: each k up to raw, each code length."""
    blocks = np.zeros((2, 256, 16), np.uint8)
    blocks[0, :, 0] = blocks[1, :, 15] = np.arange(256)
    stream = compress_int8(blocks)
    assert stream == compress_reference.compress(blocks.tobytes())
    assert decompress(stream) == blocks.tobytes()
    equal = np.repeat(np.arange(256, dtype=np.uint8), 16)
    assert compress_int8(equal) == compress_reference.compress(equal.tobytes())
    assert {entry >> 5 for entry in compress_int8(equal)[16:272]} == {0, 1, 2, 3, 4, 5, 7}


def test_chunks_and_arrays():
    """More blocks than are computed at a time; an array that is not contiguous."""
    data = np.concatenate([laplace(40_001, s, s) for s in (1, 3, 9, 40)])
    stream = compress_int8(data)
    assert stream == compress_reference.compress(data.tobytes())
    assert compress_int8(memoryview(data.tobytes())) == stream == compress_int8(data.view(np.uint8))
    table = laplace(6000, 4).reshape(60, 100)
    assert compress_int8(table.T) == compress_int8(table.T.tobytes()) != compress_int8(table)


def test_trailing_bytes_need_the_count():
    data = laplace(300, 3).tobytes()
    stream = compress_int8(data) + bytes(64)
    assert decompress(stream, 300) == data
    for count in (None, 256, 0, -1, 1 << 40):
        with pytest.raises(UserInputError):
            decompress(stream, count)


def test_refused_arguments():
    for options in ({"bias0": 128}, {"bias1": -1}, {"signed": False, "bias0": 1}):
        with pytest.raises(InternalError):
            compress_int8(b"abc", **options)
    for data in (b"", np.zeros(4, np.int16)):
        with pytest.raises(InternalError):
            compress_int8(data)
    with pytest.raises(InternalError, match="limit"):
        compress_int8(np.full(17 << 20, 0x55, np.uint8))


def test_damaged_streams_are_refused_or_give_as_many_bytes():
    """Every cut, and many changed bits: never another error, and not everything passes."""
    refused = 0
    for stream, count, length in ((INT8_STREAM, 37, 37), (BF16_STREAM, 16, 32)):
        for cut in range(len(stream)):
            with pytest.raises(UserInputError):
                decompress(stream[:cut], count)
        for bit in range(len(stream) * 8):
            bad = bytearray(stream)
            bad[bit >> 3] ^= 1 << (bit & 7)
            try:
                assert len(decompress(bad, count)) == length
                decompress(bad)
            except UserInputError:
                refused += 1
    assert refused > 400


def test_random_bytes_are_refused():
    rng = np.random.default_rng(3)
    for size in (0, 15, 16, 100, 4096):
        data = bytearray(rng.bytes(size))
        with pytest.raises(UserInputError):
            decompress(data)
        if size > 64:
            blocks = (size - 16) // 32 * 16
            data[:16] = Header(size // 16 * 16 - 16 - blocks, True).pack()
            with pytest.raises(UserInputError):
                decompress(data, blocks * 16)


VENDOR_FILES = ("resnet18_cv183x", "mobilenet_v2_cv182x", "googlenet_cv181x", "resnet18_cv180x")


@pytest.mark.parametrize("name", VENDOR_FILES)
def test_constants_of_the_vendor(vendor_dir, name):
    """Their streams decode, and encoding again gives the same bytes (a sample of each file)."""
    path = vendor_dir / f"{name}.cvimodel"
    if not path.is_file():
        pytest.skip(f"no {path.name} among the vendor's files")
    model = cvimodel.read(path.read_bytes())
    section = next(s.data for s in model.sections if s.kind == "weight")
    loads = {}
    for code in (s.data for s in model.sections if s.kind == "cmdbuf"):
        for f in (c.fields for c in parse_stream(model.chip, code) if c.engine == "tdma"):
            if f["compress_en"]:
                rows = 1 if f["sys_dtype"] else f["src_c"] * f["src_h"]
                loads[f["src_base_addr_low"]] = f["src_n"] * rows * f["src_w"]
    assert loads
    for at, count in list(loads.items())[:: max(1, len(loads) // 8)]:
        head = Header.unpack(section[at : at + 16])
        stream = section[at : at + 16 + -(-count // 256) * 16 + head.payload]
        assert len(stream) < count
        data = decompress(section[at : at + count], count)
        assert compress_int8(data) == stream
