"""Compile the C of samples/ for tests: once per session, with gcc."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import cvi_nn
import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES, INCLUDE = ROOT / "samples", ROOT / "device/runtime/include"
STB = next((Path(p) for p in ("/usr/include/stb",) if (Path(p) / "stb_image.h").exists()), None)
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")


def compiler() -> str:
    gcc = shutil.which("gcc") or shutil.which("cc")
    if not gcc:
        pytest.skip("no C compiler")
    return gcc


def _compile(*words: str) -> None:
    done = subprocess.run([compiler(), *FLAGS, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def _places() -> list[str]:
    stb = [f"-isystem{STB}"] if STB else ["-DSAMPLES_NO_STB"]
    return [f"-I{SAMPLES / d}" for d in ("common", "yolo", "classifier")] + [f"-I{INCLUDE}", *stb]


def runtime() -> list[str]:
    """Link options of the runtime that cvi_nn uses."""
    library = Path(cvi_nn.library_path())
    return [str(library), f"-Wl,-rpath,{library.parent}", "-lm", "-lpthread"]


def shared_library(folder: Path) -> Path:
    """samples/common and samples/yolo as one library for ctypes."""
    sources = sorted(map(str, [*SAMPLES.glob("common/*.c"), *SAMPLES.glob("yolo/*.c")]))
    out = folder / "libsamples.so"
    _compile("-fPIC", "-shared", *_places(), *sources, "-o", str(out), *runtime())
    return out


def program(folder: Path, library: Path, *sources: str) -> Path:
    """A program of samples/, linked with the shared library above."""
    out = folder / Path(sources[0]).stem
    files = [str(SAMPLES / s) for s in sources]
    link = [str(library), f"-Wl,-rpath,{library.parent}", *runtime()]
    _compile(*_places(), *files, "-o", str(out), *link)
    return out


class Image(ctypes.Structure):
    """The struct Image of common/image.h."""

    _fields_ = [
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("pixels", ctypes.POINTER(ctypes.c_uint8)),
    ]


class Letterbox(ctypes.Structure):
    """The struct Letterbox of common/resize.h."""

    _fields_ = [("ratio", ctypes.c_double)] + [
        (n, ctypes.c_int) for n in ("width", "height", "left", "top")
    ]
