"""Pictures to network inputs, against the vectors of cli.md section 19 and a numpy statement of
section 10.
"""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from tpuforge.compiler.calibrate import Preprocess
from tpuforge.compiler.calibrate.preprocess import bgr_to_gray, bilinear, fill_batch, letterbox
from tpuforge.compiler.errors import OptionError, UnsupportedError, UserInputError


def vector_source() -> np.ndarray:
    y, x = np.mgrid[0:5, 0:7]
    return ((37 * y + 11 * x + 9 * ((x * y) % 5)) % 256).astype(np.uint8)[:, :, None]


def stated_bilinear(p: np.ndarray, w: int, h: int) -> np.ndarray:
    """Section 10.3 in plain numpy integers."""
    full_h, full_w = p.shape[:2]
    if (full_h, full_w) == (h, w):
        return p
    q = p.astype(np.int64)
    if (full_h, full_w) == (2 * h, 2 * w):
        return ((q[0::2, 0::2] + q[0::2, 1::2] + q[1::2, 0::2] + q[1::2, 1::2] + 2) >> 2).astype(
            np.uint8
        )

    def taps(dst: int, src: int, clamp_fraction: bool):
        f = ((np.arange(dst) + 0.5) * (1 / (dst / src)) - 0.5).astype(np.float32)
        s = np.floor(f).astype(int)
        f = (f - s.astype(np.float32)).astype(np.float32)
        if clamp_fraction:
            f[s < 0], s[s < 0] = 0, 0
            f[s >= src - 1], s[s >= src - 1] = 0, src - 1
        w0 = np.rint((np.float32(1) - f) * np.float32(2048)).astype(int)
        w1 = np.rint(f * np.float32(2048)).astype(int)
        return np.clip(s, 0, src - 1), np.clip(s + 1, 0, src - 1), w0, w1

    x0, x1, u0, u1 = taps(w, full_w, True)
    y0, y1, v0, v1 = taps(h, full_h, False)
    rows = q[:, x0] * u0[:, None] + q[:, x1] * u1[:, None]
    above, below = rows[y0] >> 4, rows[y1] >> 4
    out = (((v0[:, None, None] * above) >> 16) + ((v1[:, None, None] * below) >> 16) + 2) >> 2
    return np.clip(out, 0, 255).astype(np.uint8)


def rgb_model(h: int, w: int, **more) -> Preprocess:
    return Preprocess.from_attrs((1, 3, h, w), {"pixel_format": "rgb", **more})


def write_jpeg(path: Path, picture: np.ndarray) -> bytes:
    assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return path.read_bytes()


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(5)
    return cv2.GaussianBlur(rng.integers(0, 256, (45, 70, 3), np.uint8), (5, 5), 0)


# ---------------------------------------------------------------- resize


@pytest.mark.parametrize(
    ("h", "w", "row", "expected"),
    [
        (3, 4, 0, "17 42 66 76"), (3, 4, 1, "85 130 141 147"), (3, 4, 2, "152 180 192 218"),
        (2, 3, 0, "39 81 88"), (2, 3, 1, "147 185 189"),
        (8, 10, 0, "0 6 14 21 29 37 44 52 60 66"),
        (8, 10, 3, "62 77 95 114 112 119 135 122 129 144"),
        (8, 10, 7, "148 174 195 197 198 200 201 202 224 250"),
        (10, 14, 5, "83 91 107 119 129 134 133 137 147 149 142 146 162 170"),
    ],
)  # fmt: skip
def test_resize_vectors_of_the_specification(h, w, row, expected):
    assert bilinear(vector_source(), w, h)[row, :, 0].tolist() == [int(v) for v in expected.split()]


def test_exact_halving_is_the_rounded_mean():
    y, x = np.mgrid[0:4, 0:6]
    p = (13 * y + 29 * x).astype(np.uint8)[:, :, None]
    assert bilinear(p, 3, 2)[:, :, 0].tolist() == [[21, 79, 137], [47, 105, 163]]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((37, 53), (24, 24)),
        ((37, 53), (80, 111)),
        ((16, 16), (8, 8)),
        ((5, 200), (5, 64)),
        ((1, 1), (4, 3)),
        ((64, 48), (64, 48)),
    ],
)
def test_resize_is_the_stated_rule(channels, size, to):
    p = np.random.default_rng(channels).integers(0, 256, (*size, channels), np.uint8)
    assert np.array_equal(bilinear(p, to[1], to[0]), stated_bilinear(p, to[1], to[0]))


