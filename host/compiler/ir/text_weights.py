"""The .npz beside a .mlir file: one array per constant, keys are tensor names. Written
byte-identically for equal content.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from ..errors import UserInputError
from ..fileio import DAMAGED_ARRAYS
from .types import DTYPES, TensorType

_HEADER_LIMIT = 4096  # bytes of an .npy header that we accept


def write_npz(file: BinaryIO, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Store the arrays, uncompressed, in this order, without time stamps."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as z:
        for name, data in arrays:
            info = zipfile.ZipInfo(name + ".npy")  # its time is 1980-01-01
            header = io.BytesIO()
            data = np.ascontiguousarray(data)
            np.lib.format.write_array_header_1_0(
                header, np.lib.format.header_data_from_array_1_0(data)
            )
            with z.open(info, "w", force_zip64=data.nbytes > 1 << 30) as f:
                f.write(header.getvalue())
                f.write(data.reshape(-1).view(np.uint8).data)


class WeightFile:
    """Reads arrays of an untrusted .npz, only those asked for, only of the expected size. A context
    manager.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
            self.sizes = {i.filename: i.file_size for i in self.zip.infolist()}
        except FileNotFoundError:
            raise UserInputError(
                f"{path} is missing: it holds the weights of the .mlir file and must lie beside it"
            ) from None
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as e:
            raise UserInputError(f"{path} is not an .npz file, or it is damaged: {e}") from None

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.zip.close()

    def __contains__(self, name: str) -> bool:
        return name + ".npy" in self.sizes

    def get(self, name: str, type: TensorType) -> np.ndarray:
        """The constant `name`; UserInputError if it is missing, damaged, not of that type or not
        finite."""
        what = f"{self.path}: the constant {name!r}"
        key = name + ".npy"
        if key not in self.sizes:
            raise UserInputError(f"{what} is missing")
        if self.sizes[key] > type.nbytes + _HEADER_LIMIT:
            raise UserInputError(f"{what} has {self.sizes[key]} bytes, {type} needs {type.nbytes}")
        try:
            data = _parse_npy(self.zip.read(key))
        except DAMAGED_ARRAYS as e:
            raise UserInputError(f"{what} is damaged: {e}") from None
        if data.dtype != DTYPES[type.dtype] or data.size != type.count:
            raise UserInputError(
                f"{what} is {data.dtype} of the shape {list(data.shape)}, the .mlir file says "
                f"{type}"
            )
        if not np.isfinite(data).all():
            raise UserInputError(f"{what} contains NaN or infinity")
        return data.reshape(type.shape)


def _parse_npy(raw: bytes) -> np.ndarray:
    f = io.BytesIO(raw)
    version = np.lib.format.read_magic(f)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read(f)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    data = np.frombuffer(raw, dtype, offset=f.tell())
    if data.size != np.prod(shape, dtype=np.int64):
        raise ValueError("its size does not fit its shape")
    data = np.ascontiguousarray(data.reshape(shape, order="F" if fortran else "C"))
    return data.astype(dtype.newbyteorder("="), copy=False)
