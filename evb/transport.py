"""A connection to a board over SSH (paramiko): commands, files, and a watch for a dead board.

The host key is compared with the pinned fingerprint before anything else is sent. An unknown or
changed key is refused.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..compiler.errors import UserInputError
from .board import Board
from .errors import BoardError, HostKeyError, LinkError
from .keys import fingerprint
from .secret import password_of

CHUNK = 32768
START_TRIES, START_PAUSE_S = 3, 1.0


def _paramiko() -> Any:
    try:
        import paramiko
    except ImportError:
        raise UserInputError(
            "the package paramiko is missing: pip install 'tpuforge[evb]'"
        ) from None
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # our messages say what happened
    return paramiko


@dataclass(frozen=True)
class Output:
    """What a command gave."""

    code: int
    out: bytes
    err: bytes

    def text(self) -> str:
        return self.out.decode(errors="replace")


class Link:
    """An open connection, a context manager. Every method raises LinkError when it is lost."""

    def __init__(self, board: Board, transport: Any):
        self.board = board
        self.transport = transport
        self.lost = ""
        self._sftp: Any = None
        self._sftp_tried = False
        self._stop = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        self.transport.close()

    # ---- the watch
    def _watch(self) -> None:
        """Ask for a sign of life every quarter of alive_timeout; close the connection without one.

        A board that was switched off or reset sends nothing, and TCP alone would wait minutes.
        """
        limit = self.board.alive_timeout
        while not self._stop.wait(limit / 4):
            answered = threading.Event()
            threading.Thread(target=self._ping, args=(answered,), daemon=True).start()
            if not answered.wait(limit) and not self._stop.is_set():
                self.lost = f"no sign of life for {limit:.0f} s"
                self.transport.close()
                return

    def _ping(self, answered: threading.Event) -> None:
        with contextlib.suppress(Exception):
            self.transport.global_request("keepalive@openssh.com", wait=True)
            answered.set()

    @contextlib.contextmanager
    def guard(self, doing: str) -> Iterator[None]:
        """Turn what paramiko raises when the connection is gone into one LinkError."""
        try:
            yield
        except BoardError:
            raise
        except (_paramiko().SSHException, EOFError, OSError) as e:
            if isinstance(e, OSError) and self.transport.is_active() and not self.lost:
                raise
            reason = self.lost or str(e) or "closed by the board"
            raise LinkError(
                f"{self.board.name}: connection lost while {doing} ({reason}); the board was "
                "switched off, reset or unplugged: `tpuforge evb boot-wait`, then try again"
            ) from None

    # ---- commands
    def channel(self, command: str, doing: str = "starting a command") -> Any:
        """A channel on which `command` (a line for the board's shell) runs.

        A board that is short of memory or processes refuses to start a command, and dropbear
        2022.83 ends the next channel together with one that is closed while its process runs: it
        is asked START_TRIES times. BoardError: it refused every time.
        """
        for left in reversed(range(START_TRIES)):
            with self.guard(doing):
                try:
                    channel = self.transport.open_session(timeout=self.board.alive_timeout * 2)
                    channel.exec_command(command)
                    return channel
                except _paramiko().SSHException as e:
                    if self.lost or not self.transport.is_active():
                        raise
                    reason = str(e)
            if left:
                time.sleep(START_PAUSE_S)
        raise BoardError(
            f"{self.board.name}: {doing} failed: the board is there but refused {START_TRIES} times"
            f" to start a command ({reason}); it may have no memory or no processes left: end what "
            "runs on it or reboot it, then try again"
        )

    def execute(self, command: str, stdin: bytes = b"", doing: str = "running a command") -> Output:
        """Run a line of shell and collect its output; for short things of our own."""
        channel = self.channel(command, doing)
        with self.guard(doing):
            threading.Thread(target=_feed, args=(channel, stdin), daemon=True).start()
            out, err = pump(channel, None, None)
            code = channel.recv_exit_status()
        if code == -1 and not self.transport.is_active():
            with self.guard(doing):
                raise EOFError
        return Output(code, out, err)

    def check(self, command: str, stdin: bytes = b"", doing: str = "running a command") -> str:
        """execute() that must succeed; its standard output as text."""
        done = self.execute(command, stdin, doing)
        if done.code:
            reason = " ".join(done.err.decode(errors="replace").split())[-300:]
            raise BoardError(f"{self.board.name}: {doing} failed (exit {done.code}): {reason}")
        return done.text()

    # ---- files
    def sftp(self) -> Any:
        """The SFTP session, or None when the board has no sftp server."""
        if not self._sftp_tried:
            self._sftp_tried = True
            with self.guard("opening SFTP"):
                try:
                    self._sftp = self.transport.open_sftp_client()
                    self._sftp.get_channel().settimeout(self.board.alive_timeout * 3)
                except (_paramiko().SSHException, EOFError, OSError):
                    if not self.transport.is_active():
                        raise
                    self._sftp = None
        return self._sftp


def _feed(channel: Any, data: bytes) -> None:
    with contextlib.suppress(Exception):
        channel.sendall(data)
        channel.shutdown_write()


Sink = Callable[[bytes], object]


def pump(
    channel: Any,
    out: Sink | None,
    err: Sink | None,
    expired: Callable[[], bool] = lambda: False,
) -> tuple[bytes, bytes]:
    """Read both streams until the command ends; collects what has no sink.

    TimeoutError when `expired` says so.
    """
    kept: tuple[list[bytes], list[bytes]] = ([], [])
    sinks = (out or kept[0].append, err or kept[1].append)
    while True:
        busy = False
        if channel.recv_ready():
            sinks[0](channel.recv(CHUNK))
            busy = True
        if channel.recv_stderr_ready():
            sinks[1](channel.recv_stderr(CHUNK))
            busy = True
        if busy:
            continue
        if (channel.exit_status_ready() and channel.eof_received) or channel.closed:
            if not (channel.recv_ready() or channel.recv_stderr_ready()):
                return b"".join(kept[0]), b"".join(kept[1])
            continue
        if expired():
            raise TimeoutError
        channel.status_event.wait(0.02)
        if channel.status_event.is_set():
            time.sleep(0.005)


def quote(text: str) -> str:
    """A word for the board's shell."""
    return shlex.quote(text)


def connect(board: Board, timeout: float = 20) -> Link:
    """Open a connection; the pinned key is checked before anything is sent.

    HostKeyError: unknown or changed host key; LinkError: not reachable; BoardError: login refused.
    """
    paramiko = _paramiko()
    transport = _start(board, paramiko, timeout)
    try:
        _check_host_key(board, transport)
        _login(board, transport, paramiko)
    except BaseException:
        transport.close()
        raise
    return Link(board, transport)


def fingerprint_of(board: Board, timeout: float = 20) -> tuple[str, str]:
    """Type and fingerprint of the key that the board presents; nothing is sent to it."""
    transport = _start(board, _paramiko(), timeout)
    try:
        key = transport.get_remote_server_key()
        return key.get_name(), fingerprint(key.asbytes())
    finally:
        transport.close()


def need_host(board: Board) -> None:
    if not board.host:
        raise UserInputError(f"board {board.name!r} has no host: only `console` commands work")


def _start(board: Board, paramiko: Any, timeout: float) -> Any:
    need_host(board)
    try:
        sock = socket.create_connection((board.host, board.port), timeout=timeout)
    except OSError as e:
        raise LinkError(
            f"{board.name}: {board.host}:{board.port} can not be reached ({e}); check power, cable "
            "and address (`tpuforge evb boot-wait` waits for a board that is starting)"
        ) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock)
    transport.banner_timeout = transport.auth_timeout = max(timeout, 30)
    try:
        transport.start_client(timeout=max(timeout, 30))
    except (paramiko.SSHException, EOFError, OSError) as e:
        transport.close()
        raise LinkError(
            f"{board.name}: {board.host}:{board.port} does not speak SSH with us: {e}"
        ) from None
    return transport


