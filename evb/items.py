"""What is pushed: local files with their places on the board."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..compiler.errors import UserInputError


@dataclass(frozen=True)
class Item:
    """One file: `remote` is relative to the board's folder, or absolute."""

    local: Path
    remote: str
    mode: int = 0o644

    def size(self) -> int:
        return self.local.stat().st_size


def sha256(path: Path, length: int | None = None) -> str:
    """Hash of a file, or of its first `length` bytes."""
    digest, left = hashlib.sha256(), length if length is not None else 1 << 62
    with path.open("rb") as f:
        while left and (block := f.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def collect(sources: Sequence[str | Path], to: str = "") -> list[Item]:
    """Items of files and folders. A folder is taken with its contents, under its own name.

    `to` is the folder on the board (relative to the board's folder). UserInputError: missing files
    and two files with the same place.
    """
    items: list[Item] = []
    for source in map(Path, sources):
        if source.is_dir():
            base = source.resolve().name
            for path in sorted(p for p in source.rglob("*") if p.is_file()):
                items.append(_item(path, "/".join([base, *path.relative_to(source).parts]), to))
        elif source.is_file():
            items.append(_item(source, source.name, to))
        else:
            raise UserInputError(f"{source}: no such file or folder to push")
    places = [i.remote for i in items]
    twice = sorted({p for p in places if places.count(p) > 1})
    if twice:
        raise UserInputError(f"two files would be pushed to {twice[0]}: rename one")
    return items


def _item(path: Path, name: str, to: str) -> Item:
    if "\n" in name:
        raise UserInputError(f"{path!s}: names with a line break can not be pushed")
    mode = 0o755 if os.access(path, os.X_OK) else 0o644
    return Item(path, f"{to.rstrip('/')}/{name}" if to else name, mode)
