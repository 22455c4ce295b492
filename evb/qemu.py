"""Start and stop one qemu-system-aarch64 process (machine virt, cpu cortex-a53, no KVM).

The guest sees one network card whose other end is inside qemu: restrict=on, so that it reaches
nothing, and one port forward from 127.0.0.1. Its serial port, a 16550A as boards have it, is a TCP
port of 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ..compiler.errors import UserInputError
from .errors import BoardError

PROGRAM = "qemu-system-aarch64"
QEMU_LOG, SERIAL_LOG = "qemu.log", "serial.log"


@dataclass(frozen=True)
class Machine:
    """What to boot."""

    kernel: Path
    initrd: Path
    disk: Path
    port: int
    serial_port: int
    memory_mb: int = 512
    name: str = "virtual"


def free_port() -> int:
    """A free TCP port of the loopback interface."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def command(m: Machine) -> list[str]:
    """The command line of the machine."""
    net = f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{m.port}-10.0.2.15:22"
    return [
        PROGRAM, "-name", f"tpuforge-evb-{m.name}", "-M", "virt", "-cpu", "cortex-a53",
        "-accel", "tcg", "-smp", "1", "-m", str(m.memory_mb), "-nodefaults", "-display", "none",
        "-kernel", str(m.kernel), "-initrd", str(m.initrd),
        "-append", "console=ttyS0 quiet panic=1 rdinit=/init",
        "-netdev", net, "-device", "virtio-net-device,netdev=n0",
        "-drive", f"if=none,id=d0,format=raw,file={_escaped(m.disk)}",
        "-device", "virtio-blk-device,drive=d0", "-device", "virtio-rng-device",
        "-chardev", f"socket,id=s0,host=127.0.0.1,port={m.serial_port},server=on,wait=off,"
        f"logfile={_escaped(m.initrd.with_name(SERIAL_LOG))}",
        "-device", "pci-serial,chardev=s0",
    ]  # fmt: skip


def _escaped(path: Path) -> str:
    """Commas in values of qemu options are doubled."""
    return str(path).replace(",", ",,")


#: $0 log file, then the command. Prints the process number of the command at once; a shell stays
#: as its parent and notes how it ended: 128 + number of the signal
KEEPER = """\
(
  "$@" < /dev/null > "$0" 2>&1 & echo $!
  exec > /dev/null 2>&1
  wait $! || echo "ended with exit $?" >> "$0"
) &
"""


def start(m: Machine) -> int:
    """Start the machine in the background, in a session of its own; its process id.

    What qemu prints and how it ended goes to QEMU_LOG, its serial port to SERIAL_LOG beside the
    image.
    """
    if not shutil.which(PROGRAM):
        raise UserInputError(f"{PROGRAM} is not installed: `apt install qemu-system-arm`")
    words = ["sh", "-c", KEEPER, str(m.initrd.with_name(QEMU_LOG)), *command(m)]
    done = subprocess.run(
        words, capture_output=True, text=True, start_new_session=True, timeout=60, check=True
    )
    return int(done.stdout)


def last_words(folder: Path) -> str:
    """The end of what a machine printed: qemu itself, then the serial port."""
    found = []
    for name in (QEMU_LOG, SERIAL_LOG):
        with contextlib.suppress(OSError):
            text = (folder / name).read_bytes()[-2000:].decode(errors="replace")
            found += [f"{name}: {' '.join(text.split())[-300:]}"] if text.strip() else []
    return "; ".join(found) or "it said nothing"


def is_ours(pid: int, initrd: Path) -> bool:
    """Whether process `pid` is the qemu that runs this image (numbers are used again)."""
    for _ in range(100):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
        except OSError:
            return False
        if state in "ZX" or words != [b""]:
            return state not in "ZX" and os.fsencode(initrd) in words
        time.sleep(0.01)  # the moment at which the shell becomes qemu has no command line
    return False


def stop(pid: int, initrd: Path) -> bool:
    """End the machine like a power cut; whether it was running."""
    if not is_ours(pid, initrd):
        return False
    for sign, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if not is_ours(pid, initrd):
                return True
            time.sleep(0.02)
    raise BoardError(f"the virtual board (process {pid}) can not be ended")