def _check_host_key(board: Board, transport: Any) -> None:
    key = transport.get_remote_server_key()
    actual = fingerprint(key.asbytes())
    if not board.host_key:
        raise HostKeyError(
            f"{board.name}: the host key is not pinned. The board at {board.host}:{board.port} "
            f"presents {key.get_name()} {actual}. Compare it on the board's console (`dropbearkey "
            "-y -f /etc/dropbear/dropbear_ed25519_host_key` or `ssh-keygen -lf`), then "
            f"`tpuforge evb pin {board.name} --fingerprint {actual}`"
        )
    if actual != board.host_key:
        raise HostKeyError(
            f"{board.name}: THE HOST KEY HAS CHANGED: pinned {board.host_key}, presented {actual}. "
            "Nothing was sent. If the board was flashed again (or the address now belongs to "
            f"another board), check the key on its console, then `tpuforge evb pin {board.name} "
            f"--fingerprint {actual}`"
        )


def _login(board: Board, transport: Any, paramiko: Any) -> None:
    try:
        if board.key:
            transport.auth_publickey(board.user, _load_key(board, paramiko))
        elif board.password == "none":
            try:
                transport.auth_none(board.user)
            except paramiko.BadAuthenticationType:
                transport.auth_password(board.user, "")
        elif board.password:
            transport.auth_password(board.user, password_of(board))
        else:
            _agent_login(board, transport, paramiko)
    except paramiko.AuthenticationException:
        raise BoardError(
            f"{board.name}: {board.user}@{board.host} refused the login; check `user` and "
            "`key` or `password` in the board's description"
        ) from None
    except (paramiko.SSHException, EOFError, OSError) as e:
        raise LinkError(f"{board.name}: connection lost while logging in ({e})") from None


def _load_key(board: Board, paramiko: Any) -> Any:
    path = Path(board.key).expanduser()
    try:
        return paramiko.PKey.from_path(path)
    except OSError as e:
        raise UserInputError(f"board {board.name!r}: key {path}: {e.strerror or e}") from None
    except (paramiko.SSHException, ValueError, TypeError) as e:
        raise UserInputError(
            f"board {board.name!r}: {path} is not a private key that can be read without a "
            f"passphrase ({e}); add it to ssh-agent and leave `key` out"
        ) from None


def _agent_login(board: Board, transport: Any, paramiko: Any) -> None:
    """The keys of ssh-agent one after another."""
    for key in paramiko.Agent().get_keys():
        with contextlib.suppress(paramiko.AuthenticationException):
            transport.auth_publickey(board.user, key)
            return
    raise BoardError(
        f"{board.name}: no way to log in: give `key` or `password` in its description, or run "
        "ssh-agent with a key that the board knows"
    )