@pytest.mark.parametrize(
    ("full", "canvas", "expected"),
    [
        ((640, 480), (640, 640), (640, 480, 0, 80)), ((768, 576), (640, 640), (640, 480, 0, 80)),
        ((640, 427), (416, 416), (416, 277, 0, 69)), ((427, 640), (416, 416), (277, 416, 69, 0)),
        ((1000, 667), (224, 224), (224, 149, 0, 37)),
    ],
)  # fmt: skip
def test_letterbox_geometry(full, canvas, expected):
    assert letterbox(*full, *canvas) == expected


def test_letterbox_fills_and_centres(picture):
    pre = rgb_model(40, 40, keep_aspect_ratio=True, pad_value=114)
    out = pre.resized(picture)  # 45 x 70 -> 25 x 40, 7 rows above, 8 below
    assert (out[:, :7] == 114).all() and (out[:, 32:] == 114).all()
    assert np.array_equal(out[:, 7:32], bilinear(picture, 40, 25).transpose(2, 0, 1))
    top = rgb_model(40, 40, keep_aspect_ratio=True, pad_type="normal").resized(picture)
    assert (
        np.array_equal(top[:, :25], bilinear(picture, 40, 25).transpose(2, 0, 1))
        and not top[:, 25:].any()
    )


def test_short_side_scale_crops_the_middle(picture):
    pre = rgb_model(30, 30, keep_aspect_ratio=True, keep_ratio_mode="short_side_scale")
    whole = bilinear(picture, 46, 30)  # r = 30 / 45
    assert np.array_equal(pre.resized(picture), whole[:, 8:38].transpose(2, 0, 1))


def test_letterbox_works_with_alpha():
    pre = Preprocess.from_attrs((1, 4, 8, 8), {"pixel_format": "rgba", "keep_aspect_ratio": True})
    assert pre.resized(np.full((4, 8, 4), 9, np.uint8))[:, 2:6].min() == 9


# ---------------------------------------------------------------- crop, order, arithmetic


