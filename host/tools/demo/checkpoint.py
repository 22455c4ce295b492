"""Read a PyTorch checkpoint (the format before 1.6) without torch and without running what it says.

The file is five pickles (magic number, protocol, system, the object, the list of storage keys)
followed, for each key, by an int64 element count and the little-endian elements. The object is a
dict of tensors; a tensor is a reference to a storage with offset, shape and strides. The pickles
are read by plain_pickle, which runs nothing; counts, offsets and strides are checked against the
storage before memory is touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.errors import UserInputError
from .plain_pickle import Global, PlainUnpickler

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
LARGEST_FILE = 1 << 30
_DTYPES: dict[str, np.dtype] = {
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.LongStorage": np.dtype("<i8"),
}


class _Storage:
    """A storage named in the pickle: key, element type and count; `data` comes after the
    pickles."""

    def __init__(self, key: str, dtype: np.dtype, count: int):
        self.key, self.dtype, self.count = key, dtype, count
        self.data: np.ndarray | None = None


class _Tensor:
    """Arguments of torch._utils._rebuild_tensor_v2, kept until the storages have been read."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self, name: str) -> np.ndarray:
        """A contiguous copy; UserInputError if any element lies outside the storage."""
        shape, strides, s = self.shape, self.strides, self.storage
        sizes_ok = (
            isinstance(s, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple)
        )
        if not sizes_ok or len(shape) != len(strides) or len(shape) > 8:
            raise UserInputError(f"tensor {name!r}: its description is damaged")
        numbers = (self.offset, *shape, *strides)
        if any(type(n) is not int or n < 0 or n > LARGEST_FILE for n in numbers) or 0 in shape:
            raise UserInputError(f"tensor {name!r}: offset, shape or strides are out of range")
        last = self.offset + sum((d - 1) * t for d, t in zip(shape, strides, strict=True))
        count = 1
        for d in shape:
            count *= d
        if s.data is None or last >= s.count or count > s.count:
            raise UserInputError(
                f"tensor {name!r}: reads beyond the {s.count} elements of its storage {s.key}"
            )
        byte_strides = tuple(t * s.dtype.itemsize for t in strides)
        view = np.lib.stride_tricks.as_strided(
            s.data[self.offset :], shape, byte_strides, writeable=False
        )
        return np.ascontiguousarray(view)


class _Objects:
    """What the pickle's names stand for: an ordered dict, tensors, storages; everything else is
    refused."""

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}

    def make(self, name: str, args: tuple) -> Any:
        if name == "collections.OrderedDict" and args == ():
            return {}
        if name == "torch._utils._rebuild_tensor_v2" and 4 <= len(args) <= 8:
            return _Tensor(*args)
        raise UserInputError(f"the file asks for {name}, which no dict of tensors needs")

    def persistent(self, pid: Any) -> _Storage:
        """('storage', type, key, device, count, view): a storage shared by all tensors that name
        its key."""
        shaped = isinstance(pid, tuple) and len(pid) == 6 and pid[0] == "storage" and pid[5] is None
        if not shaped or not isinstance(pid[1], Global) or pid[1].name not in _DTYPES:
            raise UserInputError(
                "a storage description is damaged, or of another type than float32 and int64"
            )
        key, count = pid[2], pid[4]
        if not isinstance(key, str) or type(count) is not int or not 0 < count <= LARGEST_FILE:
            raise UserInputError("a storage description is damaged")
        storage = _Storage(key, _DTYPES[pid[1].name], count)
        known = self.storages.setdefault(key, storage)
        if (known.dtype, known.count) != (storage.dtype, storage.count):
            raise UserInputError(f"storage {key} is described in two ways")
        return known


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Name -> array (float32 or int64) of every tensor.

    UserInputError: not such a file, damaged, or holding more than a dict of tensors.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise UserInputError(
            f"{path}: {size} bytes, more than the {LARGEST_FILE} a checkpoint may have"
        )
    try:
        return _read(path.read_bytes())
    except UserInputError as e:
        raise UserInputError(f"{path}: not a checkpoint of plain tensors: {e}") from None


def _read(data: bytes) -> dict[str, np.ndarray]:
    objects = _Objects()
    pickles = PlainUnpickler(data, objects.make, objects.persistent)
    if pickles.load() != MAGIC or pickles.load() != PROTOCOL:
        raise UserInputError("wrong magic number (only the format before PyTorch 1.6 is read)")
    system = pickles.load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UserInputError("not little-endian")
    tensors = pickles.load()
    if not isinstance(tensors, dict) or not all(
        isinstance(k, str) and isinstance(v, _Tensor) for k, v in tensors.items()
    ):
        raise UserInputError("its object is no dict of tensors")
    keys = pickles.load()
    if (
        not isinstance(keys, list)
        or not all(isinstance(k, str) for k in keys)
        or sorted(keys) != sorted(objects.storages)
    ):
        raise UserInputError("its storages are not those that the tensors name")
    at = pickles.at
    for key in keys:
        at = _read_storage(data, at, objects.storages[key])
    return {name: tensor.array(name) for name, tensor in tensors.items()}


def _read_storage(data: bytes, at: int, storage: _Storage) -> int:
    """Take the elements of a storage at byte `at`; returns the byte behind them."""
    count = int.from_bytes(data[at : at + 8], "little", signed=True)
    end = at + 8 + storage.count * storage.dtype.itemsize
    if count != storage.count or end > len(data):
        raise UserInputError(
            f"storage {storage.key}: {count} elements stored, {storage.count} described"
        )
    storage.data = np.frombuffer(data, storage.dtype, count, at + 8)
    return end
