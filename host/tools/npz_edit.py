"""The sub-commands of npz_tool that change or convert arrays (cli.md section 9)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..compiler import verify
from ..compiler.errors import OptionError, UserInputError
from ..compiler.fileio import write_bytes
from ..compiler.inputs import read_npz, write_npz
from . import common

Arrays = dict[str, np.ndarray]
BIN_TYPES = {
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "uint16": np.uint16,
    "int32": np.int32,
    "float32": np.float32,
}


def pick(arrays: Arrays, name: str, where: str) -> np.ndarray:
    if name not in arrays:
        raise UserInputError(
            f"{where}: no array named {name!r}; it holds {', '.join(arrays) or 'nothing'}"
        )
    return arrays[name]


# ------------------------------------------------------------ edit


def extract(o: argparse.Namespace) -> int:
    """Copy the arrays NAMES (a,b,c) of FILE to OUT.npz."""
    arrays = read_npz(o.file)
    write_npz(o.out, {n: pick(arrays, n, o.file) for n in common.names(o.names)})
    return 0


def remove(o: argparse.Namespace) -> int:
    """Copy FILE without the arrays NAMES (a,b,c) to OUT.npz."""
    arrays = read_npz(o.file)
    for n in common.names(o.names):
        pick(arrays, n, o.file)
        arrays.pop(n, None)
    write_npz(o.out, arrays)
    return 0


def insert(o: argparse.Namespace) -> int:
    """Copy the arrays of FILE (all, or NAMES) into INTO.npz; equal names are replaced."""
    arrays, into = read_npz(o.file), read_npz(o.into)
    write_npz(
        o.into,
        into | {n: pick(arrays, n, o.file) for n in (common.names(o.names) if o.names else arrays)},
    )
    return 0


def merge(o: argparse.Namespace) -> int:
    """Put the arrays of FILE and OTHER together in OUT.npz; a name in both is an error."""
    a, b = read_npz(o.file), read_npz(o.other)
    twice = sorted(a.keys() & b.keys())
    if twice:
        raise UserInputError(f"{o.file} and {o.other} both hold {', '.join(twice)}")
    write_npz(o.out, a | b)
    return 0


def rename(o: argparse.Namespace) -> int:
    """Rename the array OLD of FILE to NEW (written to OUT.npz if given, else in place)."""
    arrays = read_npz(o.file)
    pick(arrays, o.old, o.file)
    if o.new in arrays and o.new != o.old:
        raise UserInputError(f"{o.file}: there is already an array named {o.new!r}")
    write_npz(o.out or o.file, {o.new if n == o.old else n: x for n, x in arrays.items()})
    return 0


def _numbers(text: str) -> list[int]:
    try:
        return [int(v) for v in text.split(",")]
    except ValueError:
        raise OptionError(f"{text!r} is not a comma-separated list of whole numbers") from None


def reshape(o: argparse.Namespace) -> int:
    """Give the array NAME of FILE another SHAPE (1,3,224,224), in place."""
    return _in_place(o, lambda x: x.reshape(_numbers(o.shape)))


def permute(o: argparse.Namespace) -> int:
    """Permute the axes of the array NAME of FILE by ORDER (0,2,3,1), in place."""
    return _in_place(o, lambda x: np.ascontiguousarray(x.transpose(_numbers(o.order))))


def _in_place(o: argparse.Namespace, change: Callable[[np.ndarray], np.ndarray]) -> int:
    arrays = read_npz(o.file)
    x = pick(arrays, o.name, o.file)
    try:
        arrays[o.name] = change(x)
    except ValueError as e:
        raise UserInputError(f"{o.file}: array {o.name!r} {list(x.shape)}: {e}") from None
    write_npz(o.file, arrays)
    return 0


def bf16_to_fp32(o: argparse.Namespace) -> int:
    """Copy FILE to OUT.npz with bf16 patterns (uint16) as float32."""
    return _convert(o, np.dtype(np.uint16), verify.widened)


def fp16_to_fp32(o: argparse.Namespace) -> int:
    """Copy FILE to OUT.npz with float16 as float32."""
    return _convert(o, np.dtype(np.float16), lambda x: x.astype(np.float32))


def fp32_to_bf16(o: argparse.Namespace) -> int:
    """Copy FILE to OUT.npz with float32 as bf16 patterns (uint16), rounded half to even."""
    return _convert(o, np.dtype(np.float32), bf16_patterns)


def fp32_to_fp16(o: argparse.Namespace) -> int:
    """Copy FILE to OUT.npz with float32 as float16."""
    with np.errstate(over="ignore"):
        return _convert(o, np.dtype(np.float32), lambda x: x.astype(np.float16))


def _convert(
    o: argparse.Namespace, only: np.dtype, change: Callable[[np.ndarray], np.ndarray]
) -> int:
    write_npz(o.out, {n: change(x) if x.dtype == only else x for n, x in read_npz(o.file).items()})
    return 0


def bf16_patterns(x: np.ndarray) -> np.ndarray:
    """float32 -> bfloat16 as uint16, round half to even; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0) | (bits >> 16).astype(np.uint16), rounded)


# ------------------------------------------------------------ raw files


def to_bin(o: argparse.Namespace) -> int:
    """Write the values of the array NAME of FILE to OUT, little-endian (TYPE: int8, float32, ...;
    default as stored).
    """
    x = pick(read_npz(o.file), o.name, o.file)
    write_bytes(o.out, _raw(x, o.type))
    return 0


def _raw(x: np.ndarray, kind: str | None) -> bytes:
    if kind in ("bf16", "bfloat16"):
        x = x if x.dtype == np.uint16 else bf16_patterns(x)
    elif kind is not None:
        if kind not in BIN_TYPES:
            raise OptionError(f"unknown type {kind!r}: one of {', '.join([*BIN_TYPES, 'bf16'])}")
        x = x.astype(BIN_TYPES[kind])
    return x.astype(x.dtype.newbyteorder("<")).tobytes()


def to_dat(o: argparse.Namespace) -> int:
    """Write the values of all arrays of FILE to OUT, one after the other, little-endian."""
    write_bytes(o.out, b"".join(_raw(x, None) for x in read_npz(o.file).values()))
    return 0


def to_npy(o: argparse.Namespace) -> int:
    """Write the array NAME of FILE to OUT.npy (default NAME.npy)."""
    x = pick(read_npz(o.file), o.name, o.file)
    out = Path(o.out or f"{o.name.replace('/', '_')}.npy")
    with common.atomic_output(out) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array(file, x, allow_pickle=False)
    return 0
