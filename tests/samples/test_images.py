"""Pictures in C: resize and letterbox (cli.md sections 10.3, 19.1, 19.2), files, orientation, and
the preprocessing of the host (section 10.4)."""

from __future__ import annotations

import ctypes
import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from samples.build import STB, Image, Letterbox
from tpuforge.compiler.calibrate.preprocess import Preprocess

SIZES = (1, 3, 7, 8, 9, 15, 16, 17, 33, 50)
needs_stb = pytest.mark.skipif(STB is None, reason="libstb-dev is not installed")


def random_image(seed: int, h: int, w: int, c: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, c), np.uint8)


# ---- resize


def test_resize_vectors_of_the_specification(samples: Any) -> None:
    y, x = np.mgrid[:5, :7]
    source = ((37 * y + 11 * x + 9 * ((x * y) % 5)) % 256).astype(np.uint8)[..., None]
    wanted = {
        (3, 4): [[17, 42, 66, 76], [85, 130, 141, 147], [152, 180, 192, 218]],
        (2, 3): [[39, 81, 88], [147, 185, 189]],
    }
    for (h, w), rows in wanted.items():
        assert samples.resize(source, w, h)[..., 0].tolist() == rows
    large = samples.resize(source, 10, 8)[..., 0]
    assert large[0].tolist() == [0, 6, 14, 21, 29, 37, 44, 52, 60, 66]
    assert large[3].tolist() == [62, 77, 95, 114, 112, 119, 135, 122, 129, 144]
    assert large[7].tolist() == [148, 174, 195, 197, 198, 200, 201, 202, 224, 250]
    y, x = np.mgrid[:4, :6]
    half = samples.resize((13 * y + 29 * x).astype(np.uint8)[..., None], 3, 2)[..., 0]
    assert half.tolist() == [[21, 79, 137], [47, 105, 163]]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resize_equals_opencv(samples: Any, channels: int) -> None:
    random = np.random.default_rng(channels)
    for k in range(120):
        h, w = random.choice(SIZES, 2)
        to_h, to_w = random.choice(SIZES, 2)
        if k % 10 == 0:
            h, w = 2 * to_h, 2 * to_w
        source = random_image(k, int(h), int(w), channels)
        wanted = cv2.resize(source, (int(to_w), int(to_h)), interpolation=cv2.INTER_LINEAR)
        got = samples.resize(source, int(to_w), int(to_h))
        assert np.array_equal(got, wanted.reshape(got.shape)), (h, w, to_h, to_w)


def test_sizes_that_are_not_accepted(samples: Any) -> None:
    source = random_image(0, 4, 4)
    for w, h in ((0, 4), (4, -1), (40000, 4), (32767, 32767)):
        assert samples.resize(source, w, h) is None


# ---- letterbox


@pytest.mark.parametrize(
    ("source", "canvas", "wanted"),
    [
        ((640, 480), (640, 640), (640, 480, 0, 80)),
        ((768, 576), (640, 640), (640, 480, 0, 80)),
        ((640, 427), (416, 416), (416, 277, 0, 69)),
        ((427, 640), (416, 416), (277, 416, 69, 0)),
        ((1000, 667), (224, 224), (224, 149, 0, 37)),
    ],
)
def test_letterbox_geometry(samples: Any, source: tuple, canvas: tuple, wanted: tuple) -> None:
    g: Letterbox = samples.c.letterbox_geometry(*source, *canvas)
    assert (g.width, g.height, g.left, g.top) == wanted


