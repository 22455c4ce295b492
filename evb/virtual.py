"""The virtual board: up, down, status.

State lives in `<evb folder>/boards/<name>`: process id, ports, keys, disk. The description of
the board is written as `<name>.toml` into the boards folder, so every other command works on it.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..compiler.errors import OptionError, UserInputError
from . import qemu
from .board import Board, board_path, save_board
from .errors import BoardError, LinkError
from .image import base_image, overlay
from .keys import Key, new_key
from .paths import virtual_folder
from .wait import wait_for_ssh

DISK_MB = 256


@dataclass(frozen=True)
class Status:
    """A virtual board: `pid` 0 when it is not running. Times in seconds.

    ended: the last words of a machine that ended without `down`.
    """

    name: str
    pid: int
    port: int = 0
    terminal: str = ""
    assemble_s: float = 0.0
    boot_s: float = 0.0
    ended: str = ""


def status(name: str = "virtual") -> Status:
    """What is known of a virtual board; pid 0 if it does not run."""
    folder = _folder(name)
    try:
        known = Status(**json.loads((folder / "state.json").read_text()))
    except (OSError, ValueError, TypeError):
        return Status(name, 0)
    if qemu.is_ours(known.pid, folder / "initrd.cpio"):
        return known
    return Status(name, 0, known.port, ended=qemu.last_words(folder))


def up(
    name: str = "virtual",
    *,
    chip: str = "cv183x",
    target: str = "aarch64",
    without: Sequence[str] = (),
    small_kb: int = 1024,
    refresh: bool = False,
    timeout: float = 120,
    note: Callable[[str], None] = lambda text: None,
) -> tuple[Board, Status]:
    """Assemble and boot a board and wait until SSH answers.

    without: things to leave out (guest.py), for tests of crippled boards. BoardError: already
    running, or no answer within `timeout` seconds.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise OptionError(f"name {name!r}: letters, digits, - and _ only")
    if status(name).pid:
        raise BoardError(f"{name} is already running: `tpuforge evb virtual down --name {name}`")
    begin = time.monotonic()
    kernel, base = base_image(virtual_folder(), refresh, note)
    folder = _folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    host_key, user_key, password = new_key(), new_key(), secrets.token_urlsafe(12)
    _private(folder / "id_ed25519", user_key.openssh(f"tpuforge-{name}"))
    _private(folder / "password", password)
    options = {"HOST_NAME": name, "WITHOUT": f"'{' '.join(without)}'", "SMALL_KB": small_kb}
    files = _overlay_files(host_key, user_key, password, options)
    initrd, disk = folder / "initrd.cpio", folder / "disk.img"
    _concatenate(initrd, base, overlay(files))
    _new_disk(disk)
    assembled = time.monotonic()
    note("booting")
    port, serial = qemu.free_port(), qemu.free_port()
    machine = qemu.Machine(kernel, initrd, disk, port, serial, name=name)
    pid, terminal = qemu.start(machine), f"socket://127.0.0.1:{serial}"
    board = Board(
        name, host="127.0.0.1", port=machine.port, key=str(folder / "id_ed25519"),
        host_key=host_key.fingerprint(), serial=terminal, chip=chip, target=target,
        password=f"file:{folder / 'password'}", simulator=True,
    )  # fmt: skip
    try:
        save_board(board)
        wait_for_ssh(board, timeout, lambda: qemu.is_ours(pid, initrd))
    except LinkError as e:
        qemu.stop(pid, initrd)
        board_path(name).unlink(missing_ok=True)
        raise BoardError(f"{e} ({qemu.last_words(folder)})") from None
    except BaseException:
        qemu.stop(pid, initrd)
        board_path(name).unlink(missing_ok=True)
        raise
    now = time.monotonic()
    state = Status(name, pid, machine.port, terminal, assembled - begin, now - assembled)
    (folder / "state.json").write_text(json.dumps(state.__dict__))
    return board, state


def down(name: str = "virtual") -> bool:
    """Switch a virtual board off and remove its keys, disk and description; whether it ran."""
    state, folder = status(name), _folder(name)
    stopped = bool(state.pid) and qemu.stop(state.pid, folder / "initrd.cpio")
    if folder.is_dir():
        shutil.rmtree(folder)
        board_path(name).unlink(missing_ok=True)
    return stopped


def _folder(name: str) -> Path:
    return virtual_folder() / "boards" / name


def _private(path: Path, text: str) -> None:
    """A file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_text(text)


def _overlay_files(
    host_key: Key, user_key: Key, password: str, options: dict[str, object]
) -> dict[str, tuple[bytes, int]]:
    conf = "".join(f"{k}={v}\n" for k, v in options.items())
    return {
        "etc/board.conf": (conf.encode(), 0o644),
        "etc/password": (f"{password}\n".encode(), 0o600),
        "etc/shadow": (b"root:*:19000:0:99999:7:::\n", 0o600),
        "etc/dropbear/host_key": (host_key.dropbear(), 0o600),
        "root/.ssh/authorized_keys": (user_key.authorized("tpuforge").encode(), 0o600),
    }


def _concatenate(target: Path, base: Path, tail: bytes) -> None:
    """The kernel unpacks archives one after another; each ends at a multiple of 4."""
    shutil.copyfile(base, target)
    with target.open("ab") as out:
        out.write(bytes(-out.tell() % 4))
        out.write(tail)


def _new_disk(path: Path) -> None:
    """A fresh sparse ext4 image of DISK_MB megabytes: the SD card of the board."""
    tool = shutil.which("mke2fs") or shutil.which("mke2fs", path="/sbin:/usr/sbin")
    if not tool:
        raise UserInputError("mke2fs is not installed: `apt install e2fsprogs`")
    path.unlink(missing_ok=True)
    command = [tool, "-q", "-t", "ext4", "-O", "^metadata_csum", str(path), f"{DISK_MB}M"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise BoardError(f"mke2fs failed: {' '.join(done.stderr.split())}")
