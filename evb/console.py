"""The serial console of a board: log in, run a command, send a file, or sit in front of it.

Ports: /dev/ttyUSB0, a pseudo terminal, socket://host:port (a serial server). A line of a terminal
in canonical mode holds at most 4095 characters, so files travel as base64 in lines of 3996, eight
of them acknowledged before the next ones (the buffers of a terminal without flow control hold
that); the whole is checked by SHA-256 before it gets its name.
"""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ..compiler.errors import UserInputError
from .board import Board
from .errors import BoardError, LinkError
from .items import sha256
from .secret import password_of

#: a prompt at the end; busybox asks for the place of the cursor (ESC [ 6 n) behind its own
PROMPT = re.compile(rb"(login:|[Pp]assword:|[#$>]) ?(?:\x1b\[[0-9;]*[a-zA-Z])*$")
LINE, LINES = 2997, 8  # bytes of a file per line (3996 characters of base64), lines per answer


class Console:
    """An open serial port with a shell behind it. A context manager."""

    def __init__(self, board: Board, timeout: float = 15):
        if not board.serial:
            raise UserInputError(f"board {board.name!r} has no `serial` in its description")
        try:
            import serial
        except ImportError:
            raise UserInputError(
                "the package pyserial is missing: pip install 'tpuforge[evb]'"
            ) from None
        self.board, self.timeout, self.in_shell = board, timeout, False
        try:
            self.port: Any = serial.serial_for_url(board.serial, baudrate=board.baud, timeout=0.05)
        except (serial.SerialException, OSError, ValueError) as e:
            raise LinkError(
                f"{board.name}: {board.serial} can not be opened ({e}); check the cable, the name "
                "of the port and your rights on it (group dialout)"
            ) from None
        self._lost = (serial.SerialException, OSError)

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            if self.in_shell:
                self.port.write(b"\x04")  # end of input: back to the prompt
                self.port.flush()
                time.sleep(0.1)
            self.port.close()

    # ---- bytes
    def write(self, data: bytes) -> None:
        try:
            self.port.write(data)
            self.port.flush()
        except self._lost as e:
            raise LinkError(f"{self.board.name}: {self.board.serial} is gone ({e})") from None

    def read(self) -> bytes:
        """What has arrived, after at most 50 ms."""
        try:
            return bytes(self.port.read(max(1, self.port.in_waiting)))
        except self._lost as e:
            raise LinkError(f"{self.board.name}: {self.board.serial} is gone ({e})") from None

    def until(self, pattern: re.Pattern[bytes], timeout: float | None = None) -> bytes:
        """Everything up to and with the first match; LinkError when it does not come in time."""
        text, end = b"", time.monotonic() + (timeout or self.timeout)
        while time.monotonic() < end:
            text += self.read()
            found = pattern.search(text)
            if found:
                return text[: found.end()]
        tail = text[-120:].decode(errors="replace").strip()
        raise LinkError(
            f"{self.board.name}: no answer on {self.board.serial} within "
            f"{timeout or self.timeout:.0f} s" + (f"; it said {tail!r} last" if tail else "")
        )

    # ---- shell
    def login(self) -> None:
        """Get to a shell, logging in when asked."""
        for attempt in range(8):
            if attempt == 0:
                self.write(b"\n")
            try:
                seen = self.until(PROMPT, min(5, self.timeout / 5) if attempt == 0 else None)
            except LinkError:
                if attempt:
                    raise
                self.write(b"\x03\n")  # a program that is in the way
                continue
            found = PROMPT.search(seen)
            kind = found[1].lower() if found else b""
            self._settle()
            if kind == b"login:":
                self.write(self.board.user.encode() + b"\n")
            elif kind == b"password:":
                self.write(password_of(self.board).encode() + b"\n")
            else:
                # a loop that reads lines itself: no line editing (its lines are short), no prompt
                self.write(b'stty -echo; while IFS= read -r l; do eval "$l"; done; stty echo\n')
                time.sleep(0.2)
                self.command("true")
                self.in_shell = True
                return
        raise BoardError(
            f"{self.board.name}: the login on {self.board.serial} was refused; check `user` and "
            "`password` in the board's description"
        )

    def _settle(self) -> None:
        """Drop what still arrives."""
        while self.read():
            pass

    def command(
        self, line: str, timeout: float | None = None, stdin: bytes = b""
    ) -> tuple[int, str]:
        """Run a line of shell, which must read all of `stdin`; exit code and output."""
        token = secrets.token_hex(6)
        # the quotes keep an echo of the line from looking like its answer
        self.write(f"echo B''{token}; {line}; echo E''{token} $?\n".encode() + stdin)
        text = self.until(re.compile(rb"E%s (\d+)\r?\n" % token.encode()), timeout)
        body, _, code = text.rpartition(f"E{token} ".encode())
        body = body.rpartition(f"B{token}".encode())[2].lstrip(b"\r\n")
        return int(code), body.decode(errors="replace").replace("\r\n", "\n")

    def check(self, line: str, doing: str, stdin: bytes = b"") -> str:
        code, text = self.command(line, None, stdin)
        if code:
            raise BoardError(
                f"{self.board.name}: {doing} failed (exit {code}): {' '.join(text.split())[-200:]}"
            )
        return text

    def send_file(
        self, local: Path, remote: str, progress: Callable[[int, int, str], None] | None = None
    ) -> None:
        """Write a file of the board; `remote` is absolute. It is there complete or not at all.

        An interrupted transfer of the same file is continued. BoardError: no base64 on the board,
        disk full, or the checksum is wrong.
        """
        digest, total = sha256(local), local.stat().st_size
        name = remote.rpartition("/")[2]
        part = f"{remote[: len(remote) - len(name)]}.{name}.{digest[:12]}.part"
        q, p = shlex.quote(remote), shlex.quote(part)
        self.check(f"mkdir -p $(dirname {q}) && : >> {p}", "preparing the transfer")
        done = self._resume(local, p, total)
        with local.open("rb") as f:
            f.seek(done)
            while block := f.read(LINE * LINES):
                rows = [block[i : i + LINE] for i in range(0, len(block), LINE)]
                text = b"".join(base64.b64encode(row) + b"\n" for row in rows)
                # what base64 leaves unread must not reach the shell
                decode = f"(base64 -d >> {p}; r=$?; cat > /dev/null; exit $r)"
                self.check(f"head -n {len(rows)} | {decode}", f"writing {remote}", text)
                done += len(block)
                if progress:
                    progress(done, total, "console")
        if self._hash(p) != digest:
            self.command(f"rm -f {p}")
            raise BoardError(
                f"{self.board.name}: {remote} arrived with another checksum and was removed; is "
                "the serial line noisy, or the disk full?"
            )
        self.check(f"mv -f {p} {q} && sync", f"renaming to {remote}")

    def _resume(self, local: Path, part: str, total: int) -> int:
        """Bytes of the part file that are right; it is emptied when they are not."""
        size = self.command(f"wc -c < {part}")[1].strip()
        done = int(size) if size.isdigit() else 0
        if done and (done > total or self._hash(part) != sha256(local, done)):
            done = 0
        if not done:
            self.check(f": > {part}", "preparing the transfer")
        return done

    def _hash(self, quoted: str) -> str:
        return self.check(f"sha256sum < {quoted}", "checking the file").split()[0]


def interact(console: Console) -> None:
    """Connect this terminal with the board's console until Ctrl-]."""
    import os
    import select
    import sys
    import termios
    import tty

    fd = sys.stdin.fileno()
    if not os.isatty(fd):
        raise UserInputError("`console` without a command needs a terminal")
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # keys typed ahead are kept
        while True:
            sys.stdout.buffer.write(console.read())
            sys.stdout.buffer.flush()
            if select.select([fd], [], [], 0)[0]:
                keys = os.read(fd, 1024)
                if b"\x1d" in keys:
                    return
                console.write(keys)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
