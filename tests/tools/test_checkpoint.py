"""The checkpoint reader: plain tensors of the old PyTorch format, and files that want more (or
less)."""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tpuforge.compiler.errors import UserInputError
from tpuforge.tools.demo.checkpoint import MAGIC, PROTOCOL, read_checkpoint


class Ref:
    """A persistent id, or a global with arguments, as torch.save would write it."""

    def __init__(self, kind: str, *args: Any):
        self.kind, self.args = kind, args


class Named:
    """Pickles as the global module.name."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


def dump(tensors: Any, file: io.BytesIO) -> None:
    """A pickle with the globals of torch, written opcode by opcode so that torch is not needed."""
    out = [b"\x80\x02"]

    def put(x: Any) -> None:
        if isinstance(x, Named):
            out.append(b"c" + f"{x.module}\n{x.name}\n".encode())
        elif isinstance(x, Ref) and x.kind == "storage":
            put(("storage", *x.args))
            out.append(b"Q")
        elif isinstance(x, Ref):
            put(Named(*x.kind.rsplit(".", 1)))
            put(x.args)
            out.append(b"R")
        elif isinstance(x, tuple):
            out.append(b"(")
            for item in x:
                put(item)
            out.append(b"t")
        elif isinstance(x, dict):
            out.append(b"}(")
            for key, value in x.items():
                put(key)
                put(value)
            out.append(b"u")
        else:
            out.append(pickle.dumps(x, 2)[2:-1])

    put(tensors)
    file.write(b"".join([*out, b"."]))


def tensor(
    key: str = "7",
    count: int = 6,
    offset: int = 0,
    shape: Any = (2, 3),
    strides: Any = (3, 1),
    kind: str = "FloatStorage",
) -> Ref:
    storage = Ref("storage", Named("torch", kind), key, "cpu", count, None)
    return Ref(
        "torch._utils._rebuild_tensor_v2", storage, offset, shape, strides, False, OrderedDict()
    )


def checkpoint(
    path: Path, tensors: Any, stored: dict[str, np.ndarray], *, magic: int = MAGIC, keys: Any = None
) -> Path:
    file = io.BytesIO()
    for part in (
        magic,
        PROTOCOL,
        {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}},
    ):
        file.write(pickle.dumps(part, 2))
    dump(tensors, file)
    file.write(pickle.dumps(list(stored) if keys is None else keys, 2))
    for data in stored.values():
        file.write(struct.pack("<q", data.size) + data.tobytes())
    path.write_bytes(file.getvalue())
    return path


SIX = {"7": np.arange(6, dtype=np.float32)}


def test_reads_tensors(tmp_path: Path) -> None:
    tensors = {
        "a": tensor(),
        "t": tensor(shape=(3, 2), strides=(1, 3)),
        "last": tensor(offset=5, shape=(), strides=()),
        "n": tensor("8", 1, shape=(), strides=(), kind="LongStorage"),
    }
    got = read_checkpoint(
        checkpoint(tmp_path / "c.pth", tensors, SIX | {"8": np.array([9], np.int64)})
    )
    np.testing.assert_array_equal(got["a"], np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(got["t"], got["a"].T)
    assert got["last"] == 5 and got["n"] == 9 and got["n"].dtype == np.int64


BAD = [
    {"a": tensor(shape=(2, 4), strides=(3, 1))},
    {"a": tensor(offset=1)},
    {"a": tensor(offset=-1)},
    {"a": tensor(strides=(-3, 1))},
    {"a": tensor(shape=(6, 6), strides=(0, 1))},  # more elements than the storage has
    {"a": tensor(shape=(2, 2**62), strides=(0, 0))},
    {"a": tensor(shape=(2,))},
    {"a": tensor(shape=None)},
    {"a": tensor(shape=(2.0, 3))},
    {"a": tensor(count=7)},
    {"a": tensor(count=2**40)},
    {"a": tensor(), "b": tensor(count=5)},
    {"a": tensor("8")},
    {"a": 1},
    {1: tensor()},
    (1, 2),
    {"a": tensor(kind="HalfStorage")},
    {"a": Ref("os.system", "touch /tmp/x")},
    {"a": Ref("builtins.eval", "1")},
    {"a": Ref("torch._utils._rebuild_tensor", 1)},
    {"a": Ref("torch._utils._rebuild_tensor_v2", "no storage", 0, (2,), (1,))},
    {"a": Ref("storage", Named("torch", "FloatStorage"), "7", "cpu", -6, None)},
    {"a": Ref("storage", 1)},
]


@pytest.mark.parametrize("tensors", BAD)
def test_refuses_what_is_no_plain_tensor(tensors: Any, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "c.pth", tensors, SIX)
    with pytest.raises(UserInputError, match=r"c\.pth"):
        read_checkpoint(path)


def test_refuses_damaged_files(tmp_path: Path) -> None:
    good = checkpoint(tmp_path / "good.pth", {"a": tensor()}, SIX).read_bytes()
    path = tmp_path / "c.pth"
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(UserInputError):
            read_checkpoint(path)
    with pytest.raises(UserInputError, match="magic"):
        read_checkpoint(checkpoint(path, {"a": tensor()}, SIX, magic=1))
    with pytest.raises(UserInputError, match="storages"):
        read_checkpoint(checkpoint(path, {"a": tensor()}, SIX, keys=["7", "7"]))
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(UserInputError, match="damaged"):
        read_checkpoint(path)


def test_random_damage_never_escapes(tmp_path: Path) -> None:
    """1000 mutations: read, or refused with our error; nothing else."""
    good = checkpoint(
        tmp_path / "good.pth",
        {"a": tensor(), "b": tensor(offset=2, shape=(2, 2), strides=(2, 1))},
        SIX,
    ).read_bytes()
    rng = np.random.default_rng(1)
    path, refused = tmp_path / "c.pth", 0
    for _ in range(1000):
        data = bytearray(good)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_checkpoint(path)
        except UserInputError:
            refused += 1
    assert refused > 250
