"""Files appear complete or not at all: written under a temporary name beside, then renamed.

Also what reading a damaged file of arrays raises."""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserInputError

#: what numpy and zipfile raise for a damaged .npy or .npz file
DAMAGED_ARRAYS = (
    OSError, ValueError, EOFError, KeyError, SyntaxError, RuntimeError, OverflowError,
    struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def check_output(path: str | Path) -> Path:
    """The path, if a file can be written there; for a look before long work.

    UserInputError: its folder does not exist or is not writable, or the path is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UserInputError(f"{path}: this is a folder; give the name of a file to write")
    if not path.parent.is_dir():
        raise UserInputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise UserInputError(f"{path}: the folder {path.parent} is not writable")
    return path


@contextmanager
def atomic_output(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix).

    It is renamed to `path` on success and deleted on any exception.
    UserInputError: that of check_output; the disk is full.
    """
    path = check_output(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as e:
        if e.filename not in (None, str(temporary)):
            raise  # another file, read meanwhile
        raise UserInputError(f"{path} can not be written: {e.strerror or e}") from e
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a whole file atomically; returns its path."""
    with atomic_output(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Write a whole UTF-8 text file with LF line ends atomically; returns its path."""
    return write_bytes(path, text.encode())


def existing_file(path: str | os.PathLike[str], what: str) -> Path:
    """The path if it is a readable file; otherwise UserInputError says what it should have been."""
    path = Path(path)
    if not path.exists():
        raise UserInputError(
            f"{path}: no such file ({what}); check the name, paths are relative to {Path.cwd()}"
        )
    if not path.is_file():
        raise UserInputError(f"{path}: not a file ({what})")
    if not os.access(path, os.R_OK):
        raise UserInputError(f"{path}: not readable ({what})")
    return path
