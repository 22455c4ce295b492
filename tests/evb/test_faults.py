"""What can go wrong between host and board: a clear error, nothing half-written or lost."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tpuforge.evb.board import board_toml
from tpuforge.evb.items import sha256

pytestmark = pytest.mark.board


def some_file(folder: Path, size: int, seed: int = 0, name: str = "big.bin") -> Path:
    path = folder / name
    path.write_bytes(np.random.default_rng(seed).bytes(size))
    return path


def listing(link: object, folder: str) -> list[str]:
    """All files of a folder of the board, hidden ones too."""
    return sorted(link.check(f"find {folder} -type f 2>/dev/null || true").split())  # type: ignore[attr-defined]


def test_connection_cut_in_a_transfer_resumes(board: SimpleNamespace, tmp_path: Path) -> None:
    """The session is killed on the board at 40 %; the next push continues."""
    from tpuforge.evb import Item, LinkError, connect, push

    b = replace(board.aarch64, folder="/mnt/data/cut")
    item = Item(some_file(tmp_path, 4 << 20), "big.bin")
    with connect(b) as link, connect(b) as killer:
        session = link.check("echo $PPID").strip()
        killed = []

        def cut(done: int, total: int, label: str) -> None:
            if done > 0.4 * total and not killed:
                killed.append(killer.check(f"kill -9 {session}"))

        with pytest.raises(LinkError, match=r"connection lost.*boot-wait"):
            push(link, [item], cut)
        assert killed
        parts = listing(killer, b.folder)
        assert [p for p in parts if p.endswith(".part")] and f"{b.folder}/big.bin" not in parts
    with connect(b) as link:
        report = push(link, [item], wait=300)
        assert 0 < report.resumed < 4 << 20 and report.sent == (4 << 20) - report.resumed
        there = link.check(f"sha256sum {b.folder}/big.bin").split()[0]
        assert there == sha256(item.local)
        assert listing(link, b.folder) == [f"{b.folder}/big.bin"]


def test_connection_cut_while_pulling(board: SimpleNamespace, tmp_path: Path) -> None:
    """An old file here stays as it is; a missing file on the board is said."""
    from tpuforge.evb import BoardError, LinkError, connect, pull

    (tmp_path / "to").mkdir()
    old = tmp_path / "to/big"
    old.write_bytes(b"old")
    b = replace(board.aarch64, folder="/mnt/data/pull")
    with connect(b) as link, connect(b) as killer:
        link.check(f"mkdir -p {b.folder}; cd {b.folder}; head -c 3000000 /dev/urandom > big")
        link.check(f"echo new > {b.folder}/small")
        with pytest.raises(BoardError, match="no such file on the board"):
            pull(link, ["big", "absent"], tmp_path / "to")
        session = link.check("echo $PPID").strip()

        def cut(done: int, total: int, label: str) -> None:
            if done < total:
                killer.check(f"kill -9 {session}")

        old.write_bytes(b"old")
        with pytest.raises(LinkError, match="connection lost"):
            pull(link, ["small", "big"], tmp_path / "to", cut)
        assert sorted(p.name for p in (tmp_path / "to").iterdir()) == ["big", "small"]
        assert old.read_bytes() == b"old" and (tmp_path / "to/small").read_text() == "new\n"
        with connect(b) as again:
            (path,) = pull(again, ["big"], tmp_path / "to")
            assert again.check(f"sha256sum {b.folder}/big").split()[0] == sha256(path)


def test_a_wrong_part_is_not_continued(board: SimpleNamespace, tmp_path: Path) -> None:
    from tpuforge.evb import Item, connect, push

    b = replace(board.aarch64, folder="/mnt/data/part")
    item = Item(some_file(tmp_path, 100_000), "big.bin")
    digest = sha256(item.local)
    with connect(b) as link:
        link.check(
            f"mkdir -p {b.folder}; head -c 5000 /dev/zero > {b.folder}/.big.bin.{digest[:12]}.part"
        )
        report = push(link, [item])
        assert report.resumed == 0 and report.sent == 100_000
        assert link.check(f"sha256sum {b.folder}/big.bin").split()[0] == digest


def test_disk_full(board: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found before (df) and while writing; the old file stays, no part is left."""
    from tpuforge.evb import Item, NoSpaceError, connect, push

    b = replace(board.aarch64, folder="/mnt/small/files")
    old = some_file(tmp_path, 100_000, 1, "old.bin")
    new = some_file(tmp_path, 3_000_000, 2, "new.bin")
    with connect(b) as link:
        push(link, [Item(old, "a.bin")])
        with pytest.raises(NoSpaceError, match=r"MB free.*nothing was changed"):
            push(link, [Item(new, "a.bin")])
        monkeypatch.setattr(sys.modules["tpuforge.evb.push"], "_check_space", lambda *a: None)
        with pytest.raises(NoSpaceError, match="is full"):
            push(link, [Item(new, "a.bin")])
        assert listing(link, b.folder) == [f"{b.folder}/a.bin"]
        assert link.check(f"sha256sum {b.folder}/a.bin").split()[0] == sha256(old)


