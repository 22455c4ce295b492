"""doctor on a good and on a crippled board; the serial console."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tpuforge

pytestmark = pytest.mark.board


def test_doctor_on_a_good_board(board: SimpleNamespace, sdks: dict[str, Path]) -> None:
    from tpuforge.evb import connect, push
    from tpuforge.evb.doctor import doctor
    from tpuforge.evb.items import sha256
    from tpuforge.evb.sdk import board_items

    with connect(board.aarch64) as link:
        push(link, board_items(sdks["aarch64"]))
    findings = doctor(board.aarch64, sha256(sdks["aarch64"] / "lib/libcviruntime.so"))
    assert [f.line() for f in findings if f.level != "ok"] == []
    (runtime,) = [f.text for f in findings if f.name == "runtime"]
    assert runtime.startswith(f"tpuforge {tpuforge.__version__} aarch64, ")
    names = {f.name for f in findings}
    assert names >= {"ssh", "arch", "libc", "chip", "driver", "memory", "disk", "sftp", "runtime"}


#: what the kernel modules of a CV181x board show, as far as an ordinary kernel can
DRESSED = """\
mkdir -p /run/debug/ion/cvi_carveout_heap_dump
echo '[0] carveout heap size:78643200 bytes, used:32329728 bytes' \
  > /run/debug/ion/cvi_carveout_heap_dump/summary
mount --bind /run/debug /sys/kernel/debug
mknod /dev/cvi-tpu0 c 1 3; mknod /dev/ion c 1 3
printf 'Cvitek. CV181X ASIC. C906.' > /run/model; mount --bind /run/model /proc/device-tree/model
"""
UNDRESSED = """\
umount /proc/device-tree/model; umount /sys/kernel/debug
rm -r /dev/cvi-tpu0 /dev/ion /run/debug /run/model
"""


def test_doctor_on_a_board_with_a_tpu(board: SimpleNamespace, sdks: dict[str, Path]) -> None:
    """Nodes, chip and ION memory of a board that looks like a CV181x one."""
    from tpuforge.evb import connect, doctor, push
    from tpuforge.evb.sdk import board_items

    real = replace(board.aarch64, simulator=False, chip="cv181x")
    with connect(board.aarch64) as link:
        push(link, board_items(sdks["aarch64"]))
        link.check(DRESSED)
        try:
            lines = [f.line() for f in doctor(real)]
            wrong = doctor(replace(real, chip="cv183x"))
        finally:
            link.check(UNDRESSED)
    assert [line for line in lines if not line.startswith("ok ")] == []
    text = "\n".join(lines)
    for words in (
        "Cvitek. CV181X ASIC", "/dev/cvi-tpu0 is there", "/dev/ion is there",
        "78.6 MB of memory for the TPU, 32.3 MB in use",
    ):  # fmt: skip
        assert words in text
    (bad,) = [f for f in wrong if f.level == "fail"]
    assert (bad.name, bad.fix) == ("chip", "set chip = 'cv181x' in the board's description")


def test_doctor_on_a_crippled_board(board: SimpleNamespace, sdks: dict[str, Path]) -> None:
    """No TPU, no loader, no tools, a folder that is not writable: each with its fix."""
    from tpuforge.evb import connect, doctor, push
    from tpuforge.evb.sdk import board_items

    broken = replace(board.armhf, simulator=False, chip="cv182x", folder="/proc/none")
    moves = ["/lib/ld-linux-armhf.so.3", "/usr/lib/sftp-server"]
    with connect(board.aarch64) as link:
        push(link, board_items(sdks["aarch64"]))
        link.check("; ".join(f"mv {m} {m}.away" for m in moves))
    try:
        found = {(f.name, f.level): f for f in doctor(broken)}
    finally:
        with connect(board.aarch64) as link:
            link.check("; ".join(f"mv {m}.away {m}" for m in moves))
    assert "set target = 'aarch64'" in found["libc", "fail"].fix
    assert "kernel module" in found["driver", "fail"].fix
    assert found["chip", "warn"].fix and found["disk", "fail"].fix
    assert "build-runtime --target armhf" in found["runtime", "warn"].fix
    wrong = doctor(replace(board.aarch64, target="riscv64-musl"))
    assert [f.name for f in wrong if f.level == "fail"] == ["arch", "runtime"]
    changed = doctor(replace(board.aarch64, host_key="SHA256:" + "A" * 43))
    assert len(changed) == 1 and changed[0].level == "fail" and "pin" in changed[0].text


def test_console_command_and_file(board: SimpleNamespace, tmp_path: Path) -> None:
    """socket://: log in, run, send a file; an interrupted transfer continues."""
    from tpuforge.evb import BoardError, connect
    from tpuforge.evb.console import Console
    from tpuforge.evb.items import sha256

    path = tmp_path / "file"
    path.write_bytes(np.random.default_rng(0).bytes(60_000))
    digest = sha256(path)
    with connect(board.aarch64) as link:
        part = f"/mnt/data/serial/.it.{digest[:12]}.part"
        link.check(f"mkdir -p /mnt/data/serial; cat > {part}", path.read_bytes()[:30_000])
    with Console(board.aarch64, timeout=300) as console:
        console.login()
        assert console.command("echo a; (exit 3)") == (3, "a\n")
        seen: list[int] = []
        console.send_file(path, "/mnt/data/serial/it", lambda done, *_: seen.append(done))
        assert seen[0] > 30_000
        assert console.command("sha256sum < /mnt/data/serial/it")[1].split()[0] == digest
        assert console.command("ls -A /mnt/data/serial")[1] == "it\n"
        with pytest.raises(BoardError):
            console.send_file(path, "/proc/none/it")
        with pytest.raises(BoardError):  # more than /mnt/small holds
            big = tmp_path / "big"
            big.write_bytes(bytes(1_200_000))
            console.check("head -c 1030000 /dev/zero > /mnt/small/fill || true", "filling")
            console.send_file(path, "/mnt/small/it")
        assert console.command("rm /mnt/small/fill; ls -A /mnt/small | grep -c it")[1] == "0\n"


