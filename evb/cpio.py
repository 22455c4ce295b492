"""Writer of cpio archives in the `newc` form, the form of a Linux initramfs.

One entry is a header of 110 ASCII characters ("070701" and thirteen 8-digit hex fields), the name
with a zero byte, padding to 4, the data, padding to 4; the last entry is called TRAILER!!!. The
kernel unpacks several archives one after another, so a small archive with keys can follow a large
one that is shared.
"""

from __future__ import annotations

import io
import stat


class Cpio:
    """Collects entries; `bytes(archive)` is the file. Parent folders are added on demand."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._known: set[str] = set()
        self._inode = 0

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """A regular file."""
        self._entry(name, data, stat.S_IFREG | mode)

    def symlink(self, name: str, target: str) -> None:
        self._entry(name, target.encode(), stat.S_IFLNK | 0o777)

    def folder(self, name: str, mode: int = 0o755) -> None:
        if name and name not in self._known:
            self._entry(name, b"", stat.S_IFDIR | mode)

    def device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        """A character device node."""
        self._entry(name, b"", stat.S_IFCHR | mode, (major, minor))

    def __contains__(self, name: str) -> bool:
        return name.strip("/") in self._known

    def _entry(self, name: str, data: bytes, mode: int, device: tuple[int, int] = (0, 0)) -> None:
        name = name.strip("/")
        if "/" in name:
            self.folder(name.rpartition("/")[0])
        self._known.add(name)
        self._write(name, data, mode, device)

    def _write(self, name: str, data: bytes, mode: int, device: tuple[int, int]) -> None:
        self._inode += 1
        links = 2 if stat.S_ISDIR(mode) else 1
        raw = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(raw), 0)
        self._out.write(b"070701" + b"".join(b"%08X" % f for f in fields) + raw)
        self._pad()
        self._out.write(data)
        self._pad()

    def _pad(self) -> None:
        self._out.write(bytes(-self._out.tell() % 4))

    def __bytes__(self) -> bytes:
        done = Cpio()
        done._write("TRAILER!!!", b"", 0, (0, 0))
        return self._out.getvalue() + done._out.getvalue()
