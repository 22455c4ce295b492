"""Where the installed commands begin: `model_deploy` is `entry:model_deploy`, which imports
tools/model_deploy.py and calls its main().

Importing a tool takes a tenth of a second, so this module imports nothing but Python's own core:
Ctrl-C ends a command with one line at that time, too.
"""

from __future__ import annotations

import importlib
import sys

MODULES = {"tpuforge": "main"}  # commands whose module has another name


def __getattr__(command: str) -> object:
    if command.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {command!r}")
    return lambda: start(command)


def start(command: str) -> int:
    """Run a command with the arguments of the process; its exit code, 130 after Ctrl-C."""
    try:
        _watch()
        module = importlib.import_module(f".{MODULES.get(command, command)}", __package__)
        return int(module.main())
    except (Exception, KeyboardInterrupt) as e:
        if not interrupted(e):
            raise
    print(f"{command}: error: interrupted", file=sys.stderr, flush=True)
    return 130


_pressed = False  # Ctrl-C, since _watch


def _watch() -> None:
    """Remember Ctrl-C, unless it is ignored (nohup)."""
    import signal

    def remember(number: int, frame: object) -> None:
        global _pressed
        _pressed = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, remember)


def interrupted(e: BaseException | None) -> bool:
    """Does the error come from Ctrl-C? Libraries that are being imported then raise their own, some
    without a trace of the first."""
    seen: set[int] = set()
    while e is not None and id(e) not in seen:
        if isinstance(e, KeyboardInterrupt):
            return True
        seen.add(id(e))
        e = e.__cause__ or e.__context__
    return _pressed
