"""A booted virtual board with the SDKs of both ARM targets, once per session."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest

NEEDED = {
    "qemu-system-aarch64": "apt install qemu-system-arm",
    "apt-get": "the virtual board needs a Debian host",
    "cmake": "apt install cmake",
}


def requirements() -> None:
    for package in ("paramiko", "serial"):
        if not importlib.util.find_spec(package):
            conftest.missing("pip install 'tpuforge[evb]'")
    for tool, how in NEEDED.items():
        if not shutil.which(tool, path=f"{os.environ['PATH']}:{Path(sys.executable).parent}"):
            conftest.missing(f"{tool} is not installed: {how}")


@pytest.fixture(scope="session")
def boards_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Descriptions and state of boards go to folders of the tests, so that no board of the user is
    in the way; kernel and packages stay in the user's cache."""
    requirements()
    from tpuforge.evb.image import base_image
    from tpuforge.evb.paths import virtual_folder

    files = [*base_image(virtual_folder()), virtual_folder() / "base.json"]
    home = tmp_path_factory.mktemp("evb")
    for path in files:
        (home / path.name).symlink_to(path)
    folder = tmp_path_factory.mktemp("boards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TPUFORGE_BOARDS", str(folder))
        patch.setenv("TPUFORGE_EVB_HOME", str(home))
        yield folder


@pytest.fixture(scope="session")
def board(boards_home: Path) -> Iterator[SimpleNamespace]:
    """A running virtual board: `.aarch64`, `.armhf` (one machine, a folder per target), `.name`."""
    from tpuforge.evb import virtual

    name = f"test-{os.getpid()}"
    described, state = virtual.up(name, timeout=600)
    described = replace(described, alive_timeout=60.0)
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
        conftest.missing("no cross compiler: pip install ziglang")
    folder = tmp_path_factory.mktemp("sdk")
    keep = os.environ.get("TPUFORGE_SDK_BUILD")
    source = Path(__file__).resolve().parents[2]
    for target in ("aarch64", "armhf"):
        build = Path(keep) / target if keep else None
        build_sdk(target, folder / target, source=source, build=build)
    return {t: folder / t for t in ("aarch64", "armhf")}
