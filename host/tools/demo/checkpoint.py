"""Read a PyTorch checkpoint (the format before 1.6) without torch and without running what it says.

The file is five pickles (magic number, protocol, system, the object, the list of storage keys)
followed, for each key, by an int64 element count and the little-endian elements. The object is a
dict of tensors; a tensor is a reference to a storage with offset, shape and strides. The unpickler
knows four names and refuses every other one, so a hostile file can not call anything; counts,
offsets and strides are checked against the storage before memory is touched.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.errors import UserInputError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
LARGEST_FILE = 1 << 30
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


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


class _Unpickler(pickle.Unpickler):
    """Knows an ordered dict, two storage types and the tensor record; everything else is
    refused."""

    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _DTYPES:
            return name
        raise UserInputError(
            f"the file asks for {module}.{name}, which no checkpoint of plain tensors needs"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """('storage', type, key, device, count, view): a storage shared by every tensor that names
        its key."""
        shaped = isinstance(pid, tuple) and len(pid) == 6 and pid[0] == "storage" and pid[5] is None
        if (
            not shaped
            or pid[1] not in _DTYPES
            or not isinstance(pid[2], str)
            or type(pid[4]) is not int
        ):
            raise UserInputError("a storage description is damaged")
        if not 0 < pid[4] <= LARGEST_FILE:
            raise UserInputError(f"storage {pid[2]}: {pid[4]} elements")
        storage = _Storage(pid[2], _DTYPES[pid[1]], pid[4])
        known = self.storages.setdefault(pid[2], storage)
        if (known.dtype, known.count) != (storage.dtype, storage.count):
            raise UserInputError(f"storage {pid[2]} is described in two ways")
        return known


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Name -> array (float32 or int64) of every tensor. UserInputError: not such a file, damaged,
    or more than tensors."""
    path = Path(path)
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise UserInputError(
            f"{path}: {size} bytes, more than the {LARGEST_FILE} a checkpoint may have"
        )
    with path.open("rb") as file:
        try:
            return _read(file, size)
        except UserInputError as e:
            raise UserInputError(f"{path}: not a checkpoint of plain tensors: {e}") from None
        except MemoryError:
            raise
        except Exception as e:  # a damaged pickle can raise nearly anything
            raise UserInputError(f"{path}: damaged checkpoint ({type(e).__name__}: {e})") from None


def _read(file: Any, size: int) -> dict[str, np.ndarray]:
    if _Unpickler(file).load() != MAGIC or _Unpickler(file).load() != PROTOCOL:
        raise UserInputError("wrong magic number (only the format before PyTorch 1.6 is read)")
    system = _Unpickler(file).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UserInputError("not little-endian")
    unpickler = _Unpickler(file)
    tensors = unpickler.load()
    if not isinstance(tensors, dict) or not all(
        isinstance(k, str) and isinstance(v, _Tensor) for k, v in tensors.items()
    ):
        raise UserInputError("its object is no dict of tensors")
    keys = _Unpickler(file).load()
    if (
        not isinstance(keys, list)
        or set(keys) != set(unpickler.storages)
        or len(keys) != len(set(keys))
    ):
        raise UserInputError("its storages are not those that the tensors name")
    for key in keys:
        storage = unpickler.storages[key]
        storage.data = _read_storage(file, storage, size)
    return {name: tensor.array(name) for name, tensor in tensors.items()}


def _read_storage(file: Any, storage: _Storage, size: int) -> np.ndarray:
    head = file.read(8)
    count = int.from_bytes(head, "little", signed=True)
    if (
        len(head) != 8
        or count != storage.count
        or count * storage.dtype.itemsize > size - file.tell()
    ):
        raise UserInputError(
            f"storage {storage.key}: {count} elements stored, {storage.count} described"
        )
    return np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype)
