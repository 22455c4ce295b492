"""Debian packages of other architectures, without touching the package system of this machine.

apt-get runs with its own folders for state and cache and its own list of sources, so that neither
the architectures of dpkg nor the lists in /var/lib/apt change and no root rights are needed.
A .deb file is an `ar` archive; its member data.tar.* holds the files.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from ..compiler.errors import UserInputError

MIRROR, SUITE = "http://deb.debian.org/debian", "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class AptRoot:
    """A private apt configuration in `folder` for arm64 (main) and armhf."""

    def __init__(self, folder: Path, mirror: str | None = None, suite: str = SUITE):
        self.folder = folder
        self.mirror = mirror or os.environ.get("TPUFORGE_DEBIAN_MIRROR", MIRROR)
        self.suite = suite
        self._prepare()

    def _prepare(self) -> None:
        for tool in ("apt-get", "apt-cache"):
            if not shutil.which(tool):
                raise UserInputError(
                    f"{tool} is not installed: the virtual board is assembled from Debian packages "
                    "and needs a Debian or Ubuntu host"
                )
        if not Path(KEYRING).exists():
            raise UserInputError(
                f"{KEYRING} is missing: install it with `apt install debian-archive-keyring`"
            )
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        source = f"deb [signed-by={KEYRING}] {self.mirror} {self.suite} main\n"
        (self.folder / "sources.list").write_text(source)

    def _options(self) -> list[str]:
        f = self.folder
        settings = {
            "Dir::State": f, "Dir::State::lists": f / "lists", "Dir::State::status": f / "status",
            "Dir::Cache": f / "cache", "Dir::Etc::sourcelist": f / "sources.list",
            "Dir::Etc::sourceparts": "-", "Dir::Etc::preferencesparts": "-",
            "APT::Architecture": "arm64", "APT::Architectures::": "arm64",
            "Acquire::Languages": "none", "APT::Sandbox::User": "",
        }  # fmt: skip
        words = [w for k, v in settings.items() for w in ("-o", f"{k}={v}")]
        return [*words, "-o", "APT::Architectures::=armhf"]

    def _run(self, tool: str, *words: str, cwd: Path | None = None) -> str:
        command = [tool, *self._options(), *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=900)
        if done.returncode:
            reason = " ".join((done.stderr or done.stdout).split())[-500:]
            raise UserInputError(
                f"`{tool} {' '.join(words)}` failed: {reason}; the mirror is {self.mirror} "
                "(TPUFORGE_DEBIAN_MIRROR chooses another)"
            )
        return done.stdout

    def update(self) -> None:
        """Fetch the package lists."""
        self._run("apt-get", "-qq", "update")

    def depends(self, package: str, prefix: str) -> str:
        """The dependency of a package whose name begins with `prefix`."""
        for line in self._run("apt-cache", "depends", package).splitlines():
            kind, _, name = line.strip().partition(": ")
            if kind == "Depends" and name.startswith(prefix):
                return name
        raise UserInputError(f"Debian package {package} does not depend on any {prefix}*")

    def download(self, packages: Sequence[str]) -> list[Path]:
        """The .deb files of `packages` (name or name:architecture); old ones are kept."""
        debs = self.folder / "debs"
        names = self._run("apt-get", "download", "--print-uris", *packages)
        files = [debs / line.split()[1] for line in names.splitlines() if line.startswith("'")]
        if len(files) != len(packages):
            raise UserInputError(f"the mirror offers {len(files)} of {len(packages)} packages")
        if any(not f.exists() for f in files):
            self._run("apt-get", "-qq", "download", *packages, cwd=debs)
        return files


def deb_members(path: Path) -> dict[str, bytes | str]:
    """Files of a .deb: path without leading ./ -> bytes of a file, or target (str) of a link."""
    files: dict[str, bytes | str] = {}
    with tarfile.open(fileobj=io.BytesIO(_data_tar(path))) as tar:
        for info in tar:
            name = info.name.removeprefix("./")
            if info.issym():
                files[name] = info.linkname
            elif info.isfile():
                stream = tar.extractfile(info)
                files[name] = stream.read() if stream else b""
    return files


def _data_tar(path: Path) -> bytes:
    """The member data.tar.* of the ar archive: 8 bytes magic, then headers of 60 bytes."""
    raw = path.read_bytes()
    if not raw.startswith(b"!<arch>\n"):
        raise UserInputError(f"{path}: not a Debian package; delete it and try again")
    at = 8
    while at + 60 <= len(raw):
        name, size = raw[at : at + 16].decode().strip(" /"), int(raw[at + 48 : at + 58])
        if name.startswith("data.tar"):
            return raw[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise UserInputError(f"{path}: no data.tar in this Debian package")
