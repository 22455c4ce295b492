"""What commands print: version line, step lines, progress; and the log file (cli.md section
2.5)."""

from __future__ import annotations

import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .. import __version__

quiet = False  # set by -q
_log: IO[str] | None = None  # set by log_to


def say(text: str = "") -> None:
    """A line on stdout, unless --quiet; and in the log."""
    note(text)
    if not quiet:
        print(text, flush=True)


def note(text: str) -> None:
    """A line in the log only."""
    if _log is not None:
        with suppress(OSError, ValueError):
            _log.write(text + "\n")
            _log.flush()


@contextmanager
def log_to(path: Path, prog: str, argv: Sequence[str], *, anew: bool = False) -> Iterator[None]:
    """While the context is open, what is said also goes to the end of the file: first the version,
    the time and the command, last how it ended, with the traceback of an error. anew: without what
    the file held before. Where no file can be written there is no log.
    """
    global _log
    outer = _log
    try:
        file = path.open("w" if anew else "a", encoding="utf-8", errors="backslashreplace")
    except OSError:
        yield
        return
    begin, _log = time.perf_counter(), file
    try:
        note(f"==== {time.strftime('%Y-%m-%d %H:%M:%S')} {version_line()}")
        note(f"$ {shlex.join([prog, *argv])}")
        yield
        note(f"==== done, {time.perf_counter() - begin:.2f} s")
    except BaseException as e:
        note("".join(traceback.format_exception(e)).rstrip())
        note(f"==== failed, {time.perf_counter() - begin:.2f} s")
        raise
    finally:
        _log = outer
        with suppress(OSError):
            file.close()


def version_line() -> str:
    return f"tpuforge v{__version__}"


@contextmanager
def step(what: str) -> Iterator[None]:
    """[Running]: what, then [Success]: what (seconds) or, if an exception passes, [Failed]."""
    say(f"[Running]: {what}")
    begin = time.perf_counter()
    try:
        yield
    except BaseException:
        say(f"[Failed]: {what}")
        raise
    say(f"[Success]: {what} ({time.perf_counter() - begin:.2f} s)")


class Progress:
    """Call it as progress(done, total, label) from a long loop; use it as a context manager.

    A rich bar when stderr is a terminal; otherwise one line per 10 %. Nothing with --quiet.
    """

    def __init__(self, label: str = ""):
        self.label = label
        self._bar: Any = None
        self._task: dict[str, Any] = {}
        self._tenth: dict[str, int] = {}

    def __enter__(self) -> Progress:
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=False)
            self._bar.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*exc)
            self._bar = None

    def __call__(self, done: int, total: int, label: str | None = None) -> None:
        label = label or self.label
        if quiet or total <= 0:
            return
        if self._bar is not None:
            if label not in self._task:
                self._task[label] = self._bar.add_task(label, total=total)
            self._bar.update(self._task[label], completed=done, total=total)
            return
        tenth = 10 * done // total
        if tenth > self._tenth.get(label, 0):
            self._tenth[label] = tenth
            print(f"{label}: {done}/{total} ({100 * done // total} %)", file=sys.stderr, flush=True)


class Terminal:
    """The console of the commands, as the functions of tpuforge.compiler expect it
    (api.Console)."""

    say = staticmethod(say)
    step = staticmethod(step)
    progress = staticmethod(Progress)


TERMINAL = Terminal()
