"""The root file system of the virtual board: an initramfs made of Debian packages.

`base_image` gives the kernel and an archive that is the same for every board (cached until
`refresh`); `overlay` is a small archive with what belongs to one board: keys, password, options.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..compiler.errors import UserInputError
from .cpio import Cpio
from .debian import AptRoot, deb_members
from .guest import INITTAB, RCS

PACKAGES = (
    "busybox-static", "dash", "dropbear-bin", "openssh-sftp-server", "libc6", "libgcc-s1",
    "libtomcrypt1", "libtommath1", "libgmp10", "libcrypt1", "zlib1g",
    "libc6:armhf", "libgcc-s1:armhf",
)  # fmt: skip
KERNEL, KERNEL_PREFIX = "linux-image-cloud-arm64", "linux-image-"
MODULES = (
    "virtio", "virtio_ring", "virtio_mmio", "virtio-rng", "failover", "net_failover", "virtio_net",
    "virtio_blk",
)  # fmt: skip
#: shared libraries that are taken from the packages (name up to .so)
LIBRARIES = (
    "ld-linux-aarch64", "ld-linux-armhf", "libc", "libm", "libpthread", "libdl", "librt",
    "libutil", "libgcc_s", "libcrypt", "libtomcrypt", "libtommath", "libgmp", "libz",
)  # fmt: skip
PROGRAMS = {
    "bin/busybox": "bin/busybox",
    "bin/dash": "bin/dash",
    "usr/sbin/dropbear": "usr/sbin/dropbear",
    "usr/lib/openssh/sftp-server": "usr/lib/sftp-server",
}
FORMAT = 6  # raised when the contents of the base archive change


def base_image(
    folder: Path, refresh: bool = False, note: Callable[[str], None] = lambda text: None
) -> tuple[Path, Path]:
    """Kernel and base archive below `folder`; downloads about 27 MB the first time.

    Of several processes one fetches, the others wait for it.
    """
    kernel, archive, stamp = folder / "kernel", folder / "base.cpio", folder / "base.json"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if refresh or not _is_current(stamp, kernel, archive):
            _assemble(folder, kernel, archive, stamp, note)
    return kernel, archive


def _assemble(
    folder: Path, kernel: Path, archive: Path, stamp: Path, note: Callable[[str], None]
) -> None:
    note("fetching arm64 and armhf packages from Debian into a private folder")
    apt = AptRoot(folder / "apt")
    apt.update()
    kernel_package = apt.depends(KERNEL, KERNEL_PREFIX)
    debs = apt.download([kernel_package, *PACKAGES])
    note(f"assembling the root file system from {len(debs)} packages")
    kernel_deb = next(d for d in debs if d.name.startswith(KERNEL_PREFIX))
    image = _kernel_and_modules(deb_members(kernel_deb))
    root = _root([d for d in debs if d != kernel_deb], image)
    _replace(kernel, image["kernel"])
    _replace(archive, bytes(root))
    sums = {p.name: _sha(p.read_bytes()) for p in (kernel, archive)}
    _replace(stamp, json.dumps({"format": FORMAT, "debs": [d.name for d in debs], **sums}).encode())


def _is_current(stamp: Path, kernel: Path, archive: Path) -> bool:
    """Whether the files are complete and of this version of the recipe."""
    try:
        known = json.loads(stamp.read_text())
        return bool(
            known["format"] == FORMAT
            and known["kernel"] == _sha(kernel.read_bytes())
            and known["base.cpio"] == _sha(archive.read_bytes())
        )
    except (OSError, ValueError, KeyError):
        return False


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Write a file under its final name only when complete."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def _kernel_and_modules(files: dict[str, bytes | str]) -> dict[str, bytes]:
    """The kernel as "kernel" and the modules of MODULES under their names."""
    found: dict[str, bytes] = {}
    for name, data in files.items():
        path = PurePosixPath(name)
        if isinstance(data, bytes) and path.name.startswith("vmlinuz-"):
            found["kernel"] = data
        if isinstance(data, bytes) and path.suffix == ".ko" and path.stem in MODULES:
            found[path.stem] = data
    missing = {"kernel", *MODULES} - set(found)
    if missing:
        raise UserInputError(f"the kernel package lacks {', '.join(sorted(missing))}")
    return found


def _root(debs: list[Path], modules: dict[str, bytes]) -> Cpio:
    """Everything that does not depend on the board."""
    root = Cpio()
    for name in ("dev/pts", "proc", "sys", "run", "tmp", "mnt/data", "mnt/small", "etc/dropbear"):
        root.folder(name)
    root.device("dev/console", 5, 1)
    root.device("dev/null", 1, 3, 0o666)
    root.symlink("init", "bin/busybox")
    for deb in debs:
        _add_package(root, deb_members(deb))
    for name in MODULES:
        root.file(f"lib/modules/{name}.ko", modules[name])
    root.file("etc/inittab", INITTAB.encode())
    root.file("etc/rcS", RCS.replace("@MODULES@", " ".join(MODULES)).encode(), 0o755)
    root.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nshadow: files\n")
    root.file("etc/group", b"root:x:0:\n")
    root.file("etc/shells", b"/bin/sh\n")
    root.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    root.file("etc/ld.so.conf", b"/usr/local/lib\n")
    return root


def _add_package(root: Cpio, files: dict[str, bytes | str]) -> None:
    """The programs of PROGRAMS and the shared libraries of LIBRARIES, links included."""
    for name, data in files.items():
        path = PurePosixPath(name)
        target = PROGRAMS.get(name)
        if target is None and path.name.partition(".so")[0] in LIBRARIES and ".so" in path.name:
            if any(part in ("gconv", "audit", "debug") for part in path.parts):
                continue
            target = name
        if target is None or target in root:
            continue
        if isinstance(data, bytes):
            root.file(target, data, 0o755)
        else:
            root.symlink(target, data)


def overlay(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A second archive with the files of one board: path -> (contents, mode)."""
    archive = Cpio()
    archive.folder("root", 0o700)
    archive.folder("root/.ssh", 0o700)
    archive.folder("etc/dropbear", 0o700)
    for name, (data, mode) in files.items():
        archive.file(name, data, mode)
    return bytes(archive)
