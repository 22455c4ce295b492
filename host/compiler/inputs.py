"""Test inputs of a network from pictures, .npy and .npz files (cli.md sections 3.3, 10 and
15.6)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .calibrate.preprocess import fill_batch, load_npy
from .calibrate.samples import InputSpec, open_npz
from .errors import OptionError, UserInputError
from .fileio import atomic_output, existing_file

Note = Callable[[str], None]
Source = str | os.PathLike[str] | np.ndarray


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array of an .npz (pickles refused). UserInputError: missing or damaged."""
    with open_npz(path) as z:
        return dict(z)


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays under their names, uncompressed, complete or not at all."""
    path = Path(path)
    if path.suffix != ".npz":
        raise OptionError(f"{path}: the name of an array file ends in .npz")
    with atomic_output(path) as temporary, zipfile.ZipFile(temporary, "w") as z:
        for name, array in arrays.items():
            with z.open(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), "w") as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return path


def load_inputs(
    specs: Sequence[InputSpec], sources: Sequence[Source], note: Note | None = None
) -> dict[str, np.ndarray]:
    """Input name -> float32 array of the declared shape.

    sources: one .npz with every input (a single array is taken for a single input whatever its
    key), or one picture, .npy or array per input in the order of the network. One sample is
    repeated to the batch; an array with another batch is repeated or trimmed, and `note` says so.
    """
    first = sources[0] if sources else None
    if len(sources) == 1 and not isinstance(first, np.ndarray) and _suffix(first) == ".npz":
        return _from_npz(specs, Path(str(first)), note)
    if len(sources) != len(specs):
        names = ", ".join(s.name for s in specs)
        raise OptionError(
            f"{len(sources)} test input(s) given, the network has {len(specs)} ({names}): give one "
            "file per input, separated by commas, or one .npz with all of them"
        )
    return {s.name: _load(s, f, note) for s, f in zip(specs, sources, strict=True)}


def given_shapes(names: Sequence[str], sources: Sequence[Source]) -> dict[str, tuple[int, ...]]:
    """Input name -> shape of its array, for the inputs that are arrays or come from .npz and .npy
    files."""
    first = sources[0] if sources else None
    if len(sources) == 1 and not isinstance(first, np.ndarray) and _suffix(first) == ".npz":
        arrays = read_npz(str(first))
        if len(arrays) == len(names) == 1:
            arrays = {names[0]: next(iter(arrays.values()))}
        return {n: arrays[n].shape for n in names if n in arrays}
    shapes = {}
    for name, source in zip(names, sources, strict=False):
        if isinstance(source, np.ndarray):
            shapes[name] = source.shape
        elif _suffix(source) == ".npy":
            shapes[name] = load_npy(source).shape
    return shapes


def _suffix(source: object) -> str:
    return Path(str(source)).suffix.lower()


def _from_npz(specs: Sequence[InputSpec], path: Path, note: Note | None) -> dict[str, np.ndarray]:
    arrays = read_npz(path)
    if len(arrays) == len(specs) == 1:
        arrays = {specs[0].name: next(iter(arrays.values()))}
    missing = [s.name for s in specs if s.name not in arrays]
    if missing:
        held = ", ".join(list(arrays)[:8]) or "nothing"
        raise UserInputError(f"{path}: no array named {', '.join(missing)}; it holds {held}")
    return {s.name: fit(arrays[s.name], s, str(path), note) for s in specs}


def _load(spec: InputSpec, source: Source, note: Note | None) -> np.ndarray:
    if isinstance(source, np.ndarray):
        return fit(source, spec, "the given array", note)
    existing_file(source, f"test input for {spec.name!r}")
    if _suffix(source) == ".npy":
        return fit(load_npy(source), spec, str(source), note)
    if _suffix(source) == ".npz":
        return _from_npz([spec], Path(source), note)[spec.name]
    if spec.preprocess is None:
        raise UserInputError(
            f"{source}: input {spec.name!r} {list(spec.shape)} is not a picture; give .npy or .npz"
        )
    return fill_batch(spec.preprocess.load(source), spec.shape[0])


def fit(array: np.ndarray, spec: InputSpec, where: str, note: Note | None = None) -> np.ndarray:
    """The array as float32 of the declared shape; dimension 0 is repeated or trimmed (section
    3.3)."""
    shape = spec.shape
    if array.dtype.kind not in "fiub":
        raise UserInputError(f"{where}: input {spec.name!r} holds {array.dtype}, not numbers")
    if array.shape == shape[1:]:
        array = array[None]
    if array.shape[1:] != shape[1:] or array.ndim != len(shape) or 0 in array.shape:
        raise UserInputError(
            f"{where}: input {spec.name!r} has the shape {list(array.shape)}, "
            f"the network takes {list(shape)}"
        )
    if array.shape[0] != shape[0]:
        if note:
            note(f"{where}: batch {array.shape[0]} of {spec.name!r} made {shape[0]}, the network's")
        array = np.resize(array, shape)
    return np.ascontiguousarray(array, np.float32)