def test_crop_follows_the_resize(picture):
    pre = rgb_model(20, 21, resize_dims=(32, 40))
    middle = bilinear(picture, 40, 32)[16 - 10 : 16 - 10 + 20, 20 - 10 : 20 - 10 + 21]
    assert np.array_equal(
        pre.load(picture)[0], middle[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    )
    right = rgb_model(20, 21, resize_dims=(32, 40), crop="right")
    assert np.array_equal(
        right.load(picture)[0, 0], bilinear(picture, 40, 32)[12:, 19:, 2].astype(np.float32)
    )


def test_new_arithmetic_in_model_order(picture):
    mean, scale = (123.675, 116.28, 103.53), (0.0171, 0.0175, 0.0174)
    out = rgb_model(45, 70, mean=mean, scale=scale).load(picture)
    for c in range(3):
        x = picture[:, :, 2 - c].astype(np.float32)
        assert np.array_equal(out[0, c], (x - np.float32(mean[c])) * np.float32(scale[c]))


def test_folded_arithmetic_of_the_old_dialect(picture):
    """S1-14: raw_scale 1, mean 0.406,0.456,0.485, std 0.255,0.244,0.229 (vectors of section
    19.8).
    """
    old_mean, std = (0.406, 0.456, 0.485), (0.255, 0.244, 0.229)
    scale = [1 / 255 / s for s in std]
    mean = [m * 255 for m in old_mean]
    assert np.allclose(mean, (103.53, 116.28, 123.675)) and np.allclose(
        scale, (0.01537870, 0.01607200, 0.01712475), atol=1e-8
    )
    out = rgb_model(45, 70, mean=mean, scale=scale, folded=True).load(picture)
    for c in range(3):
        s, m = np.float32(1 / 255 / std[c]), np.float32(old_mean[c] / std[c])
        assert np.array_equal(out[0, c], picture[:, :, 2 - c].astype(np.float32) * s - m)


def test_nhwc_and_bgr_keep_the_decoded_order(picture):
    pre = Preprocess.from_attrs(
        (2, 45, 70, 3), {"channel_format": "nhwc", "mean": (1, 2, 3), "scale": (1, 1, 1)}
    )
    out = pre.load(picture)
    assert out.shape == (1, 45, 70, 3) and np.array_equal(
        out[0], picture - np.array([1, 2, 3], np.float32)
    )
    assert fill_batch(out, 2).shape == (2, 45, 70, 3)


def test_gray_of_an_array():
    bgr = np.array([[[10, 200, 30], [255, 255, 255]]], np.uint8)
    assert bgr_to_gray(bgr)[0, :, 0].tolist() == [
        (1868 * 10 + 9617 * 200 + 4899 * 30 + 8192) >> 14,
        255,
    ]
    pre = Preprocess.from_attrs(
        (1, 1, 1, 2), {"pixel_format": "gray", "mean": (1.0,), "scale": (1.0,)}
    )
    assert pre.load(bgr).shape == (1, 1, 1, 2)


@pytest.mark.parametrize(
    "attrs",
    [
        {"pixel_format": "gray"}, {"pixel_format": "xyz"}, {"mean": (1.0, 2.0)},
        {"resize_dims": (4, 8)}, {"resize_dims": (8, 99_999_999_999)}, {"pad_type": "left"},
        {"yuv_type": "YUV444"}, {"channel_format": "none"},
        {"pad_value": 256}, {"keep_ratio_mode": "longest"}, {"crop": "left"},
    ],
)  # fmt: skip
def test_contradictions_are_option_errors(attrs):
    with pytest.raises(OptionError):
        Preprocess.from_attrs((1, 3, 8, 8), attrs)


def test_bayer_is_unsupported():
    with pytest.raises(UnsupportedError):
        Preprocess.from_attrs((1, 1, 8, 8), {"pixel_format": "gbrg"})


# ---------------------------------------------------------------- files


def test_colour_files(tmp_path, picture):
    for name in ("a.png", "a.bmp", "misnamed.txt"):
        path = tmp_path / name
        cv2.imwrite(str(tmp_path / "x.png"), picture)
        path.write_bytes((tmp_path / "x.png").read_bytes())
        assert np.array_equal(rgb_model(45, 70).decode(path), picture)


def test_png_that_is_cut_or_lies(tmp_path, picture):
    """Cut anywhere, or with a chunk of 2 GB: refused at once; bytes behind the end are ignored."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), picture)
    data = path.read_bytes()
    at = data.index(b"IDAT")
    lying = data[: at - 4] + b"\xff\xff\xff\x7f" + data[at:]
    for bad in (data[:40], data[:-13], data[:-1], lying):
        path.write_bytes(bad)
        with pytest.raises(UserInputError, match="truncated PNG"):
            rgb_model(45, 70).decode(path)
    path.write_bytes(data + b"more")
    assert np.array_equal(rgb_model(45, 70).decode(path), picture)


def test_gray_of_a_jpeg_is_its_luma(tmp_path, picture):
    image = pytest.importorskip("PIL.Image")
    write_jpeg(tmp_path / "a.jpg", picture)
    with image.open(tmp_path / "a.jpg") as opened:
        opened.draft("L", None)
        luma = np.asarray(opened.convert("L"))
    pre = Preprocess.from_attrs(
        (1, 1, 45, 70), {"pixel_format": "gray", "mean": (0.0,), "scale": (1.0,)}
    )
    assert np.array_equal(pre.load(tmp_path / "a.jpg")[0, 0], luma.astype(np.float32))


def test_gray_of_a_png(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    pre = Preprocess.from_attrs(
        (1, 1, 45, 70), {"pixel_format": "gray", "mean": (0.0,), "scale": (1.0,)}
    )
    b, g, r = (picture[:, :, i].astype(int) for i in range(3))
    assert (
        np.abs(pre.load(tmp_path / "a.png")[0, 0] - ((9798 * r + 19235 * g + 3735 * b) >> 15)).max()
        <= 1
    )


def test_rgba_keeps_the_stored_order(tmp_path):
    rgba = np.random.default_rng(1).integers(0, 256, (6, 5, 4), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    pre = Preprocess.from_attrs(
        (1, 4, 6, 5), {"pixel_format": "rgba", "mean": (0.0,) * 4, "scale": (1.0,) * 4}
    )
    assert np.array_equal(
        pre.load(tmp_path / "a.png")[0], rgba.transpose(2, 0, 1).astype(np.float32)
    )
    cv2.imwrite(str(tmp_path / "b.png"), cv2.cvtColor(rgba[:, :, :3], cv2.COLOR_RGB2BGR))
    out = pre.load(tmp_path / "b.png")[0]
    assert (
        np.array_equal(out[:3], rgba[:, :, :3].transpose(2, 0, 1).astype(np.float32))
        and (out[3] == 255).all()
    )


def with_orientation(jpeg: bytes, value: int) -> bytes:
    tiff = (
        b"II*\0"
        + struct.pack("<IH", 8, 1)
        + struct.pack("<HHIHH", 0x112, 3, 1, value, 0)
        + struct.pack("<I", 0)
    )
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_exif_orientation_is_applied(tmp_path, picture):
    jpeg = write_jpeg(tmp_path / "a.jpg", picture)
    (tmp_path / "turned.jpg").write_bytes(with_orientation(jpeg, 6))
    upright = rgb_model(45, 70).decode(tmp_path / "a.jpg")
    assert np.array_equal(rgb_model(45, 70).decode(tmp_path / "turned.jpg"), np.rot90(upright, -1))


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut", "folder", "png cut"])
def test_bad_pictures_name_the_file(tmp_path, picture, kind):
    path = tmp_path / "bad.jpg"
    jpeg = write_jpeg(tmp_path / "good.jpg", picture)
    cv2.imwrite(str(tmp_path / "good.png"), picture)
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        png = (tmp_path / "good.png").read_bytes()
        path.write_bytes(
            {
                "empty": b"",
                "text": b"hello" * 9,
                "cut": jpeg[: len(jpeg) // 2],
                "png cut": png[:60],
            }[kind]
        )
    with pytest.raises(UserInputError, match=r"bad\.jpg"):
        rgb_model(45, 70).load(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_mutated_pictures_never_crash(tmp_path, picture, name):
    cv2.imwrite(str(tmp_path / name), picture)
    good = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
    rng = np.random.default_rng(len(name))
    refused = 0
    for _ in range(60):
        bad = good.copy()
        bad[rng.integers(0, min(bad.size, 400), 4)] = rng.integers(0, 256, 4)
        (tmp_path / name).write_bytes(bad[: rng.integers(20, bad.size + 1)].tobytes())
        try:
            assert rgb_model(8, 8).load(tmp_path / name).shape == (1, 3, 8, 8)
        except UserInputError as e:
            refused += 1
            assert name in str(e)
    assert refused


@pytest.mark.parametrize("kind", ["YUV420_PLANAR", "YUV_NV12", "YUV_NV21"])
def test_yuv_files(tmp_path, kind):
    flat = np.full((8, 6, 3), (40, 90, 200), np.uint8)
    i420 = cv2.cvtColor(flat, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    y, u, v = i420[:48], i420[48:60], i420[60:]
    chroma = {"YUV_NV12": (u, v), "YUV_NV21": (v, u)}.get(kind)
    data = i420 if chroma is None else np.concatenate([y, np.stack(chroma, 1).reshape(-1)])
    path = tmp_path / "a.yuv"
    path.write_bytes(data.tobytes())
    pre = Preprocess.from_attrs((1, 3, 8, 6), {"yuv_type": kind})
    assert np.abs(pre.load(path)[0].transpose(1, 2, 0) - flat).max() <= 3
    path.write_bytes(data.tobytes() + b"x")
    with pytest.raises(UserInputError, match=r"73 bytes.*has 72"):
        pre.load(path)


def test_yuv_without_a_type_says_what_is_missing(tmp_path):
    (tmp_path / "a.yuv").write_bytes(bytes(72))
    with pytest.raises(UserInputError, match="yuv_type"):
        rgb_model(8, 6).load(tmp_path / "a.yuv")


def test_arrays_are_taken_as_they_are(tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    pre = rgb_model(4, 5)
    np.save(tmp_path / "a.npy", x)
    assert np.array_equal(pre.load(tmp_path / "a.npy")[0], x) and np.array_equal(
        pre.load(x[None])[0], x
    )
    np.save(tmp_path / "b.npy", x[:2])
    with pytest.raises(UserInputError, match=r"b\.npy.*\[2, 4, 5\].*\[1, 3, 4, 5\]"):
        pre.load(tmp_path / "b.npy")
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY junk")
    with pytest.raises(UserInputError, match=r"c\.npy"):
        pre.load(tmp_path / "c.npy")
