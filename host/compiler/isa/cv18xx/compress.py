"""Compressed streams of the TDMA (hw/cv18xx-tdma.md section 6): encoder of 8-bit data, decoder of
8-bit and bf16 data.

    stream = header (16 bytes) | block map (1 byte per block, padded to 16) | payload (padded to 16)

A block is 16 elements and its symbols take at most 128 bits, so a block is a pair of 64-bit words
here and all blocks are computed at the same time, eight symbols per word: symbol i of a block is
byte i mod 8 of word i div 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...chip import align16
from ...errors import InternalError, UserInputError

BLOCK = 16  # elements
RAW = 0xE0  # block map: 16 symbols of 8 bits
K_COUNT = 6  # k = 0..5
MAX_UNARY = 47  # bits
MAX_PAYLOAD = 0xFFFFFF  # bytes
CHUNK = 4096  # blocks that are computed at a time, so that the arrays stay in the cache

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Header:
    """The first 16 bytes of a stream. payload: bytes; biases and zero guard: section 6.2."""

    payload: int
    signed: bool
    bf16: bool = False
    bias0: int = 0
    bias1: int = 0
    zero_guard: bool = False

    def pack(self) -> bytes:
        word = self.payload | self.signed << 28 | self.bf16 << 29 | self.bias0 << 32
        return (word | self.bias1 << 40 | self.zero_guard << 47).to_bytes(16, "little")

    @classmethod
    def unpack(cls, stream: bytes | memoryview) -> Header:
        """The header of a stream; UserInputError when it is cut off or can not be one."""
        if len(stream) < 16:
            raise UserInputError(f"compressed stream: {len(stream)} bytes, its header has 16")
        word = int.from_bytes(stream[:16], "little")
        head = cls(
            word & MAX_PAYLOAD, bool(word >> 28 & 1), bool(word >> 29 & 1),
            word >> 32 & 0xFF, word >> 40 & 0x7F, bool(word >> 47 & 1),
        )  # fmt: skip
        biased = head.bias0 or head.bias1
        if (
            head.pack() != stream[:16]
            or head.payload % 16
            or (head.bf16 and (head.signed or head.bias1))
            or (not head.bf16 and (head.zero_guard or head.bias0 > 127))
            or (biased and not head.bf16 and not head.signed)
        ):
            raise UserInputError(
                f"compressed stream: no header is {bytes(stream[:16]).hex()} (reserved bits, sizes "
                "or biases): are these compressed data, and is their offset right?"
            )
        return head


def int8_symbols(signed: bool, bias0: int = 0, bias1: int = 0) -> Bytes:
    """(256,) symbol of every byte: v = 0 -> 0; else a = |v| - bias0 (bias1 where v < 0), plus 127
    (128) when a <= 0, and symbol 2a (2a - 1). Unsigned: the byte itself. InternalError when a bias
    is outside 0..127, or set for unsigned data. With biases up to 127 it is a permutation."""
    if not (0 <= bias0 <= 127 and 0 <= bias1 <= 127) or (not signed and (bias0 or bias1)):
        raise InternalError(
            f"compression biases {bias0}, {bias1} for {'' if signed else 'un'}signed data: signed "
            "data take 0..127, unsigned data 0"
        )
    byte = np.arange(256)
    if not signed:
        return byte.astype(np.uint8)
    value = byte.astype(np.uint8).view(np.int8).astype(np.int64)
    negative = value < 0
    a = np.abs(value) - np.where(negative, bias1, bias0)
    a += np.where(a <= 0, 127 + negative, 0)
    return np.where(value == 0, 0, 2 * a - negative).astype(np.uint8)


def compress_int8(
    data: bytes | bytearray | memoryview | NDArray, *, signed: bool = True, bias0: int = 0,
    bias1: int = 0,
) -> bytes:  # fmt: skip
    """The compressed stream of 8-bit data in n, c, h, w order. Its length is a multiple of 16 and
    may exceed that of the data.

    data: bytes, or an array of one-byte elements (taken in C order). signed: `cmprs_fmt` of the
    load. bias0, bias1: section 6.2. Zeros fill the last block. InternalError when a bias is out of
    range, there are no data, or the payload exceeds 24 bits.
    """
    symbols = _symbol_words(data, int8_symbols(signed, bias0, bias1))
    blocks = symbols.shape[1]
    block_map = np.zeros(align16(blocks), np.uint8)
    lengths = np.empty(blocks, np.int64)
    codes = np.empty((2, blocks), np.uint64)
    for at in range(0, blocks, CHUNK):
        part = slice(at, min(at + CHUNK, blocks))
        x = symbols[:, part]
        k, unary, lengths[part] = _choose(x)
        block_map[part] = np.where(k < K_COUNT, k << 5 | (unary - BLOCK & 31), RAW)
        codes[:, part] = _codes(x, k)
    size = align16(-(-int(lengths.sum()) // 8))
    if size > MAX_PAYLOAD:
        raise InternalError(f"compressed payload: {size} bytes, limit {MAX_PAYLOAD}")
    head = Header(size, signed, bias0=bias0, bias1=bias1)
    return head.pack() + block_map.tobytes() + _concatenate(codes, lengths, size)


def compressed_int8_size(
    data: bytes | bytearray | memoryview | NDArray, *, signed: bool = True, bias0: int = 0,
    bias1: int = 0,
) -> int:  # fmt: skip
    """len(compress_int8(...)), without making the stream (several times as fast)."""
    symbols = _symbol_words(data, int8_symbols(signed, bias0, bias1))
    blocks = symbols.shape[1]
    bits = sum(int(_choose(symbols[:, at : at + CHUNK])[2].sum()) for at in range(0, blocks, CHUNK))
    return 16 + align16(blocks) + align16(-(-bits // 8))


def _symbol_words(data: bytes | bytearray | memoryview | NDArray, table: Bytes) -> Words:
    """(2, blocks) words of the symbols, the last block filled with zeros."""
    if isinstance(data, np.ndarray):
        if data.itemsize != 1:
            raise InternalError(f"8-bit compression of {data.dtype} elements")
        raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    else:
        raw = np.frombuffer(data, np.uint8)
    if not raw.size:
        raise InternalError("compression of no data")
    symbols = np.zeros(align16(raw.size), np.uint8)
    np.take(table, raw, out=symbols[: raw.size])
    return np.ascontiguousarray(symbols.view("<u8").reshape(-1, 2).T)


def _fill(byte: int) -> np.uint64:
    """A word of eight equal bytes."""
    return np.uint64(byte * 0x0101010101010101)


_FILL_1 = _fill(1)
_UPPER = np.array([_fill(0xFF >> k) for k in range(8)], np.uint64)  # bits that s >> k may have
_PAIRS = np.uint64(0x00FF00FF00FF00FF)
_SUM16 = np.uint64(0x0001000100010001)


def _choose(x: Words) -> tuple[Ints, Ints, Ints]:
    """(k, bits of the unary part, bits of the block) of every block; raw blocks: 7, 0, 128.

    unary(k) = sum of (s >> k) + 1, at most 47; the cheapest 16k + unary(k), lowest k on ties.
    """
    even, odd = x & _PAIRS, x >> np.uint64(8) & _PAIRS
    k = np.full(x.shape[1], 7)
    unary = np.zeros(x.shape[1], np.int64)
    cost = np.full(x.shape[1], 8 * BLOCK)
    for candidate in range(K_COUNT):
        mask, shift = _UPPER[candidate] & _PAIRS, np.uint64(candidate)
        sums = (even >> shift & mask) + (odd >> shift & mask)  # four sums of 16 bits, each <= 510
        u = ((sums[0] + sums[1]) * _SUM16 >> np.uint64(48)).view(np.int64) + BLOCK
        c = u + BLOCK * candidate
        # a raw block (128 bits) loses against every usable k: 5 * 16 + 47 = 127
        better = (u <= MAX_UNARY) & (c < cost)
        np.copyto(k, candidate, where=better)
        np.copyto(unary, u, where=better)
        np.copyto(cost, c, where=better)
    return k, unary, cost


_LOW_MASK = np.array([(1 << min(16 * k, 64)) - 1 for k in range(8)], np.uint64)
_HIGH_MASK = np.array([0, 0, 0, 0, 0, 0xFFFF, 0, 0], np.uint64)


def _codes(x: Words, k: Ints) -> Words:
    """(2, blocks): the bits of every block, low word first: 16 bits per plane, then the unary part;
    raw blocks: the symbols."""
    planes, ones = _planes(x), _unary(x, k)
    shift = (BLOCK * k & 63).astype(np.uint64)
    moved, carry = ones << shift, ones >> np.uint64(1) >> np.uint64(63) - shift
    in_low = k < 4
    low = planes[0] & _LOW_MASK[k] | np.where(in_low, moved, np.uint64(0))
    high = planes[1] & _HIGH_MASK[k] | np.where(in_low, carry, moved)
    return np.where(k < K_COUNT, [low, high], x)


_SWAPS = (
    (np.uint64(7), np.uint64(0x00AA00AA00AA00AA)),
    (np.uint64(14), np.uint64(0x0000CCCC0000CCCC)),
    (np.uint64(28), np.uint64(0x00000000F0F0F0F0)),
)


def transpose_bits(x: Words) -> Words:
    """Bit j of byte i becomes bit i of byte j, in every word."""
    for shift, mask in _SWAPS:
        t = (x ^ x >> shift) & mask
        x = x ^ t ^ t << shift
    return x


def _planes(x: Words) -> Words:
    """(2, blocks): planes 0..3 and 4..7 of 16 bits; bit i of plane p is bit p of symbol i."""
    t = np.ascontiguousarray(transpose_bits(x).T)  # (blocks, 2): byte p of word w
    pairs = t.view(np.uint8).reshape(-1, 2, 8).transpose(0, 2, 1)
    return np.ascontiguousarray(np.ascontiguousarray(pairs).reshape(-1, 16).view("<u8").T)


def _unary(x: Words, k: Ints) -> Words:
    """(blocks,): for every symbol s >> k zeros and a one, from bit 0; undefined for raw blocks."""
    shift = k.astype(np.uint64)
    y = x >> shift & _UPPER[k]
    # inclusive prefix sums of (s >> k) + 1 in the bytes, at most 47 for a coded block
    ends = (y + _FILL_1) * _FILL_1
    ends[1] += (ends[0] >> np.uint64(56)) * _FILL_1
    ends -= _FILL_1
    out = np.zeros(x.shape[1], np.uint64)
    one, byte = np.uint64(1), np.uint64(63)
    for half in ends:
        for i in range(0, 64, 8):
            out |= one << (half >> np.uint64(i) & byte)
    return out


def _concatenate(codes: Words, lengths: Ints, size: int) -> bytes:
    """The bit string of the blocks one behind the other, padded with zeros to `size` bytes."""
    ends = np.cumsum(lengths)
    out = np.zeros(size // 8 + 2, np.uint64)
    starts = ends - lengths
    word = starts >> 6
    shift = (starts & 63).astype(np.uint64)
    first = np.flatnonzero(np.diff(word, prepend=-1))  # the first block that begins in each word
    back = np.uint64(63) - shift
    low, high = codes
    for i, part in enumerate(
        (low << shift, low >> np.uint64(1) >> back | high << shift, high >> np.uint64(1) >> back)
    ):
        out[word[first] + i] |= np.bitwise_or.reduceat(part, first)
    return out[:-2].astype("<u8").tobytes()


# ---- decoding


def decompress(stream: bytes | bytearray | memoryview, elements: int | None = None) -> bytes:
    """The data of a stream: bytes, or bf16 little endian.

    elements: how many; bytes behind the stream are then allowed (constants in a vendor file keep
    their uncompressed room). Without it: all blocks, so up to 15 filling zeros at the end. Raises
    UserInputError when the stream is cut off, does not have as many elements, or is damaged.
    """
    stream = bytes(stream)
    head = Header.unpack(stream)
    room = len(stream) - 16 - head.payload
    map_size = room if elements is None else align16(-(-elements // BLOCK))
    if map_size < 0 or map_size > room or map_size % 16 or (elements is not None and elements < 1):
        raise UserInputError(
            f"compressed stream: {len(stream)} bytes do not hold a header, a payload of "
            f"{head.payload} bytes and the block map of {elements or 'any number of'} elements"
        )
    block_map = np.frombuffer(stream, np.uint8, map_size, 16)
    payload = stream[16 + map_size : 16 + map_size + head.payload]
    blocks = None if elements is None else -(-elements // BLOCK)
    data = _decode(head, block_map, payload, blocks)
    return data if elements is None else data[: elements << head.bf16]


def _damaged(what: str) -> UserInputError:
    return UserInputError(f"compressed stream: {what}: damaged, or not compressed data")


def _decode(head: Header, block_map: Bytes, payload: bytes, blocks: int | None) -> bytes:
    """All elements of the blocks (None: as many as the payload has)."""
    code = block_map >> 5
    if ((code == 6) | (code == 7) & (block_map != RAW)).any():
        raise _damaged("block map entry that has no meaning")
    lengths = _symbol_bits(head, block_map)
    sizes = _guarded_bits(block_map, lengths, payload) if head.bf16 and head.zero_guard else lengths
    if head.bf16 and not head.zero_guard:
        sizes = lengths + 8 * BLOCK
    ends = np.cumsum(sizes)
    if blocks is None:
        blocks = _count_blocks(block_map, ends - sizes, payload)
    lengths, sizes, ends = lengths[:blocks], sizes[:blocks], ends[:blocks]
    bits = int(ends[-1]) if blocks else 0
    if align16(-(-bits // 8)) != len(payload):
        raise _damaged(f"blocks of {bits} bits in a payload of {len(payload)} bytes")
    words = np.frombuffer(payload + bytes(32), "<u8")
    symbols = _symbols(words, ends - sizes, lengths, block_map[:blocks])
    if not head.bf16:
        table = np.empty(256, np.uint8)
        table[int8_symbols(head.signed, head.bias0, head.bias1)] = np.arange(256)
        return table[symbols].tobytes()
    exponents = bf16_exponents(head.bias0, head.zero_guard)[symbols].reshape(-1, BLOCK)
    present = exponents != 0 if head.zero_guard else np.ones(exponents.shape, bool)
    if (lengths + 8 * present.sum(1) != sizes).any():
        raise _damaged("count of zeros in a block")
    raw = _gather(words, ends - sizes + lengths).T.copy().view(np.uint8)
    place = np.cumsum(present, axis=1) - 1
    raw = np.take_along_axis(raw, np.maximum(place, 0), 1).astype(np.uint16)
    value = (raw & 0x80) << 8 | exponents.astype(np.uint16) << 7 | (raw & 0x7F)
    return np.where(present, value, 0).astype("<u2").tobytes()


def bf16_exponents(bias0: int, zero_guard: bool) -> Bytes:
    """(256,) exponent of every symbol (decoding formulas of section 6.2)."""
    u, z, b = np.arange(256), int(zero_guard), bias0
    e = (u - z) & 255
    unfold = np.where(e & 1, -((e + 1) >> 1), e >> 1) + b
    r = b if b <= 128 else 255 - b
    x = np.where(u >= 2 * r, u, unfold) if b <= 128 else np.where(e > 2 * r, r + b - u + z, unfold)
    x[0] = 0 if zero_guard else x[0]
    return (x & 255).astype(np.uint8)


def _symbol_bits(head: Header, block_map: Bytes) -> Ints:
    """Bits of the symbols of every block, the count of zeros included."""
    k = block_map.astype(np.int64) >> 5
    coded = BLOCK * k + BLOCK + (block_map & 31)
    coded += np.where((k > 0) & (head.bf16 and head.zero_guard), 4, 0)
    return np.where(k < K_COUNT, coded, 8 * BLOCK)


def _guarded_bits(block_map: Bytes, lengths: Ints, payload: bytes) -> Ints:
    """Bits of every bf16 block with zero guard: they depend on the number of zeros in the block, so
    the blocks are visited one after the other. Behind the payload all bits are 0."""
    sizes, at = lengths.copy(), 0
    for i, (entry, length) in enumerate(zip(block_map.tolist(), lengths.tolist(), strict=True)):
        k, byte = entry >> 5, at >> 3
        word = int.from_bytes(payload[byte : byte + 18], "little") >> (at & 7)
        word &= (1 << length) - 1
        if k >= K_COUNT:
            zeros = word.to_bytes(16, "little").count(0)
        elif k == 0:
            zeros = (word & (word << 1 | 1)).bit_count()  # a one directly behind a one
        else:
            zeros = word >> 16 * k & 15
            if not zeros and not word & ((1 << 16 * k) - 1) and word >> 16 * k + 4 == 0xFFFF:
                zeros = 16
        sizes[i] += 8 * (BLOCK - zeros)
        at += int(sizes[i])
    return sizes


def _count_blocks(block_map: Bytes, starts: Ints, payload: bytes) -> int:
    """Blocks of a map whose last 15 entries may be filling: an entry 0 belongs to a block when its
    sixteen ones are in the payload."""
    count = len(block_map)
    least = max(count - BLOCK + 1, 0)
    while count > least and block_map[count - 1] == 0:
        at = int(starts[count - 1])
        word = int.from_bytes(payload[at >> 3 : (at >> 3) + 3], "little") >> (at & 7) & 0xFFFF
        if word == 0xFFFF:
            break
        count -= 1
    return count


def _gather(words: Words, at: Ints) -> Words:
    """(2, n): 128 bits from each bit position; two words must follow the last one."""
    i, shift = at >> 6, (at & 63).astype(np.uint64)
    back, one = np.uint64(63) - shift, np.uint64(1)
    return np.stack([words[i + j] >> shift | words[i + j + 1] << one << back for j in (0, 1)])


def _symbols(words: Words, starts: Ints, lengths: Ints, block_map: Bytes) -> Bytes:
    """The symbols of all blocks, one behind the other."""
    out = np.ascontiguousarray(_gather(words, starts).T).view(np.uint8)  # right for raw blocks
    coded = np.flatnonzero(block_map < RAW)
    entries = block_map[coded].astype(np.int64)
    k, unary = entries >> 5, BLOCK + (entries & 31)
    low, high = _gather(words, starts[coded])
    planes = np.stack([low & _LOW_MASK[k], high & _HIGH_MASK[k]], 1).view(np.uint8)
    halves = np.ascontiguousarray(planes.reshape(-1, 8, 2).transpose(0, 2, 1)).view("<u8")
    remainder = transpose_bits(halves).view(np.uint8).reshape(-1, BLOCK)
    ones = _gather(words, starts[coded] + lengths[coded] - unary)[0]
    ones &= (np.uint64(1) << unary.astype(np.uint64)) - np.uint64(1)
    bits = np.flatnonzero(np.unpackbits(ones.view(np.uint8), bitorder="little"))
    if bits.size != coded.size * BLOCK:
        raise _damaged("unary part without 16 symbols")
    place = bits.reshape(-1, BLOCK) - 64 * np.arange(coded.size)[:, None]
    quotient = np.diff(place, axis=1, prepend=-1) - 1
    if (quotient < 0).any() or (place[:, -1:] != unary[:, None] - 1).any():
        raise _damaged("unary part without 16 symbols")
    symbols = quotient << k[:, None] | remainder
    if (symbols > 255).any():
        raise _damaged("symbol above 255")
    out[coded] = symbols
    return out.reshape(-1)
