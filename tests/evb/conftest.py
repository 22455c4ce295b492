"""A booted virtual board with the SDKs of both ARM targets, once per session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

NEEDED = {"qemu-system-aarch64": "apt install qemu-system-arm", "apt-get": "a Debian host"}


def _requirements() -> None:
    for package in ("paramiko", "serial"):
        pytest.importorskip(package, reason="pip install 'tpuforge[evb]'")
    for tool, how in NEEDED.items():
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed: {how}")


@pytest.fixture(scope="session")
def boards_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Board descriptions go to a folder of the tests; downloads stay in the user's cache."""
    folder = tmp_path_factory.mktemp("boards")
    before = os.environ.get("TPUFORGE_BOARDS")
    os.environ["TPUFORGE_BOARDS"] = str(folder)
    yield folder
    os.environ.pop("TPUFORGE_BOARDS")
    if before is not None:
        os.environ["TPUFORGE_BOARDS"] = before


@pytest.fixture(scope="session")
def board(boards_home: Path) -> Iterator[SimpleNamespace]:
    """A running virtual board: `.aarch64`, `.armhf` (one machine, a folder per target), `.name`."""
    _requirements()
    from tpuforge.evb import virtual

    name = f"test-{os.getpid()}"
    described, state = virtual.up(name)
    described = replace(described, alive_timeout=15.0)
    try:
        yield SimpleNamespace(
            name=name,
            state=state,
            aarch64=replace(described, folder="/mnt/data/aarch64"),
            armhf=replace(described, folder="/mnt/data/armhf", target="armhf"),
        )
    finally:
        if ended := virtual.status(name).ended:
            print(f"the virtual board ended by itself: {ended}")
        virtual.down(name)


@pytest.fixture(scope="session")
def sdks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The SDK folders of aarch64 and armhf. TPUFORGE_SDK_BUILD: keep the build folders there."""
    from tpuforge.evb.sdk import build_sdk, find_zig

    if not find_zig() and not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("no cross compiler: pip install ziglang")
    folder = tmp_path_factory.mktemp("sdk")
    keep = os.environ.get("TPUFORGE_SDK_BUILD")
    source = Path(__file__).resolve().parents[2]
    for target in ("aarch64", "armhf"):
        build = Path(keep) / target if keep else None
        build_sdk(target, folder / target, source=source, build=build)
    return {t: folder / t for t in ("aarch64", "armhf")}
