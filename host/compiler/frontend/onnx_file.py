"""Reading an ONNX file that nobody has checked: protobuf, initializers, data in side files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from ..errors import UnsupportedError, UserInputError

OLDEST, NEWEST = 7, 22  # opsets


def read_model(
    source: str | Path | bytes | onnx.ModelProto,
) -> tuple[onnx.ModelProto, str, Path | None]:
    """The model, the words by which errors call it, and the folder of its side files (None: it came
    from memory).
    """
    if isinstance(source, onnx.ModelProto):
        return source, "the model", None
    if isinstance(source, bytes):
        return _parse(source, "the model"), "the model", None
    path = Path(source)
    if path.is_dir():
        raise UserInputError(f"{path} is a folder, not an ONNX file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserInputError(f"{path}: no such file") from None
    except OSError as e:
        raise UserInputError(f"{path} can not be read: {e.strerror or e}") from None
    return _parse(data, str(path)), str(path), path.parent


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise UserInputError(f"{where} is empty")
    if data[:4] == b"PK\x03\x04":
        raise UserInputError(
            f"{where} is a zip archive (a PyTorch or numpy file?), not an ONNX model"
        )
    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError) as e:
        raise UserInputError(
            f"{where} is not an ONNX model, or it is truncated or damaged: {e}"
        ) from None
    if not model.HasField("graph") or not model.graph.output:
        raise UserInputError(
            f"{where} is not an ONNX model, or it is truncated: it has no graph with outputs"
        )
    return model


def opset_of(model: onnx.ModelProto, where: str) -> int:
    """Version of the standard operator set; UnsupportedError outside 7..22."""
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    version = max(versions, default=1)
    if not OLDEST <= version <= NEWEST:
        raise UnsupportedError(
            f"{where} uses operator set {version}; supported are {OLDEST} to {NEWEST}: export the "
            "model again with one of them, for example opset_version=13"
        )
    return version


def tensor_array(t: onnx.TensorProto, where: str, folder: Path | None) -> np.ndarray:
    """The numbers of a tensor. UserInputError if sizes contradict each other or a side file lacks
    them.
    """
    name = f"{where}: tensor {t.name!r}"
    if any(d < 0 for d in t.dims):
        raise UserInputError(f"{name} has the impossible shape {list(t.dims)}")
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(t.data_type))
    except (KeyError, TypeError, ValueError):
        raise UserInputError(f"{name} has the unknown element type {t.data_type}") from None
    if dtype.kind not in "fiubV":  # V: bfloat16 and smaller floats
        raise UserInputError(f"{name} holds {dtype}, not real numbers")
    if t.data_location == TensorProto.EXTERNAL:
        return _external(t, name, folder, dtype)
    if (
        t.HasField("raw_data")
        and dtype.kind in "fiub"
        and len(t.raw_data) != math.prod(t.dims) * dtype.itemsize
    ):
        raise UserInputError(
            f"{name} of the shape {list(t.dims)} needs {math.prod(t.dims) * dtype.itemsize} bytes, "
            f"the file has {len(t.raw_data)}"
        )
    try:
        return numpy_helper.to_array(t)
    except Exception as e:  # whatever a damaged tensor makes numpy say
        raise UserInputError(f"{name} is damaged: {e}") from None


def _external(
    t: onnx.TensorProto, name: str, folder: Path | None, dtype: np.dtype[Any]
) -> np.ndarray:
    entry = {e.key: e.value for e in t.external_data}
    location = entry.get("location", "")
    if folder is None:
        raise UserInputError(
            f"{name} lies in the side file {location!r}, but the model was given without its folder"
        )
    path, base = (folder / location).resolve(), folder.resolve()
    if not location or base not in path.parents:
        raise UserInputError(
            f"{name} points to {location!r}, which is not a file in the folder of the model"
        )
    size = math.prod(t.dims) * dtype.itemsize
    try:
        offset, length = int(entry.get("offset", 0)), int(entry.get("length", size))
    except ValueError:
        raise UserInputError(f"{name}: offset or length in its side file is not a number") from None
    if length != size or offset < 0:
        raise UserInputError(
            f"{name} of the shape {list(t.dims)} needs {size} bytes; its entry says {length} "
            f"at {offset}"
        )
    try:
        with path.open("rb") as f:
            f.seek(0, 2)
            if offset + size > f.tell():
                raise UserInputError(
                    f"{name} needs bytes {offset} to {offset + size} of {location}, which has "
                    f"{f.tell()}"
                )
            f.seek(offset)
            return (
                np.frombuffer(f.read(size), dtype.newbyteorder("<"))
                .astype(dtype, copy=False)
                .reshape(tuple(t.dims))
            )
    except OSError as e:
        raise UserInputError(
            f"{name}: its side file {location} can not be read: {e.strerror or e}"
        ) from None
