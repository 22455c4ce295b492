"""The preprocessing options of model_transform, in both dialects, as attributes of a top.Input
(cli.md sections 3.1, 10.4)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ..compiler.errors import OptionError
from .arguments import Parser, floats, ints
from .dialect import OLD

PIXEL_FORMATS = ("bgr", "rgb", "gray", "rgba", "rgbd", "gbrg", "grbg", "bggr", "rggb")
#: formats of a fused input (old dialect): only their order of channels counts here
FUSED_FORMATS = {
    "RGB_PLANAR": "rgb", "RGB_PACKED": "rgb", "BGR_PLANAR": "bgr", "BGR_PACKED": "bgr",
    "GRAYSCALE": "gray", "RGBA_PLANAR": "rgba",
}  # fmt: skip
YUV_TYPES = ("", "YUV420_PLANAR", "YUV_NV12", "YUV_NV21")


def add_preprocessing(parser: Parser) -> None:
    """Both vocabularies; which one counts is decided by detect_dialect."""
    g = parser.add_argument_group("preprocessing")
    g.add_argument(
        "--resize_dims",
        "--image_resize_dims",
        type=ints,
        metavar="H,W",
        help="resize to this, then crop to the net's size",
    )
    parser.add_bool("--keep_aspect_ratio", help="do not distort the picture")
    g.add_argument(
        "--keep_ratio_mode", choices=("letterbox", "short_side_scale"), default="letterbox"
    )
    g.add_argument(
        "--mean", type=floats, metavar="M,M,M", help="per channel, in the model's channel order"
    )
    g.add_argument("--scale", type=floats, metavar="S,S,S", help="y = (x - mean) * scale")
    g.add_argument(
        "--pixel_format",
        metavar="|".join(PIXEL_FORMATS[:4]),
        help="channel order of the model (default bgr)",
    )
    g.add_argument(
        "--channel_format",
        type=str.lower,
        choices=("nchw", "nhwc", "none"),
        help="none: the inputs are not pictures",
    )
    g.add_argument("--pad_value", type=float, default=0.0, help="of letterbox, 0..255")
    g.add_argument("--pad_type", choices=("center", "normal"), default="center")
    g.add_argument("--yuv_type", choices=YUV_TYPES, default="")
    g.add_argument(
        "--preprocess_list",
        type=ints,
        metavar="1,2",
        help="inputs (from 1) that are pictures; default all",
    )
    old = parser.add_argument_group("preprocessing, old command line")
    old.add_argument("--net_input_dims", type=ints, metavar="H,W")
    old.add_argument("--raw_scale", type=float, default=255.0)
    old.add_argument("--std", type=floats, default=[1.0] * 4)
    old.add_argument("--input_scale", type=float, default=1.0)
    old.add_argument(
        "--model_channel_order",
        "--channel_order",
        type=str.lower,
        dest="model_channel_order",
        choices=("bgr", "rgb", "rgba"),
    )
    old.add_argument("--channel_num", type=int, choices=(1, 3, 4))
    old.add_argument("--crop_method", type=str.lower, choices=("center", "right"), default="center")
    old.add_argument("--data_format", type=str.lower, choices=("nchw", "nhwc"))
    parser.add_bool("--gray", help="old command line: the model takes gray pictures")


def wants_pictures(options: argparse.Namespace) -> bool:
    """Whether any option says that the inputs are pictures."""
    given = {
        "resize_dims", "keep_aspect_ratio", "mean", "scale", "pixel_format", "net_input_dims",
        "std", "raw_scale", "model_channel_order", "gray", "yuv_type", "preprocess_list",
    }  # fmt: skip
    return bool(given & options.present)


def input_attributes(
    options: argparse.Namespace, dialect: str, shape: Sequence[int]
) -> dict[str, Any] | None:
    """Attributes of top.Input for one input of this shape; None if it is no picture. OptionError
    for bad numbers."""
    layout = options.channel_format or options.data_format or "nchw"
    if layout == "none" or len(shape) != 4:
        return None
    channels, net = (shape[3], shape[1:3]) if layout == "nhwc" else (shape[1], shape[2:4])
    if channels not in (1, 3, 4):
        if wants_pictures(options):
            raise OptionError(
                f"an input of shape {list(shape)} is no picture: it has {channels} channels; say "
                "--channel_format none"
            )
        return None
    attributes = _old(options, channels) if dialect == OLD else _new(options, channels)
    dims = list(options.resize_dims or net)
    if len(dims) != 2:
        raise OptionError(f"--resize_dims takes height,width, not {dims}")
    if any(d < n for d, n in zip(dims, net, strict=True)):
        if dialect != OLD:
            raise OptionError(
                f"--resize_dims {dims} is smaller than the network's input {list(net)}"
            )
        dims = [max(d, n) for d, n in zip(dims, net, strict=True)]
    return attributes | {
        "channel_format": layout,
        "keep_aspect_ratio": options.keep_aspect_ratio,
        "keep_ratio_mode": options.keep_ratio_mode,
        "pad_type": options.pad_type,
        "pad_value": options.pad_value,
        "yuv_type": options.yuv_type,
        "resize_dims": dims,
    }


def _new(options: argparse.Namespace, channels: int) -> dict[str, Any]:
    given = options.pixel_format or {1: "gray", 4: "rgba"}.get(channels, "bgr")
    order = FUSED_FORMATS.get(given.upper(), given.lower())
    if order not in PIXEL_FORMATS:
        raise OptionError(
            f"--pixel_format {options.pixel_format}: one of {', '.join(PIXEL_FORMATS)}"
        )
    order = "rgba" if order == "rgbd" else order
    mean = options.mean if options.mean is not None else [0.0] * channels
    scale = options.scale if options.scale is not None else [1.0] * channels
    _long_enough({"--mean": mean, "--scale": scale}, channels)
    return {"pixel_format": order, "mean": mean[:channels], "scale": scale[:channels]}


def _old(options: argparse.Namespace, channels: int) -> dict[str, Any]:
    """Section 10.4: scale = raw_scale / 255 * input_scale / std, mean = mean * 255 / raw_scale,
    folded arithmetic."""
    mean = options.mean if options.mean is not None else [0.0] * 4
    _long_enough({"--mean": mean, "--std": options.std}, channels)
    if options.raw_scale == 0 or 0.0 in options.std[:channels]:
        raise OptionError("--raw_scale and --std must not be 0")
    if options.channel_num not in (None, channels):
        raise OptionError(
            f"--channel_num {options.channel_num}, but the network's input has {channels} channels"
        )
    order = "gray" if options.gray or channels == 1 else options.model_channel_order or "bgr"
    return {
        "pixel_format": "rgba" if channels == 4 else order,
        "mean": [m * 255 / options.raw_scale for m in mean[:channels]],
        "scale": [
            options.raw_scale / 255 * options.input_scale / s for s in options.std[:channels]
        ],
        "folded": True,
        "crop": options.crop_method,
    }


def _long_enough(lists: dict[str, list[float]], channels: int) -> None:
    for option, numbers in lists.items():
        if len(numbers) < channels:
            raise OptionError(
                f"{option} has {len(numbers)} number(s), the network's input has {channels} "
                "channels"
            )


def describe(attributes: dict[str, Any]) -> list[str]:
    """Lines for the console: the formula in use and what feeds it (section 3.5)."""
    formula = (
        "y = x * S - M', S = scale, M' = mean * scale"
        if attributes.get("folded")
        else "y = (x - mean) * scale"
    )
    keys = (
        "resize_dims",
        "keep_aspect_ratio",
        "keep_ratio_mode",
        "pad_value",
        "pad_type",
        "mean",
        "scale",
        "pixel_format",
        "channel_format",
    )
    return [
        f"preprocessing: {formula}",
        *(f"  {k:18s}: {_shown(attributes[k])}" for k in keys if k in attributes),
    ]


def _shown(value: Any) -> Any:
    """Lists of options and tuples of a graph look alike."""
    return list(value) if isinstance(value, tuple) else value
