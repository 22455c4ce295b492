"""Which samples calibrate the network, and reading them one batch at a time (cli.md section
4.2).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import OptionError, UserInputError
from ..fileio import DAMAGED_ARRAYS, existing_file
from .preprocess import IMAGE_EXTENSIONS, Preprocess, as_batch_one, load_npy

EXTENSIONS = frozenset({"npz", "npy", "yuv"}) | IMAGE_EXTENSIONS
SEED = 1684

#: one sample: one file per network input, or a single .npz with every input by name
Sample = tuple[str, ...]


@dataclass(frozen=True)
class InputSpec:
    """A network input: name, shape with batch, and how to make it from a picture (None: only .npy
    and .npz).
    """

    name: str
    shape: tuple[int, ...]
    preprocess: Preprocess | None = None


def select(
    dataset: str | os.PathLike[str], input_num: int = 0, warn: Callable[[str], None] | None = None
) -> list[Sample]:
    """Files below `dataset`: sorted path strings, shuffled with seed 1684, the first input_num (0:
    all) of them.
    """
    root = os.fspath(dataset)
    if not os.path.isdir(root):
        raise UserInputError(
            f"{root}: no such folder; give the folder with the calibration samples"
        )
    found = sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if _extension(name) in EXTENSIONS
    )
    if not found:
        raise UserInputError(
            f"{root}: no samples in this folder (looked for {', '.join(sorted(EXTENSIONS))})"
        )
    random.Random(SEED).shuffle(found)
    return _first([(f,) for f in found], input_num, root, warn)


def read_list(
    path: str | os.PathLike[str], input_num: int = 0, warn: Callable[[str], None] | None = None
) -> list[Sample]:
    """A text file with one sample a line, several inputs separated by commas; in the order of the
    file.

    Relative names are looked up from the working folder first, then beside the list.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UserInputError(f"{path}: the sample list cannot be read ({e})") from None
    if "\0" in text:
        raise UserInputError(f"{path}: a null byte in the sample list; it must be plain text")
    beside = os.path.dirname(os.fspath(path))
    samples: list[Sample] = []
    for line in text.splitlines():
        names = [n.strip() for n in line.split(",") if n.strip()]
        if names and not names[0].startswith("#"):
            samples.append(
                tuple(
                    n if os.path.exists(n) else _if_there(os.path.join(beside, n), n) for n in names
                )
            )
    if not samples:
        raise UserInputError(f"{path}: the sample list is empty")
    return _first(samples, input_num, os.fspath(path), warn)


def _first(
    samples: list[Sample], count: int, where: str, warn: Callable[[str], None] | None
) -> list[Sample]:
    if count < 0:
        raise OptionError(f"input_num is {count}: 0 (all) or more")
    if count > len(samples) and warn:
        warn(f"{where} holds {len(samples)} samples, {count} were asked for: using {len(samples)}")
    chosen = samples[:count] if count else samples
    kinds = {_kind(f) for sample in chosen for f in sample}
    if len(kinds) > 1:
        raise UserInputError(
            f"{where}: mixes {' and '.join(sorted(kinds))}; "
            "calibrate with one kind of file at a time"
        )
    return chosen


def _if_there(path: str, otherwise: str) -> str:
    return path if os.path.exists(path) else otherwise


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower().lstrip(".")


def _kind(name: str) -> str:
    ext = _extension(name)
    return f".{ext} files" if ext in ("npy", "npz", "yuv") else "pictures"


class SampleReader:
    """Batches of samples, read one at a time: iterating gives dicts input name -> float32 array (n,
    ...).

    Samples are grouped by the batch size of the network; the last group is filled by repeating its
    last sample. A sample that cannot be read is skipped with a warning that names the file, or ends
    the run when `strict`. used: the samples that were read, in order.
    """

    def __init__(
        self,
        inputs: Sequence[InputSpec],
        samples: Sequence[Sample],
        *,
        strict: bool = False,
        warn: Callable[[str], None] | None = None,
    ):
        if not samples:
            raise UserInputError("there are no calibration samples")
        self.inputs, self.samples, self.strict = tuple(inputs), list(samples), strict
        self.warn = warn or (lambda text: None)
        self.batch = inputs[0].shape[0] if inputs[0].shape else 1
        self.used: list[Sample] = []

    def __len__(self) -> int:
        """Batches if every sample can be read."""
        return -(-len(self.samples) // self.batch)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        self.used = []
        group: list[dict[str, np.ndarray]] = []
        for sample in self.samples:
            try:
                one = self.load(sample)
            except UserInputError as e:
                if self.strict:
                    raise
                self.warn(f"skipped: {e}")
                continue
            self.used.append(sample)
            if next(iter(one.values())).shape[0] == self.batch:
                yield one
                continue
            group.append(one)
            if len(group) == self.batch:
                yield _stack(group)
                group = []
        if group:
            yield _stack(group + [group[-1]] * (self.batch - len(group)))
        if not self.used:
            raise UserInputError(
                f"none of the {len(self.samples)} calibration samples could be read"
            )

    def load(self, sample: Sample) -> dict[str, np.ndarray]:
        """One sample: arrays with batch 1, or with the whole batch when an .npz stores it."""
        if len(sample) == 1 and _extension(sample[0]) == "npz":
            return load_npz(sample[0], self.inputs)
        if len(sample) != len(self.inputs):
            names = ", ".join(i.name for i in self.inputs)
            raise OptionError(
                f"{','.join(sample)}: {len(sample)} files for {len(self.inputs)} inputs ({names})"
            )
        return {spec.name: _load_file(spec, f) for spec, f in zip(self.inputs, sample, strict=True)}


def _stack(group: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {k: np.concatenate([one[k] for one in group]) for k in group[0]}


def _load_file(spec: InputSpec, path: str) -> np.ndarray:
    if _extension(path) == "npy":
        return _fit(load_npy(path), spec, path)
    if _extension(path) == "npz":
        return load_npz(path, [spec])[spec.name]
    if spec.preprocess is None:
        raise UserInputError(
            f"{path}: input {spec.name!r} is not a picture; give .npy or .npz samples"
        )
    return spec.preprocess.load(path)


def _fit(array: np.ndarray, spec: InputSpec, where: str) -> np.ndarray:
    if array.shape == spec.shape and array.dtype.kind in "fiub":
        return np.ascontiguousarray(array, np.float32)
    return as_batch_one(array, spec.shape, f"{where}, input {spec.name!r}")


def load_npz(path: str | os.PathLike[str], inputs: Sequence[InputSpec]) -> dict[str, np.ndarray]:
    """Every input by name from an .npz; a single array is taken for a single input whatever its key
    (section 15.6).
    """
    with open_npz(path) as z:
        names = list(z)
        lone = len(names) == 1 and len(inputs) == 1
        missing = [] if lone else [i.name for i in inputs if i.name not in names]
        if missing:
            held = ", ".join(names) or "nothing"
            raise UserInputError(f"{path}: no array named {', '.join(missing)}; it holds {held}")
        return {i.name: _fit(z[names[0] if lone else i.name], i, str(path)) for i in inputs}


@contextmanager
def open_npz(path: str | os.PathLike[str]) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of an .npz, read when they are asked for (pickles refused). UserInputError:
    missing or damaged.
    """
    with existing_file(Path(path), "an .npz file with arrays").open("rb") as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise UserInputError(f"{path}: a single array (.npy), not an .npz file")
            yield loaded
        except DAMAGED_ARRAYS as e:
            raise UserInputError(f"{path}: not a readable .npz file ({e})") from None
