"""Append bytes to a file on the board: over SFTP, or through `cat` without an sftp server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .errors import BoardError, NoSpaceError
from .transport import Link, quote


class SftpWriter:
    """Every write waits for its answer: paramiko's pipelined writes lose errors."""

    block = 32768

    def __init__(self, link: Link, path: str, offset: int):
        self.link, self.path = link, path
        with _explained(link, path):
            self.file = link.sftp().open(path, "r+b" if offset else "wb")
            self.file.seek(offset)

    def __call__(self, data: bytes) -> None:
        with _explained(self.link, self.path):
            self.file.write(data)

    def close(self) -> None:
        with _explained(self.link, self.path):
            self.file.close()


class CatWriter:
    """`cat >> file` on the board; its exit code says whether everything was written."""

    block = 32768

    def __init__(self, link: Link, path: str, offset: int):
        self.link, self.path = link, path
        sign = ">>" if offset else ">"
        self.channel = link.channel(f"cat {sign} {quote(path)}", "starting a transfer")

    def __call__(self, data: bytes) -> None:
        with _explained(self.link, self.path):
            self.channel.sendall(data)

    def close(self) -> None:
        with _explained(self.link, self.path):
            self.channel.shutdown_write()
            code = self.channel.recv_exit_status()
            if code < 0:
                raise EOFError
        if code:
            raise _write_error(self.link, self.path, f"`cat` ended with exit {code}")


@contextlib.contextmanager
def open_writer(link: Link, path: str, offset: int) -> Iterator[Any]:
    """A callable with attribute `block`: append to `path`, whose first `offset` bytes are kept.

    NoSpaceError: the file system is full; LinkError: connection lost.
    """
    writer = (SftpWriter if link.sftp() is not None else CatWriter)(link, path, offset)
    try:
        yield writer
    except BaseException:
        with contextlib.suppress(Exception):
            writer.close()
        raise
    writer.close()


@contextlib.contextmanager
def _explained(link: Link, path: str) -> Iterator[None]:
    """Errors of the transfer: connection lost, or the board's file system refused."""
    with link.guard(f"sending {path}"):
        try:
            yield
        except OSError as e:
            if not link.transport.is_active() or link.lost:
                raise EOFError(str(e)) from None
            raise _write_error(link, path, str(e) or "the board refused") from None


def _write_error(link: Link, path: str, reason: str) -> BoardError:
    """NoSpaceError when df says so, otherwise what the board said."""
    row = link.execute(f"df -Pk $(dirname {quote(path)}) | tail -n 1").text().rsplit(None, 5)
    if len(row) == 6 and row[3].isdigit() and int(row[3]) < 64:
        return NoSpaceError(
            f"{link.board.name}: {row[5]} is full: {path} could not be written; the old files are "
            "untouched and the new part was removed. Remove files on the board and push again"
        )
    return BoardError(f"{link.board.name}: {path} could not be written: {reason}")
