"""Where the verbs report: lines, begin and end of steps, progress of loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Console(Protocol):
    """progress(label) gives a function progress(done, total, label)."""

    def say(self, text: str = "") -> None: ...
    def step(self, what: str) -> AbstractContextManager[None]: ...
    def progress(self, label: str) -> AbstractContextManager[Callable[..., None]]: ...


class Silent:
    """Reports nothing."""

    def say(self, text: str = "") -> None:
        """Nothing."""

    def step(self, what: str) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[..., None]]:
        yield lambda done, total, label=None: None


SILENT = Silent()
