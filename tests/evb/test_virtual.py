"""The virtual board as a machine: up, status, down; a crippled one; one that ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.board
WITHOUT = ("sftp", "sha256sum", "setsid", "base64", "loader32")


def command(words: list[str]) -> int:
    """`tpuforge evb ...` in a process of its own; its exit code."""
    words = [sys.executable, "-m", "tpuforge", "evb", *words]
    return subprocess.run(words, stdin=subprocess.DEVNULL, timeout=600).returncode


def until(done: Callable[[], bool], timeout: float = 600) -> None:
    end = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_crippled_board(boards_home: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """What is missing is named with its use; what does not need it works."""
    from tpuforge.evb import BoardError, Console, collect, connect, load_board, push, run, virtual

    name = f"crippled-{os.getpid()}"
    up = [
        "virtual",
        "up",
        "--name",
        name,
        "--target",
        "armhf",
        "--without",
        ",".join(WITHOUT),
        "--timeout",
        "600",
    ]
    try:
        assert command(up) == 0
        assert command(up) == 1 and "already running" in capfd.readouterr().err
        assert command(["doctor", "--board", name]) == 1
        lines = capfd.readouterr().out.splitlines()
        for words in (
            "fail  libc       /lib/ld-linux-armhf.so.3 is missing",
            "fail  tools      no sha256sum: push compares",
            "warn  tools      no setsid: run ends",
            "warn  tools      no base64: files over a serial",
            "ok    sftp       no sftp server: files go through `cat`",
        ):
            assert any(line.startswith(words) for line in lines), (words, lines)
        path = tmp_path / "file"
        path.write_bytes(b"x" * 5000)
        board = load_board(name)
        with connect(board) as link:
            with pytest.raises(BoardError, match=r"no `sha256sum`.*doctor"):
                push(link, collect([path]))
            assert link.check(f"find {board.folder} -type f") == ""
            assert run(link, "echo works").out == b"works\n"
            assert run(link, "sleep 4711", timeout=1).timed_out
            assert "4711" not in link.check("ps -o args | grep -v grep")
        with Console(board, timeout=300) as console:
            console.login()
            with pytest.raises(BoardError, match="base64"):
                console.send_file(path, "/mnt/data/file")
            assert console.command("test -e /mnt/data/file")[0] == 1
        pid = virtual.status(name).pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: not virtual.status(name).pid)
        assert command(["virtual", "status", "--name", name]) == 1
        assert "ended by itself: qemu.log: ended with exit 137" in capfd.readouterr().out
        assert command(["run", "--board", name, "--", "true"]) == 1
        assert "can not be reached" in capfd.readouterr().err
    finally:
        virtual.down(name)
    assert command(["virtual", "status", "--name", name]) == 1
    assert name not in [p.stem for p in boards_home.iterdir()]


def test_kernel_that_does_not_boot(
    boards_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that ends while booting: an error with what it said, nothing left behind."""
    from tpuforge.evb import BoardError, qemu, virtual

    words = ["qemu-system-aarch64", "-M", "none-such", "-kernel", "x", "-initrd"]
    monkeypatch.setattr(qemu, "command", lambda m: [*words, str(m.initrd)])
    name = f"broken-{os.getpid()}"
    with pytest.raises(BoardError, match=r"ended while booting.*unsupported machine"):
        virtual.up(name)
    assert not virtual.status(name).pid and name not in [p.stem for p in boards_home.iterdir()]
    assert not virtual.down(name)