def test_console_on_a_pseudo_terminal(board: SimpleNamespace, tmp_path: Path) -> None:
    """The same through a pty, as an USB serial cable looks like, to a board without network."""
    from tpuforge.compiler.errors import UserInputError
    from tpuforge.evb import Console, connect, fingerprint_of, wait_for_ssh
    from tpuforge.evb.items import sha256

    found = re.fullmatch(r"socket://127.0.0.1:(\d+)", board.aarch64.serial)
    assert found
    master, slave = pty.openpty()
    stop = threading.Event()

    def bridge() -> None:
        with socket.create_connection(("127.0.0.1", int(found[1]))) as s:
            while not stop.is_set():
                for ready in select.select([master, s], [], [], 0.1)[0]:
                    if ready is s:
                        os.write(master, s.recv(4096))
                    else:
                        s.sendall(os.read(master, 4096))

    thread = threading.Thread(target=bridge)
    thread.start()
    try:
        cable = replace(board.aarch64, serial=os.ttyname(slave), host="", host_key="")
        path = tmp_path / "file"
        path.write_bytes(np.random.default_rng(1).bytes(30_000))
        with Console(cable, timeout=300) as console:
            console.login()
            assert console.command("uname -m") == (0, "aarch64\n")
            console.send_file(path, "/mnt/data/serial/cable")
            assert console.command("sha256sum /mnt/data/serial/cable")[1].split()[0] == sha256(path)
        for verb in (connect, fingerprint_of, wait_for_ssh):
            with pytest.raises(UserInputError, match="only `console` commands work"):
                verb(cable)
    finally:
        stop.set()
        thread.join()
        os.close(slave)
        os.close(master)


def test_console_that_is_not_there(board: SimpleNamespace) -> None:
    from tpuforge.evb import LinkError
    from tpuforge.evb.console import Console

    for port in ("/dev/ttyNONE9", "socket://127.0.0.1:1"):
        with pytest.raises(LinkError, match="can not be opened"):
            Console(replace(board.aarch64, serial=port))