def test_letterbox_picture(samples: Any) -> None:
    source = random_image(5, 31, 57)
    got = samples.call(
        "image_letterbox", ctypes.byref(samples.image(source)), 64, 48, ctypes.c_uint8(114)
    )
    wanted = np.full((48, 64, 3), 114, np.uint8)
    h = int(31 * (64 / 57))
    top = (48 - h) // 2
    wanted[top : top + h] = cv2.resize(source, (64, h), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(got, wanted)


# ---- files


def load(samples: Any, path: Path) -> np.ndarray | None:
    return samples.call("image_load", str(path).encode())


@needs_stb
def test_png_is_exact_and_jpeg_is_close(samples: Any, tmp_path: Path) -> None:
    source = cv2.GaussianBlur(random_image(1, 40, 64), (9, 9), 3)
    for suffix, worst in ((".png", 0), (".jpg", 6)):
        path = tmp_path / f"a{suffix}"
        cv2.imwrite(str(path), source, [cv2.IMWRITE_JPEG_QUALITY, 95])
        got = load(samples, path)
        assert got is not None
        assert np.abs(got.astype(int) - cv2.imread(str(path)).astype(int)).max() <= worst


def exif_jpeg(image: np.ndarray, orientation: int, big: bool) -> bytes:
    """A JPEG file with an Exif segment that holds the orientation only."""
    e = ">" if big else "<"
    entry = struct.pack(f"{e}HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = (b"MM" if big else b"II") + struct.pack(f"{e}HIH", 42, 8, 1) + entry + bytes(4)
    body = b"Exif\0\0" + tiff
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@needs_stb
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_as_opencv_applies_it(samples: Any, tmp_path: Path, orientation: int) -> None:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:8, :16] = (0, 0, 255)
    image[8:, 16:] = (0, 255, 0)
    path = tmp_path / "a.jpg"
    path.write_bytes(exif_jpeg(image, orientation, big=bool(orientation % 2)))
    got, wanted = load(samples, path), cv2.imread(str(path))
    assert got is not None and got.shape == wanted.shape
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 6


def test_damaged_pictures_are_refused(samples: Any, tmp_path: Path) -> None:
    good = exif_jpeg(random_image(2, 16, 16), 6, big=True)
    for k, data in enumerate(
        (b"", b"no picture", good[:40], b"\x93NUMPY\x01\x00\xff\xff", good[:2])
    ):
        for suffix in (".jpg", ".npy"):
            path = tmp_path / f"{k}{suffix}"
            path.write_bytes(data)
            assert load(samples, path) is None
    assert load(samples, tmp_path / "absent.jpg") is None


@pytest.mark.parametrize("suffix", [".npy", ".ppm"])
def test_saved_pictures(samples: Any, tmp_path: Path, suffix: str) -> None:
    source, path = random_image(3, 5, 7), tmp_path / f"a{suffix}"
    samples.c.image_save.restype = ctypes.c_bool
    assert samples.c.image_save(ctypes.byref(samples.image(source)), str(path).encode())
    again = np.load(path) if suffix == ".npy" else cv2.imread(str(path))
    assert np.array_equal(again, source)


def test_npy_of_every_version(samples: Any, tmp_path: Path) -> None:
    source = random_image(4, 9, 8)
    for version in ((1, 0), (2, 0), (3, 0)):
        out = io.BytesIO()
        np.lib.format.write_array(out, source, version=version)
        (tmp_path / "a.npy").write_bytes(out.getvalue())
        assert np.array_equal(load(samples, tmp_path / "a.npy"), source)
    np.save(tmp_path / "f.npy", np.asfortranarray(source))
    assert load(samples, tmp_path / "f.npy") is None
    np.save(tmp_path / "g.npy", source.astype(np.float32))
    assert load(samples, tmp_path / "g.npy") is None


# ---- normalisation


class Shape(ctypes.Structure):
    _fields_ = [("dim", ctypes.c_int32 * 6), ("dim_size", ctypes.c_size_t)]


class Tensor(ctypes.Structure):
    """CVI_TENSOR (api/cvi_nn.md section 2.2)."""

    _fields_ = [
        ("name", ctypes.c_char_p), ("shape", Shape), ("fmt", ctypes.c_int),
        ("count", ctypes.c_size_t), ("mem_size", ctypes.c_size_t), ("sys_mem", ctypes.c_void_p),
        ("paddr", ctypes.c_uint64), ("mem_type", ctypes.c_int), ("qscale", ctypes.c_float),
        ("zero_point", ctypes.c_int), ("pixel_format", ctypes.c_int), ("aligned", ctypes.c_bool),
        ("mean", ctypes.c_float * 3), ("scale", ctypes.c_float * 3), ("owner", ctypes.c_void_p),
        ("reserved", ctypes.c_char * 32),
    ]  # fmt: skip


class CPreprocess(ctypes.Structure):
    """Preprocess of common/preprocess.h."""

    _fields_ = [
        ("mean", ctypes.c_double * 3), ("scale", ctypes.c_double * 3), ("rgb", ctypes.c_bool),
        ("folded", ctypes.c_bool), ("fit", ctypes.c_int), ("resize_width", ctypes.c_int),
        ("resize_height", ctypes.c_int), ("pad", ctypes.c_uint8),
    ]  # fmt: skip


FP32, INT8 = 0, 6


def filled(samples: Any, image: np.ndarray, p: CPreprocess, fmt: int, qscale: float) -> np.ndarray:
    """What preprocess_image writes into a tensor of (2, 3, 24, 32), slot 1."""
    memory = np.zeros((2, 3, 24, 32), np.float32 if fmt == FP32 else np.int8)
    tensor = Tensor(b"x", Shape((2, 3, 24, 32, 1, 1), 4), fmt, memory.size, memory.nbytes)
    tensor.sys_mem, tensor.mem_type, tensor.qscale = memory.ctypes.data, 1, qscale
    samples.c.preprocess_image.restype = ctypes.c_bool
    view: Image = samples.image(image)
    assert samples.c.preprocess_image(ctypes.byref(tensor), 1, ctypes.byref(view), ctypes.byref(p))
    assert not memory[0].any()
    return memory[1]


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(("fit", "mode"), [(0, ""), (1, "letterbox"), (2, "short_side_scale")])
def test_preprocessing_is_the_hosts(
    samples: Any, tmp_path: Path, folded: bool, order: str, fit: int, mode: str
) -> None:
    image = random_image(9, 45, 61)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), image)
    mean, scale = (103.94, 116.78, 123.68), (0.017, 0.0171, 0.0169)
    attrs = {
        "mean": mean, "scale": scale, "pixel_format": order, "resize_dims": (28, 40),
        "keep_aspect_ratio": bool(mode), "folded": folded,
        **({"keep_ratio_mode": mode} if mode else {}),
    }  # fmt: skip
    wanted = Preprocess.from_attrs((1, 3, 24, 32), attrs).load(path)[0]
    p = CPreprocess((ctypes.c_double * 3)(*mean), (ctypes.c_double * 3)(*scale), order == "rgb")
    p.folded, p.fit, p.resize_width, p.resize_height = folded, fit, 40, 28
    assert np.array_equal(filled(samples, image, p, FP32, 1), wanted)
    real = wanted * np.float32(44.2)
    q = np.clip(np.sign(real) * np.floor(np.abs(real) + np.float32(0.5)), -128, 127)
    assert np.array_equal(filled(samples, image, p, INT8, 44.2), q.astype(np.int8))
