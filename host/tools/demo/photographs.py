"""Photographs for the demo (of an installed package, or the user's folder) and the names of the
ImageNet classes."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from ...compiler.errors import UserInputError

PACKAGE = "foolbox"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
#: foolbox names its photographs imagenet_<number>_<class>.jpg
_CLASS_IN_NAME = re.compile(r"imagenet_\d+_(\d+)\.jpg")
_SYNSET_IN_NAME = re.compile(r"(n\d{8})_")


@dataclass(frozen=True)
class Photograph:
    """A picture file; label: index of its ImageNet class where the file name tells it."""

    path: Path
    label: int | None = None


@lru_cache
def _labels() -> tuple[tuple[str, str], ...]:
    text = resources.files(__package__).joinpath("../data/imagenet_labels.txt").read_text("utf-8")
    return tuple((line[:9], line[10:]) for line in text.splitlines())


def class_name(index: int) -> str:
    """The first name of an ImageNet class (0..999)."""
    return _labels()[index][1]


def packaged() -> list[Photograph]:
    """The ImageNet photographs inside the installed package, by file name (the package is not
    imported)."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = []
    for f in files:
        match = _CLASS_IN_NAME.fullmatch(f.name)
        if match and Path(str(f.locate())).is_file():
            found.append(Photograph(Path(str(f.locate())), int(match[1])))
    if not found:
        raise UserInputError(
            "the demo's photographs are not installed: pip install 'tpuforge[demo]' "
            f"(package {PACKAGE}), or give a folder of your own with --images"
        )
    return sorted(found, key=lambda p: p.path.name)


def in_folder(folder: Path) -> list[Photograph]:
    """The picture files in a folder, by name; a name that begins with a synset (n01440764_…) gives
    the label."""
    if not folder.is_dir():
        raise UserInputError(f"{folder}: no such folder of photographs")
    numbers = {synset: i for i, (synset, _) in enumerate(_labels())}
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            match = _SYNSET_IN_NAME.match(path.name)
            found.append(Photograph(path, numbers.get(match[1]) if match else None))
    if not found:
        raise UserInputError(f"{folder}: no picture in this folder ({', '.join(SUFFIXES)})")
    return found


def split(
    photographs: list[Photograph], shown: int = 8
) -> tuple[list[Photograph], list[Photograph]]:
    """(for calibration, to be classified): disjoint when there are enough, so that the result is an
    honest one.

    At most `shown` and a third of the photographs are kept out of the calibration, evenly spread;
    with fewer than three, all are used for both.
    """
    held_out = min(shown, len(photographs) // 3)
    if held_out == 0:
        return photographs, photographs
    chosen = {(2 * i + 1) * len(photographs) // (2 * held_out) for i in range(held_out)}
    return (
        [p for i, p in enumerate(photographs) if i not in chosen],
        [p for i, p in enumerate(photographs) if i in chosen],
    )
