"""Build the runtime and the samples for a board, laid out as the SDK that goes with it.

    <SDK>/lib/libcviruntime.so (.a for static targets)   include/   bin/   cmake/ (toolchain files)
    <SDK>/samples/bin  samples/data  samples/run_*.sh  samples/src   third_party/   opencv/
    <SDK>/envs_tpu_sdk.sh  version

Everything is built with CMake and a toolchain file of cmake/: `zig cc` or a cross gcc.
"""

from __future__ import annotations

import importlib.resources
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..compiler.errors import OptionError, UserInputError
from .elf import read_elf
from .items import Item, collect

#: target -> toolchain file
TOOLCHAINS = {
    "aarch64": "toolchain-aarch64-linux.cmake",
    "armhf": "toolchain-linux-gnueabihf.cmake",
    "riscv64-musl": "toolchain-riscv64-linux-musl.cmake",
    "host": "",
}
COMPILERS = ("auto", "zig", "gcc")
SAMPLE_SOURCES = ("CMakeLists.txt", "common", "classifier", "model_info", "yolo", "tools")
STB_FOLDERS = ("/usr/include/stb", "/usr/local/include/stb")
#: what a board needs of the SDK
ON_BOARD = (
    "lib", "bin", "samples/bin", "samples/data", "samples/run_", "envs_tpu_sdk.sh", "version",
)  # fmt: skip

ENVS = """\
# Paths of the TPU SDK; source it: `. ./envs_tpu_sdk.sh`. A shell that does not say where its file
# is (sh) looks at TPU_SDK_PATH, TPU_ROOT and the current folder.
if [ -n "${BASH_SOURCE:-}" ]; then
  TPU_ROOT=$(cd "$(dirname "$BASH_SOURCE")" && pwd)
elif [ -n "${ZSH_VERSION:-}" ]; then
  eval 'TPU_ROOT=${${(%):-%x}:A:h}'
elif [ -e "${TPU_SDK_PATH:-}/envs_tpu_sdk.sh" ]; then
  TPU_ROOT=$TPU_SDK_PATH
elif [ ! -e "${TPU_ROOT:-}/envs_tpu_sdk.sh" ]; then
  TPU_ROOT=$(pwd)
fi
if [ -e "$TPU_ROOT/envs_tpu_sdk.sh" ]; then
  export TPU_ROOT TPU_SDK_PATH="$TPU_ROOT"
  export PATH="$TPU_ROOT/bin:$TPU_ROOT/samples/bin:$PATH"
  export LD_LIBRARY_PATH="$TPU_ROOT/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
else
  echo "envs_tpu_sdk.sh: go to the folder of the SDK first, or set TPU_SDK_PATH to it" >&2
  unset TPU_ROOT
  false
fi
"""


@dataclass(frozen=True)
class Sdk:
    """A built SDK: its folder, the sizes of what is in lib and bin, and the oldest glibc that its
    programs run with ("" for static ones)."""

    folder: Path
    sizes: dict[str, int]
    glibc: str


def source_folder() -> Path:
    """The folder with device/runtime, samples and cmake: a checkout, or the installed package."""
    here = Path(__file__).resolve().parent
    for root in (here.parent, here.parent / "source"):
        if (root / "device/runtime/CMakeLists.txt").is_file():
            return root
    raise UserInputError(
        f"the C sources of the runtime are not beside {here}: install the package again, or name "
        "a checkout of tpuforge with --source"
    )


def build_sdk(
    target: str,
    folder: Path,
    *,
    source: Path | None = None,
    compiler: str = "auto",
    simulator: bool = True,
    jobs: int | None = None,
    build: Path | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Sdk:
    """Build into `folder`, which is replaced when the build succeeds.

    build: a folder that is kept, so that a second build compiles only what changed.
    UserInputError: no compiler, or it fails; the message has the end of its output.
    """
    from .. import __version__

    if target not in TOOLCHAINS:
        raise OptionError(f"--target {target}: choose one of {', '.join(TOOLCHAINS)}")
    if compiler not in COMPILERS:
        raise OptionError(f"--compiler {compiler}: choose one of {', '.join(COMPILERS)}")
    root = source or source_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sdk-", dir=folder.parent) as scratch:
        tree = Path(scratch) / "sdk"
        work = build or Path(scratch) / "build"
        _compile(root, work, tree, target, compiler, simulator, jobs, note)
        _complete(root, tree)
        (tree / "version").write_text(f"tpuforge {__version__} {target}\n")  # doctor reads it
        tree.chmod(0o755)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        tree.rename(folder)
    sizes = {
        str(p.relative_to(folder)): p.stat().st_size
        for part in ("lib", "bin", "samples/bin")
        for p in sorted((folder / part).glob("*"))
    }
    binaries = [read_elf(folder / name) for name in sizes if not name.endswith(".a")]
    oldest = max((e.glibc() for e in binaries), default=())
    return Sdk(folder, sizes, ".".join(map(str, oldest)))


def _compile(
    root: Path,
    work: Path,
    tree: Path,
    target: str,
    compiler: str,
    simulator: bool,
    jobs: int | None,
    note: Callable[[str], None],
) -> None:
    cmake = _tool("cmake")
    options = [
        f"-DTPU_SOURCE={root}", f"-DTPU_SIMULATOR={'ON' if simulator else 'OFF'}",
        "-DCMAKE_BUILD_TYPE=Release",
    ]  # fmt: skip
    if TOOLCHAINS[target]:
        options.append(f"-DCMAKE_TOOLCHAIN_FILE={root / 'cmake' / TOOLCHAINS[target]}")
        zig = find_zig()
        if compiler != "auto":
            options.append(f"-DTPU_COMPILER={compiler}")
        if zig and compiler != "gcc":
            options.append(f"-DZIG={zig}")
    if stb := stb_folder():
        options.append(f"-DSTB_PATH={stb}")
    else:
        note("stb_image.h not found (apt install libstb-dev): the samples read .npy pictures only")
    if not (work / "CMakeCache.txt").exists() and (ninja := find_program("ninja")):
        options += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    note(f"configuring for {target}")
    _run([cmake, "-S", str(root / "cmake/sdk"), "-B", str(work), *options], "configuring")
    note("compiling")
    count = jobs or os.cpu_count() or 1
    _run([cmake, "--build", str(work), "--parallel", str(count)], "compiling")
    install = [cmake, "--install", str(work), "--component"]
    _run([*install, "sdk", "--prefix", str(tree)], "installing")
    _run([*install, "samples", "--prefix", str(tree / "samples")], "installing")


def _run(command: list[str], doing: str) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-12:])
        raise UserInputError(f"{doing} failed; the end of the compiler's output:\n{tail}")


