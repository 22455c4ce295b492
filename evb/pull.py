"""Copy files from a board, checked by SHA-256 and complete or absent."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path

from ..compiler.errors import UserInputError
from ..compiler.fileio import atomic_output
from .errors import BoardError
from .items import sha256
from .push import _survey, remote_path
from .transport import Link, pump, quote


def pull(
    link: Link,
    places: Sequence[str],
    to: Path,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Path]:
    """Copy files of the board (absolute, or relative to its folder) into the folder `to`.

    BoardError: no such file, or it changed while it was read.
    """
    if not to.is_dir():
        raise UserInputError(f"{to}: no such folder to put files into")
    paths = [remote_path(link.board, p) for p in places]
    found = _survey(link, paths)
    done, total = 0, sum(size for _, size in found)
    results = []
    for path, (digest, size) in zip(paths, found, strict=True):
        if size < 0:
            raise BoardError(f"{link.board.name}: {path}: no such file on the board")
        target = to / posixpath.basename(path)
        with atomic_output(target) as part:
            _read(link, path, part)
            if sha256(part) != digest:
                raise BoardError(f"{link.board.name}: {path} changed while it was read; try again")
        done += size
        if progress:
            progress(done, total, "pull")
        results.append(target)
    return results


def _read(link: Link, path: str, part: Path) -> None:
    """Stream the file through `cat`: works with and without an sftp server."""
    with part.open("wb") as f:
        channel = link.channel(f"cat {quote(path)}", f"reading {path}")
        with link.guard(f"reading {path}"):
            pump(channel, f.write, None)
            if channel.recv_exit_status() < 0:
                raise EOFError