def test_wrong_and_unknown_host_key(board: SimpleNamespace) -> None:
    from tpuforge.evb import HostKeyError, connect, fingerprint_of

    actual = board.aarch64.host_key
    assert fingerprint_of(board.aarch64) == ("ssh-ed25519", actual)
    with pytest.raises(HostKeyError, match=r"HAS CHANGED.*Nothing was sent") as e:
        connect(replace(board.aarch64, host_key="SHA256:" + "A" * 43))
    assert actual in str(e.value)
    with pytest.raises(HostKeyError, match="not pinned"):
        connect(replace(board.aarch64, host_key=""))


def test_login_refused_and_password_login(
    board: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No password, right or wrong, in a message or a log, however much is logged."""
    from tpuforge.evb import BoardError, connect

    right = Path(board.aarch64.password.removeprefix("file:")).read_text()
    wrong = tmp_path / "password"
    wrong.write_text("wr0ng-one\n")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(BoardError, match="refused the login") as e:
        connect(replace(board.aarch64, key="", password=f"file:{wrong}"))
    with connect(replace(board.aarch64, key="")) as link:
        assert link.check("id -u").strip() == "0"
    logging.getLogger().debug("the log works")
    assert "the log works" in caplog.text
    assert not {right, "wr0ng-one"} & set(re.split(r"[\s'\"]+", f"{e.value} {caplog.text}"))
    description = tmp_path / "secret.toml"
    fields = {"key": "", "password": "env:EVB_TEST_PASSWORD"}
    description.write_text(board_toml(replace(board.aarch64, **fields)))
    for password, code in ((right, 0), ("wr0ng-one", 1)):
        done = subprocess.run(
            [sys.executable, "-m", "tpuforge", "evb", "run", "--debug", "--log_level", "debug",
             "--board", str(description), "--", "cat", "/proc/self/cmdline"],
            env={**os.environ, "EVB_TEST_PASSWORD": password},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert bool(done.returncode) == bool(code), done.stderr
        assert password not in done.stdout + done.stderr


def test_process_that_hangs(board: SimpleNamespace) -> None:
    """After the timeout the whole process group is gone, even one that ignores SIGTERM."""
    from tpuforge.evb import connect, run

    with connect(board.aarch64) as link:
        for line in ("sleep 4711 & sleep 4711", "trap '' TERM; while :; do sleep 4711; done"):
            result = run(link, f"echo out; echo err >&2; {line}", timeout=1)
            assert result.timed_out and result.code == 124
            assert result.out == b"out\n" and result.err.startswith(b"err\n")
            assert "4711" not in link.check("ps -o args | grep -v grep")


def test_output_and_exit_codes(board: SimpleNamespace) -> None:
    from tpuforge.evb import connect, run

    with connect(board.aarch64) as link:
        seen: list[bytes] = []
        r = run(link, ["sh", "-c", "echo out; echo err >&2; exit 7"], out=seen.append)
        assert (r.code, b"".join(seen), r.err) == (7, b"out\n", b"err\n")
        assert (
            run(link, ["printf", "%s|", "a b", "$HOME", "'", '"', "\\"]).out
            == b"a b|$HOME|'|\"|\\|"
        )
        assert run(link, "kill -9 $$").code == 137
        assert run(link, ["no-such-program"]).code == 127
        big = run(link, "head -c 3000000 /dev/zero | tr '\\0' x")
        assert big.out == b"x" * 3_000_000


def test_output_comes_while_the_program_runs(board: SimpleNamespace) -> None:
    """The program waits for what its first line sets off."""
    from tpuforge.evb import connect, run

    with connect(board.aarch64) as link, connect(board.aarch64) as other:
        other.check("rm -f /tmp/go")
        seen: list[bytes] = []

        def out(data: bytes) -> None:
            if not seen:
                other.check("touch /tmp/go")
            seen.append(data)

        line = "echo first; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo second"
        result = run(link, line, timeout=600, out=out)
    assert result.code == 0 and b"".join(seen) == b"first\nsecond\n" and len(seen) == 2


def test_two_pushes_at_once(board: SimpleNamespace, tmp_path: Path) -> None:
    """The second is refused with the process that is in the way; with a wait both succeed."""
    from tpuforge.evb import BusyError, Item, connect, push

    b = replace(board.aarch64, folder="/mnt/data/both")
    first, second = some_file(tmp_path, 2 << 20, 3, "a"), some_file(tmp_path, 1 << 18, 4, "b")
    started, failures = threading.Event(), []

    def slow(done: int, total: int, label: str) -> None:
        started.set()
        time.sleep(0.02)

    def one() -> None:
        try:
            with connect(b) as link:
                push(link, [Item(first, "file")], slow)
        except Exception as e:
            failures.append(e)

    thread = threading.Thread(target=one)
    thread.start()
    assert started.wait(600)
    with connect(b) as link:
        with pytest.raises(BusyError, match=r"another push .*process \d+.*--wait"):
            push(link, [Item(second, "file")])
        push(link, [Item(second, "file")], wait=600)
        thread.join()
        assert not failures
        assert link.check(f"sha256sum {b.folder}/file").split()[0] == sha256(second)
        assert listing(link, b.folder) == [f"{b.folder}/file"]
        # a lock whose process is gone does not stop anybody
        link.check(
            f"mkdir {b.folder}/.tpuforge.lock; echo 99999 old > {b.folder}/.tpuforge.lock/owner"
        )
        push(link, [Item(first, "file")])


def test_push_that_is_taken_over(board: SimpleNamespace, tmp_path: Path) -> None:
    """The first push, still alive, renames nothing and says so."""
    from tpuforge.evb import BusyError, Item, connect, push

    b = replace(board.aarch64, folder="/mnt/data/over")
    first, second = some_file(tmp_path, 1 << 18, 5, "a"), some_file(tmp_path, 1 << 18, 6, "b")
    with connect(b) as one, connect(b) as two:
        reports = []

        def progress(done: int, total: int, label: str) -> None:
            if not reports:
                reports.append(push(two, [Item(second, "file")], take_over=True))

        with pytest.raises(BusyError, match="taken over"):
            push(one, [Item(first, "file"), Item(first, "other")], progress)
        assert reports[0].files == [f"{b.folder}/file"]
        assert two.check(f"cd {b.folder}; ls; sha256sum < file").split()[:2] == [
            "file", sha256(second),
        ]  # fmt: skip
        report = push(one, [Item(first, "file"), Item(first, "other")])
        assert report.sent == 0 and report.resumed == 2 << 18


def test_push_to_several_boards(board: SimpleNamespace, tmp_path: Path) -> None:
    """A board that can not be reached does not stop the others."""
    from tpuforge.evb import Item, LinkError, push_many
    from tpuforge.evb.qemu import free_port

    good = [replace(board.aarch64, name=f"b{i}", folder=f"/mnt/data/many{i}") for i in range(2)]
    dead = replace(board.aarch64, name="dead", port=free_port())
    item = Item(some_file(tmp_path, 50_000), "x")
    reports = push_many([good[0], dead, good[1]], [item])
    assert [len(r.files) for r in reports] == [1, 0, 1]
    assert isinstance(reports[1].error, LinkError) and "can not be reached" in str(reports[1].error)


def test_board_without_sftp(board: SimpleNamespace, tmp_path: Path) -> None:
    """Files go through `cat`, resume included."""
    from tpuforge.evb import Item, connect, push

    b = replace(board.aarch64, folder="/mnt/data/cat")
    item = Item(some_file(tmp_path, 300_000), "it's a file")
    with connect(b) as link:
        link.check("mv /usr/lib/sftp-server /usr/lib/away")
    try:
        with connect(b) as link:
            assert link.sftp() is None
            digest = sha256(item.local)
            part = f"{b.folder}/.it\\'s\\ a\\ file.{digest[:12]}.part"
            link.check(f"mkdir -p {b.folder}; cat > {part}", item.local.read_bytes()[:12345])
            report = push(link, [item])
            assert (report.resumed, report.sent) == (12345, 300_000 - 12345)
            assert link.check(f"cat {b.folder}/it*file | sha256sum").split()[0] == digest
    finally:
        with connect(b) as link:
            link.check("mv /usr/lib/away /usr/lib/sftp-server")


def test_frozen_board_is_noticed(board: SimpleNamespace) -> None:
    """A machine that answers nothing any more (stopped qemu): LinkError, not a wait for ever."""
    from tpuforge.evb import LinkError, connect, run

    b = replace(board.aarch64, alive_timeout=2.0)
    with connect(b) as link:
        timer = threading.Timer(0.5, os.kill, (board.state.pid, signal.SIGSTOP))
        timer.start()
        try:
            with pytest.raises(LinkError, match="no sign of life"):
                run(link, "sleep 600")
        finally:
            timer.join()
            os.kill(board.state.pid, signal.SIGCONT)


def test_reboot_while_running(board: SimpleNamespace, tmp_path: Path) -> None:
    """LinkError; boot-wait sees it again; what was pushed is still there."""
    from tpuforge.evb import Item, LinkError, connect, push, run
    from tpuforge.evb.wait import wait_for_ssh

    b = replace(board.aarch64, folder="/mnt/data/reboot")
    item = Item(some_file(tmp_path, 200_000), "kept")
    with connect(replace(b, alive_timeout=4.0)) as link, connect(b) as other:
        push(other, [item])
        threading.Timer(0.5, lambda: other.channel("sleep 0.2; reboot -f")).start()
        with pytest.raises(LinkError, match="connection lost"):
            run(link, "sleep 600")
    wait_for_ssh(b, 600)
    with connect(b) as link:
        assert link.check(f"sha256sum {b.folder}/kept").split()[0] == sha256(item.local)
        assert run(link, "echo again").out == b"again\n"
