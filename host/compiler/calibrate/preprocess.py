"""Image preprocessing, exactly as cli.md section 10: decode, resize, crop, channel order,
normalise.

    y = (x - mean) * scale        new dialect, float32, per channel in MODEL order
    y = x * S - M'                folded (old dialect): S = scale, M' = mean * scale rounded once to
    float32 (10.4)

The resize is OpenCV's INTER_LINEAR on uint8, which is the 11-bit fixed-point rule of section 10.3
bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import OptionError, UnsupportedError, UserInputError
from ..fileio import DAMAGED_ARRAYS

#: what `Preprocess.load` takes: a file, a uint8 picture (H, W, C in blue-green-red order) or a
#: float array ready to use
Source = str | os.PathLike[str] | np.ndarray

MAX_SIDE = 32767  # OpenCV's limit
IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "jfif", "png", "bmp"})
CHANNELS = {"bgr": 3, "rgb": 3, "gray": 1, "rgba": 4, "rgbd": 4}
_BAYER = frozenset({"gbrg", "grbg", "bggr", "rggb"})
_YUV = {
    "YUV420_PLANAR": cv2.COLOR_YUV2BGR_I420,
    "YUV_NV12": cv2.COLOR_YUV2BGR_NV12,
    "YUV_NV21": cv2.COLOR_YUV2BGR_NV21,
}


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes one input of the network. Built from the attributes of a top.Input
    (`from_attrs`).

    shape: of the network input, (n, c, h, w), or (n, h, w, c) when channel_format is nhwc.
    resize_dims: (h, w). pad_value is in the raw 0..255 domain. crop: "center", or "right"
    (bottom-right corner; old dialect only).
    """

    shape: tuple[int, ...]
    resize_dims: tuple[int, int]
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    pixel_format: str = "bgr"
    channel_format: str = "nchw"
    keep_aspect_ratio: bool = False
    keep_ratio_mode: str = "letterbox"
    pad_type: str = "center"
    pad_value: float = 0
    yuv_type: str = ""
    folded: bool = False
    crop: str = "center"

    # ---- making one
    @classmethod
    def from_attrs(cls, shape: tuple[int, ...], attrs: Mapping[str, Any]) -> Preprocess:
        """From the attributes of a top.Input; absent or empty ones take their defaults (cli.md
        section 3.1).
        """
        known = {
            k: attrs[k]
            for k in cls.__dataclass_fields__
            if k != "shape" and attrs.get(k) not in (None, "", (), [])
        }
        layout = known.get("channel_format", "nchw")
        if len(shape) != 4 or layout not in ("nchw", "nhwc"):
            raise OptionError(
                f"an input of shape {list(shape)} with channel_format {layout!r} is not a picture"
            )
        net = (shape[1], shape[2]) if layout == "nhwc" else (shape[2], shape[3])
        dims = tuple(int(d) for d in known.pop("resize_dims", net))
        channels = shape[3] if layout == "nhwc" else shape[1]
        for k, neutral in (("mean", 0.0), ("scale", 1.0)):
            known[k] = tuple(float(v) for v in known.get(k, [neutral] * channels))
        made = cls(tuple(int(d) for d in shape), (dims[0], dims[1]), **known)
        made._check()
        return made

    def _check(self) -> None:
        fmt, c = self.pixel_format.lower(), self.channels
        if fmt in _BAYER:
            raise UnsupportedError(
                f"pixel_format {fmt}: raw Bayer data is not read from pictures; give .npy or .npz"
            )
        if fmt not in CHANNELS:
            raise OptionError(
                f"unknown pixel_format {self.pixel_format!r}: one of {', '.join(CHANNELS)}"
            )
        if CHANNELS[fmt] != c:
            raise OptionError(
                f"pixel_format {fmt} has {CHANNELS[fmt]} channels, "
                f"the network input {list(self.shape)} has {c}"
            )
        for what, v in (("mean", self.mean), ("scale", self.scale)):
            if len(v) < c:
                raise OptionError(f"{what} has {len(v)} numbers, the input has {c} channels")
        if any(r < n for r, n in zip(self.resize_dims, self.net_dims, strict=True)):
            raise OptionError(
                f"resize_dims {self.resize_dims} is smaller than the network input {self.net_dims}"
            )
        if max(self.resize_dims) > MAX_SIDE:
            raise OptionError(
                f"resize_dims {self.resize_dims}: pictures are resized to {MAX_SIDE} at most"
            )
        if not 0 <= self.pad_value <= 255:
            raise OptionError(f"pad_value is {self.pad_value:g}: 0 to 255, as in the picture")
        for what, word, allowed in (
            ("keep_ratio_mode", self.keep_ratio_mode, ("letterbox", "short_side_scale")),
            ("pad_type", self.pad_type, ("center", "normal")),
            ("crop", self.crop, ("center", "right")),
            ("yuv_type", self.yuv_type, ("", *_YUV)),
        ):
            if word not in allowed:
                words = ", ".join(a for a in allowed if a)
                raise OptionError(f"{what} is {word!r}: one of {words}")

    @property
    def channels(self) -> int:
        return self.shape[3] if self.channel_format == "nhwc" else self.shape[1]

    @property
    def net_dims(self) -> tuple[int, int]:
        """(h, w) of the network input."""
        return (
            (self.shape[1], self.shape[2])
            if self.channel_format == "nhwc"
            else (self.shape[2], self.shape[3])
        )

    # ---- using it
    def load(self, source: Source) -> np.ndarray:
        """One sample, float32, shape of the input with batch 1. A float array (or .npy) is taken as
        already preprocessed.
        """
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8:
                return as_batch_one(source, self.shape, "the given array")
            return self.normalise(self.resized(source))
        if Path(source).suffix.lower() == ".npy":
            return as_batch_one(load_npy(source), self.shape, str(source))
        return self.normalise(self.resized(self.decode(source)))

    def decode(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Step 1: uint8 (H, W, C); C is 3 (blue, green, red), 1 for gray, 4 (red, green, blue,
        alpha) for rgba.
        """
        if Path(path).suffix.lower() == ".yuv":
            return self._decode_yuv(path)
        return decode_image(path, self.pixel_format.lower())

    def resized(self, picture: np.ndarray) -> np.ndarray:
        """Steps 2 and 3: uint8 (C, h, w) of size resize_dims, channels as decoded."""
        if picture.ndim == 2:
            picture = picture[:, :, None]
        if self.channels == 1 and picture.shape[2] == 3:
            picture = bgr_to_gray(picture)
        if picture.ndim != 3 or picture.shape[2] != self.channels:
            raise UserInputError(
                f"a picture of shape {picture.shape} does not fit {self.channels} channels of input"
            )
        return np.ascontiguousarray(resize(picture, self).transpose(2, 0, 1))

    def normalise(self, planes: np.ndarray) -> np.ndarray:
        """Steps 4 to 8: uint8 (C, h, w) -> float32 of the input's shape with batch 1."""
        c, (h, w), (full_h, full_w) = self.channels, self.net_dims, planes.shape[1:]
        top, left = (
            (full_h - h, full_w - w)
            if self.crop == "right"
            else (full_h // 2 - h // 2, full_w // 2 - w // 2)
        )
        x = planes[:, top : top + h, left : left + w]
        if self.pixel_format.lower() == "rgb":
            x = x[::-1]
        mean, scale = (
            np.asarray(v[:c], np.float64).reshape(c, 1, 1) for v in (self.mean, self.scale)
        )
        if self.folded:
            y = x * scale.astype(np.float32) - (mean * scale).astype(np.float32)
        else:
            y = (x - mean.astype(np.float32)) * scale.astype(np.float32)
        return np.ascontiguousarray(y.transpose(1, 2, 0) if self.channel_format == "nhwc" else y)[
            None
        ]

    def _decode_yuv(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Section 10.5: exactly H * W * 3 / 2 bytes for resize_dims H x W, limited-range BT.601."""
        h, w = self.resize_dims
        if not self.yuv_type:
            raise UserInputError(
                f"{path}: a .yuv file needs yuv_type ({', '.join(_YUV)}) in the model's input"
            )
        data = np.frombuffer(read_bytes(path), np.uint8)
        if data.size != h * w * 3 // 2 or h % 2 or w % 2:
            raise UserInputError(
                f"{path}: {data.size} bytes, "
                f"a {self.yuv_type} picture of {h} x {w} has {h * w * 3 // 2}"
            )
        bgr = cv2.cvtColor(data.reshape(h * 3 // 2, w), _YUV[self.yuv_type])
        return bgr_to_gray(bgr) if self.channels == 1 else bgr


# ------------------------------------------------------------ arrays


def load_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of a .npy file (pickles are refused)."""
    try:
        return np.load(path, allow_pickle=False)
    except DAMAGED_ARRAYS as e:
        raise UserInputError(f"{path}: not a readable .npy file ({e})") from None


def as_batch_one(array: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A float32 array (1, ...) for an input of `shape` (n, ...); the leading 1 may be missing.
    UserInputError otherwise.
    """
    one = (1, *shape[1:])
    if array.dtype.kind not in "fiub" or array.shape not in (one, one[1:]):
        raise UserInputError(
            f"{where}: {array.dtype} array of shape {list(array.shape)}, "
            f"the network takes {list(one)}"
        )
    return np.ascontiguousarray(array, np.float32).reshape(one)


def fill_batch(one: np.ndarray, batch: int) -> np.ndarray:
    """Step 9: one sample (1, ...) repeated to (batch, ...)."""
    return one if batch == 1 else np.repeat(one, batch, axis=0)


# ------------------------------------------------------------ decoding


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise UserInputError(f"{path}: cannot be read ({e.strerror})") from None


def decode_image(path: str | os.PathLike[str], pixel_format: str) -> np.ndarray:
    """Section 10.2: a picture file as uint8 (H, W, C), EXIF orientation applied. The content
    decides, not the extension.

    gray: the luma plane of a JPEG, libpng's conversion of a PNG. rgba: as stored, or alpha 255.
    else blue, green, red.
    """
    data = read_bytes(path)
    if _is_truncated_jpeg(data):
        raise UserInputError(f"{path}: truncated JPEG (no end marker)")
    if _is_truncated_png(data):
        raise UserInputError(f"{path}: truncated PNG (a chunk goes on behind the end of the file)")
    flags = {
        "gray": cv2.IMREAD_GRAYSCALE,
        "rgba": cv2.IMREAD_UNCHANGED,
        "rgbd": cv2.IMREAD_UNCHANGED,
    }.get(pixel_format)
    picture = _imdecode(data, cv2.IMREAD_COLOR if flags is None else flags)
    if picture is None:
        raise UserInputError(f"{path}: not a picture that can be decoded ({len(data)} bytes)")
    if flags is None:
        return picture
    if pixel_format == "gray":
        return picture[:, :, None]
    if picture.ndim == 3 and picture.shape[2] == 4:
        if picture.dtype == np.uint16:
            picture = (picture >> 8).astype(np.uint8)
        return cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)
    opaque = _imdecode(data, cv2.IMREAD_COLOR)
    if opaque is None:
        raise UserInputError(f"{path}: not a picture that can be decoded ({len(data)} bytes)")
    return cv2.cvtColor(opaque, cv2.COLOR_BGR2RGBA)


def _imdecode(data: bytes, flags: int) -> np.ndarray | None:
    if not data:
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _is_truncated_png(data: bytes) -> bool:
    """True for a PNG with a chunk that claims more bytes than there are (OpenCV would take long to
    find out).
    """
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    at = 8
    while at + 8 <= len(data) and data[at + 4 : at + 8] != b"IEND":
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return at + 12 > len(data)


def _is_truncated_jpeg(data: bytes) -> bool:
    """True for a JPEG whose scan has no end-of-image marker (OpenCV would fill the rest with
    gray).
    """
    if not data.startswith(b"\xff\xd8"):
        return False
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) < 0


def bgr_to_gray(picture: np.ndarray) -> np.ndarray:
    """(1868 B + 9617 G + 4899 R + 8192) >> 14 of a uint8 (H, W, 3) picture in memory -> (H, W,
    1).
    """
    b, g, r = (picture[:, :, i].astype(np.int32) for i in range(3))
    return ((1868 * b + 9617 * g + 4899 * r + 8192) >> 14).astype(np.uint8)[:, :, None]


# ------------------------------------------------------------ resizing


def resize(picture: np.ndarray, pre: Preprocess) -> np.ndarray:
    """Section 10.3: uint8 (H, W, C) to resize_dims by stretching, letterbox or short-side scale
    plus centre crop.
    """
    (h, w), (full_h, full_w) = pre.resize_dims, picture.shape[:2]
    if not pre.keep_aspect_ratio:
        return bilinear(picture, w, h)
    if pre.keep_ratio_mode == "short_side_scale":
        r = max(w / full_w, h / full_h)
        nw, nh = max(int(full_w * r), w), max(int(full_h * r), h)
        top, left = (nh - h) // 2, (nw - w) // 2
        return bilinear(picture, nw, nh)[top : top + h, left : left + w]
    nw, nh, left, top = letterbox(full_w, full_h, w, h, pre.pad_type)
    canvas = np.full((h, w, picture.shape[2]), pre.pad_value, np.uint8)
    canvas[top : top + nh, left : left + nw] = bilinear(picture, nw, nh)
    return canvas


def letterbox(
    full_w: int, full_h: int, w: int, h: int, pad_type: str = "center"
) -> tuple[int, int, int, int]:
    """(new width, new height, left, top) of a full_w x full_h picture inside a w x h canvas."""
    r = min(w / full_w, h / full_h)
    nw, nh = max(int(full_w * r), 1), max(int(full_h * r), 1)
    return (nw, nh, 0, 0) if pad_type == "normal" else (nw, nh, (w - nw) // 2, (h - nh) // 2)


def bilinear(picture: np.ndarray, w: int, h: int) -> np.ndarray:
    """uint8 (H, W, C) -> (h, w, C), OpenCV INTER_LINEAR."""
    return cv2.resize(picture, (w, h), interpolation=cv2.INTER_LINEAR).reshape(
        h, w, picture.shape[2]
    )
