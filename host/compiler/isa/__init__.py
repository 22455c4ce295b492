"""Instruction sets: words as bit-field tables, packing, printing, command streams, cost."""

from .cv18xx.stream import (
    Command,
    columns,
    decode_tdma,
    decode_tiu,
    encode_tdma,
    encode_tiu,
    packet,
    parse_stream,
    tiu_word,
)
from .word import Columns, Field, Word

__all__ = [
    "Columns",
    "Command",
    "Field",
    "Word",
    "columns",
    "decode_tdma",
    "decode_tiu",
    "encode_tdma",
    "encode_tiu",
    "packet",
    "parse_stream",
    "tiu_word",
]
