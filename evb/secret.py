"""Where a password comes from. It is never written to a log, a message or a command line."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from ..compiler.errors import UserInputError
from .board import Board


def password_of(board: Board) -> str:
    """The password of a board by its `password` field: prompt, env:NAME, file:PATH or none."""
    kind, _, rest = board.password.partition(":")
    if kind == "none":
        return ""
    if kind == "env":
        if rest not in os.environ:
            raise UserInputError(f"board {board.name!r}: environment variable {rest} is not set")
        return os.environ[rest]
    if kind == "file":
        try:
            return Path(rest).expanduser().read_text().rstrip("\n")
        except OSError as e:
            raise UserInputError(f"board {board.name!r}: {rest}: {e.strerror}") from None
    if not sys.stdin.isatty():
        raise UserInputError(
            f"board {board.name!r}: a password is needed and there is no terminal to ask on; "
            'put a key (key = "FILE") or password = "env:NAME" into its description'
        )
    return getpass.getpass(f"password of {board.address()}: ")