def find_program(name: str) -> str | None:
    """A program on the PATH or beside this Python (cmake and ninja are also Python packages)."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def _tool(name: str) -> str:
    path = find_program(name)
    if not path:
        raise UserInputError(
            f"{name} is not installed: `pip install {name}` or `apt install {name}`"
        )
    return path


def find_zig() -> Path | None:
    """The zig program of the Python package ziglang, or on the PATH."""
    try:
        found = Path(str(importlib.resources.files("ziglang"))) / "zig"
    except ModuleNotFoundError:
        return Path(which) if (which := shutil.which("zig")) else None
    return found if found.exists() else None


def stb_folder() -> Path | None:
    """The folder with stb_image.h (Debian package libstb-dev)."""
    return next((Path(f) for f in STB_FOLDERS if (Path(f) / "stb_image.h").exists()), None)


def _complete(root: Path, tree: Path) -> None:
    """Everything that is not compiled."""
    (tree / "bin").mkdir(exist_ok=True)
    for name in ("cvi_sample_model_info", "model_runner"):
        if (tree / "samples/bin" / name).exists():
            shutil.copy2(tree / "samples/bin" / name, tree / "bin" / name)
    (tree / "cmake").mkdir(exist_ok=True)
    for path in sorted((root / "cmake").glob("*.cmake")):
        shutil.copyfile(path, tree / "cmake" / path.name)
    for name in SAMPLE_SOURCES:
        path, copy = root / "samples" / name, tree / "samples/src" / name
        if path.is_dir():
            shutil.copytree(path, copy)
        elif path.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    for path in sorted((root / "samples").glob("run_*.sh")):
        shutil.copy2(path, tree / "samples/src" / path.name)
    _third_party(tree)
    _labels(tree / "samples/data")
    (tree / "envs_tpu_sdk.sh").write_text(ENVS)


def _third_party(tree: Path) -> None:
    """stb (public domain) so that the samples build from the SDK alone; the folder opencv, which
    old command lines name and nothing needs."""
    (tree / "third_party").mkdir()
    for name in ("stb_image.h", "stb_image_write.h"):
        if (stb := stb_folder()) and (stb / name).exists():
            shutil.copyfile(stb / name, tree / "third_party" / name)
    (tree / "opencv").mkdir()
    (tree / "opencv/README").write_text("The samples do not need OpenCV.\n")


def _labels(data: Path) -> None:
    """samples/data/synset_words.txt: the ImageNet labels that come with tpuforge."""
    data.mkdir(parents=True, exist_ok=True)
    labels = importlib.resources.files("tpuforge.tools").joinpath("data/imagenet_labels.txt")
    if labels.is_file() and not (data / "synset_words.txt").exists():
        (data / "synset_words.txt").write_bytes(labels.read_bytes())


def board_items(folder: Path, places: tuple[str, ...] = ON_BOARD) -> list[Item]:
    """What is pushed of an SDK: libraries, programs, data and scripts, not sources and headers."""
    if not (folder / "lib").is_dir():
        raise UserInputError(f"{folder}: not an SDK folder; `tpuforge build-runtime` makes one")
    chosen = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        static = path.suffix == ".a"  # already inside the programs
        if not static and any(name == p or name.startswith((f"{p}/", p)) for p in places):
            chosen += collect([path], os.path.dirname(name))
    return chosen


def pack(folder: Path, archive: Path) -> None:
    """The SDK as a .tar.gz with reproducible times and owners."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = "root"
        return info

    part = archive.with_name(f".{archive.name}.part")
    with tarfile.open(part, "w:gz") as tar:
        tar.add(folder, arcname=folder.name, filter=plain)
    part.replace(archive)
