"""The exceptions of the board tools; each message says what to do next."""

from ..compiler.errors import TpuforgeError


class BoardError(TpuforgeError):
    """The board answered, but can not do what was asked."""


class LinkError(BoardError):
    """The board can not be reached, or the connection was lost."""


class HostKeyError(BoardError):
    """The board's host key is unknown or not the pinned one; nothing was sent to it."""


class NoSpaceError(BoardError):
    """The file system of the board is full."""


class BusyError(BoardError):
    """Another push to the same folder of the board is running."""
