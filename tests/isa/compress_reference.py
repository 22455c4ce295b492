"""The 8-bit encoder of hw/cv18xx-tdma.md section 6 once more, one element and one bit at a time, to
compare the vectorised one with."""

from __future__ import annotations


def symbol(byte: int, signed: bool, bias0: int, bias1: int) -> int:
    """Section 6.2."""
    if not signed or byte == 0:
        return byte
    value = byte - 256 if byte > 127 else byte
    negative = value < 0
    a = abs(value) - (bias1 if negative else bias0)
    if a <= 0:
        a += 128 if negative else 127
    return 2 * a - 1 if negative else 2 * a


def encode_block(symbols: list[int]) -> tuple[int, list[int]]:
    """(block map byte, bits) of section 6.3."""
    costs = []
    for k in range(6):
        unary = sum((s >> k) + 1 for s in symbols)
        if unary <= 47 and 16 * k + unary <= 128:
            costs.append((16 * k + unary, k, unary))
    if not costs:
        return 0xE0, [s >> i & 1 for s in symbols for i in range(8)]
    _, k, unary = min(costs)
    bits = [s >> p & 1 for p in range(k) for s in symbols]
    for s in symbols:
        bits += [0] * (s >> k) + [1]
    return k * 32 + (unary - 16 & 31), bits


def compress(data: bytes, signed: bool = True, bias0: int = 0, bias1: int = 0) -> bytes:
    """Section 6.1."""
    data += bytes(-len(data) % 16)
    block_map, bits = bytearray(), []
    for at in range(0, len(data), 16):
        entry, more = encode_block([symbol(b, signed, bias0, bias1) for b in data[at : at + 16]])
        block_map.append(entry)
        bits += more
    bits += [0] * (-len(bits) % 128)
    block_map += bytes(-len(block_map) % 16)
    payload = bytes(sum(bits[i + j] << j for j in range(8)) for i in range(0, len(bits), 8))
    head = len(payload) | signed << 28 | bias0 << 32 | bias1 << 40
    return head.to_bytes(16, "little") + bytes(block_map) + payload
