"""The interactive verbs behind a pseudo terminal, as a user has them: shell and console."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tpuforge.evb.board import board_toml

pytestmark = pytest.mark.board


class Terminal:
    """`tpuforge ARGV` in front of a terminal; `say` types, `hear` waits for what is printed."""

    def __init__(self, *argv: str):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tpuforge", *argv], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.heard = self.everything = b""

    def say(self, text: str) -> None:
        os.write(self.master, text.encode())

    def hear(self, pattern: bytes, timeout: float = 600) -> bytes:
        """What was printed up to the first match, which is taken away."""
        end = time.monotonic() + timeout
        while not (found := re.search(pattern, self.heard)):
            assert time.monotonic() < end, self.heard
            if select.select([self.master], [], [], 0.2)[0]:
                data = os.read(self.master, 4096)
                self.heard += data
                self.everything += data
        self.heard = self.heard[found.end() :]
        return found[0]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@contextmanager
def terminal(*argv: str) -> Iterator[Terminal]:
    t = Terminal(*argv)
    try:
        yield t
    finally:
        t.close()


def test_shell(board: SimpleNamespace) -> None:
    """A login shell with a terminal of its own; its exit code."""
    with terminal("evb", "shell", "--board", board.name) as t:
        t.hear(rb"[#$] ")
        t.say("echo $((6 * 7)) $(uname -m) $(tty)\n")
        assert t.hear(rb"42 aarch64 /dev/pts/\d+")
        t.say("stty size; exit 5\n")
        assert t.process.wait(600) == 5


def test_console(board: SimpleNamespace) -> None:
    """Log in on the serial port by hand, with the password; Ctrl-] ends."""
    password = Path(board.aarch64.password.removeprefix("file:")).read_text()
    with terminal("evb", "console", "--board", board.name) as t:
        t.hear(rb"Ctrl-\] ends")
        t.say("\n")
        if t.hear(rb"login: |# ") == b"# ":  # somebody was here
            t.say("exit\n")
            t.hear(rb"login: ")
        t.say("root\n")
        t.hear(rb"[Pp]assword: ")
        t.say(f"{password}\n")
        t.hear(rb"# ")
        assert password.encode() not in t.everything
        t.say("echo $((6 * 7)) $(uname -m) $(tty)\n")
        assert t.hear(rb"42 aarch64 /dev/ttyS0")
        t.say("\x1d")
        assert t.process.wait(600) == 0


def test_password_prompt(board: SimpleNamespace, tmp_path: Path) -> None:
    """Asked for on the terminal, not shown; a wrong one is refused."""
    password = Path(board.aarch64.password.removeprefix("file:")).read_text()
    path = tmp_path / "asks.toml"
    path.write_text(board_toml(replace(board.aarch64, key="", password="prompt")))
    for typed, answer, code in ((password, rb"worked 42", 0), ("not it", rb"refused the login", 1)):
        words = ("--board", str(path), "--", "sh", "-c", "echo worked $((6 * 7))")
        with terminal("evb", "run", *words) as t:
            t.hear(rb"password of root@127.0.0.1:\d+: ")
            t.say(f"{typed}\n")
            t.hear(answer)
            assert t.process.wait(600) == code
            assert typed.encode() not in t.everything


@pytest.mark.parametrize("verb", ["shell", "console"])
def test_without_a_terminal(board: SimpleNamespace, verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tpuforge", "evb", verb, "--board", board.name],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode and "terminal" in done.stderr and "Traceback" not in done.stderr
