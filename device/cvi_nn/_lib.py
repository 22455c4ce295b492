"""Finding and loading libcviruntime: ours or a vendor's."""

import os
import threading
from pathlib import Path
from typing import Any

from cvi_nn._cviruntime_cffi import ffi
from cvi_nn.errors import CviError, LibraryNotFound

LIBRARY_VARIABLE = "CVI_NN_LIB"
_FILE_NAME = "libcviruntime.so"
_QUIET = 2  # failures arrive as exceptions, so the library need not print them

_loaded: dict[str, "Library"] = {}
_lock = threading.Lock()


class Library:
    """A loaded libcviruntime. `c` has the functions; `ours` tells whether it is tpuforge's."""

    def __init__(self, path: str) -> None:
        try:
            self.c: Any = ffi.dlopen(path)
        except OSError as error:
            raise LibraryNotFound(
                f"can not load the runtime library '{path}': {error}. Build it with "
                f"'cmake -S . -B build && cmake --build build', or name another one in the "
                f"environment variable {LIBRARY_VARIABLE}."
            ) from error
        self.path = path
        try:
            self._last_error = self.c.CVI_NN_GetLastError
        except (AttributeError, ffi.error):  # a vendor library
            self._last_error = None
        self.ours = self._last_error is not None
        if self.ours and "CVI_NN_LOG" not in os.environ:
            self.c.CVI_NN_Global_SetLogLevel(_QUIET)

    def last_error(self) -> str:
        """Text of the last failure of this thread, "" if the library keeps none."""
        if self._last_error is None:
            return ""
        text: bytes = ffi.string(self._last_error())
        return text.decode("utf-8", "replace")

    def check(self, function: str, code: int) -> None:
        """Raise CviError unless `code` is 0."""
        if code != 0:
            raise CviError(function, code, self.last_error())


def library_path() -> str:
    """The library used by default: $CVI_NN_LIB, the one beside this package, or the system's."""
    named = os.environ.get(LIBRARY_VARIABLE)
    if named:
        return named
    beside = Path(__file__).with_name(_FILE_NAME)
    return str(beside) if beside.exists() else _FILE_NAME


def load(path: str | os.PathLike[str] | None = None) -> Library:
    """Load a library (once per path). None: `library_path()`."""
    name = os.fspath(path) if path is not None else library_path()
    with _lock:
        if name not in _loaded:
            _loaded[name] = Library(name)
        return _loaded[name]
