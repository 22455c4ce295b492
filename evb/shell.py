"""An interactive shell on a board, with the size of this terminal."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys

from ..compiler.errors import UserInputError
from .transport import CHUNK, Link, quote


def shell(link: Link) -> int:
    """Connect this terminal with a login shell in the board's folder; its exit code."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    if not os.isatty(fd):
        raise UserInputError("`shell` needs a terminal; `run` takes a command")
    size = shutil.get_terminal_size()
    with link.guard("opening a shell"):
        channel = link.transport.open_session(timeout=30)
        channel.get_pty(os.environ.get("TERM", "vt100"), size.columns, size.lines)
        folder = quote(link.board.folder)
        envs = "[ -r envs_tpu_sdk.sh ] && . ./envs_tpu_sdk.sh"
        channel.exec_command(f"cd {folder} 2>/dev/null; {envs}; exec sh -i")
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # keys typed ahead are kept
        while not channel.exit_status_ready() or channel.recv_ready():
            ready = select.select([channel, fd], [], [], 0.2)[0]
            if channel in ready:
                data = channel.recv(CHUNK)
                if not data:
                    break
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            if fd in ready:
                with contextlib.suppress(OSError):
                    channel.sendall(os.read(fd, 1024))
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
    code = int(channel.recv_exit_status())
    if code < 0 and not link.transport.is_active():
        with link.guard("using a shell"):
            raise EOFError
    return code
