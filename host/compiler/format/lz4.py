"""Raw LZ4 blocks, as compressed sections hold them (formats/cvimodel.md section 10): no frame, no
length prefix.

A block is a row of sequences: token (high nibble: literal count, low nibble: match length - 4; 15 =
further bytes of 255 and a last one below add to it), the literals, a 16-bit distance. The last
sequence ends behind its literals.
"""

from __future__ import annotations

from ..errors import UserInputError

MAX_OUTPUT = 1 << 30
_MAX_RATIO = 255


def decompress(block: bytes, size: int, where: str = "lz4 block") -> bytes:
    """The `size` bytes of a block; UserInputError when it is damaged or has another length."""
    if not 0 < size <= min(MAX_OUTPUT, len(block) * _MAX_RATIO + 64):
        raise UserInputError(
            f"{where}: decompressed_size {size} can not come from {len(block)} bytes of lz4"
        )
    out = bytearray()
    pos, end = 0, len(block)
    try:
        while True:
            token = block[pos]
            pos += 1
            count = token >> 4
            if count == 15:
                count, pos = _more(block, pos, count)
            if pos + count > end or len(out) + count > size:
                raise UserInputError(f"{where}: lz4 literals reach over the end at byte {pos}")
            out += block[pos : pos + count]
            pos += count
            if pos == end:
                break
            distance = block[pos] | block[pos + 1] << 8
            pos += 2
            length = token & 15
            if length == 15:
                length, pos = _more(block, pos, length)
            _copy_match(out, distance, length + 4, size, f"{where}: lz4 match before byte {pos}")
    except IndexError:
        raise UserInputError(f"{where}: lz4 block of {end} bytes is cut") from None
    if len(out) != size:
        raise UserInputError(f"{where}: lz4 gives {len(out)} bytes, decompressed_size says {size}")
    return bytes(out)


def _more(block: bytes, pos: int, count: int) -> tuple[int, int]:
    """Continue a length of 15: add bytes until one is below 255; (length, next position)."""
    while True:
        byte = block[pos]
        pos += 1
        count += byte
        if byte != 255:
            return count, pos


def _copy_match(out: bytearray, distance: int, length: int, size: int, where: str) -> None:
    """Append `length` bytes from `distance` back; an overlapping match repeats the bytes
    between.
    """
    if not 0 < distance <= len(out) or len(out) + length > size:
        raise UserInputError(
            f"{where}: distance {distance}, length {length} at output byte {len(out)} of {size}"
        )
    start = len(out) - distance
    if distance >= length:
        out += out[start : start + length]
    else:
        period = bytes(out[start:])
        out += (period * (length // distance + 1))[:length]


def compress(data: bytes) -> bytes:
    """A valid block for `data`: greedy, one hash table of 4-byte words; larger than the input if
    nothing repeats.

    The format's end rules are kept: the last match begins 12 bytes or more before the end, the last
    5 bytes are literals.
    """
    out = bytearray()
    table: dict[bytes, int] = {}
    anchor = pos = 0
    limit = len(data) - 12
    while pos <= limit:
        word = data[pos : pos + 4]
        candidate = table.get(word, -1)
        table[word] = pos
        if candidate < 0 or pos - candidate > 0xFFFF:
            pos += 1
            continue
        length = _match_length(data, candidate, pos, len(data) - 5)
        _emit(out, data[anchor:pos], pos - candidate, length)
        pos += length
        anchor = pos
    _emit(out, data[anchor:], 0, 0)
    return bytes(out)


def _match_length(data: bytes, a: int, b: int, end: int) -> int:
    """Equal bytes from a and b on (4 are known to be), b + result <= end."""
    length = 4
    step = 64
    while step:
        while (
            b + length + step <= end
            and data[a + length : a + length + step] == data[b + length : b + length + step]
        ):
            length += step
        step >>= 1
    return length


def _emit(out: bytearray, literals: bytes, distance: int, length: int) -> None:
    """One sequence; distance 0 = the last one, without a match."""
    count, extra = len(literals), length - 4 if distance else 0
    out.append(min(count, 15) << 4 | min(extra, 15))
    _emit_length(out, count)
    out += literals
    if distance:
        out += distance.to_bytes(2, "little")
        _emit_length(out, extra)


def _emit_length(out: bytearray, value: int) -> None:
    if value >= 15:
        full, rest = divmod(value - 15, 255)
        out += b"\xff" * full
        out.append(rest)
