"""Old and new command lines: cli.md section 2.3."""

from __future__ import annotations

import numpy as np
import pytest
from tpuforge.compiler.calibrate import Preprocess
from tpuforge.compiler.errors import OptionError
from tpuforge.tools import common, model_transform, preprocessing

BASE = ["--model_name", "m", "--model_def", "m.onnx", "--mlir", "m.mlir"]
SHAPE = (1, 3, 224, 224)


def attributes(*argv: str, shape: tuple[int, ...] = SHAPE) -> dict | None:
    options = model_transform.parser().parse([*BASE, *argv])
    return preprocessing.input_attributes(options, common.detect_dialect(options), shape)


def dialect(*argv: str) -> str:
    return common.detect_dialect(model_transform.parser().parse([*BASE, *argv]))


def test_decided_by_the_options_present() -> None:
    assert dialect() == common.NEW
    assert dialect("--input_shapes", "[[1,3,2,2]]") == common.NEW
    assert dialect("--image", "cat.jpg") == common.OLD
    assert dialect("--batch_size", "4") == common.OLD
    assert dialect("--test_input", "cat.jpg", "--test_result", "r.npz") == common.NEW
    with pytest.raises(OptionError, match=r"--raw_scale .* --input_shapes"):
        dialect("--raw_scale", "1.0", "--input_shapes", "[[1,3,2,2]]")


def test_old_numbers_become_new_ones() -> None:
    """S1-14: raw_scale 1.0 with mean and std in 0..1; folded arithmetic y = x * S - M' (section
    10.4)."""
    got = attributes(
        "--raw_scale",
        "1.0",
        "--mean",
        "0.406,0.456,0.485",
        "--std",
        "0.255,0.244,0.229",
        "--image",
        "c.jpg",
        "--model_channel_order",
        "rgb",
        "--image_resize_dims",
        "256,256",
        "--net_input_dims",
        "224,224",
        "--keep_aspect_ratio",
        "false",
        "--gray",
        "false",
        "--input_scale",
        "1.0",
    )
    assert got is not None and got["folded"] is True and got["pixel_format"] == "rgb"
    assert got["resize_dims"] == [256, 256] and got["keep_aspect_ratio"] is False
    pixels = np.arange(256, dtype=np.float64)
    x = Preprocess.from_attrs((1, 3, 1, 256), got | {"resize_dims": [1, 256]}).normalise(
        np.tile(np.arange(256, dtype=np.uint8), (3, 1)).reshape(3, 1, 256)
    )
    for c, (m, s) in enumerate([(0.406, 0.255), (0.456, 0.244), (0.485, 0.229)]):
        want = pixels.astype(np.float32) * np.float32(1 / 255 / s) - np.float32(m / s)
        np.testing.assert_array_equal(x[0, c, 0], want.astype(np.float32))


def test_caffe_style_numbers() -> None:
    """S1-11: y = (x - mean) * input_scale."""
    got = attributes(
        "--raw_scale",
        "255.0",
        "--mean",
        "103.94,115.78,123.68",
        "--std",
        "1.0,1.0,1.0",
        "--input_scale",
        "0.017",
        "--image",
        "c.jpg",
    )
    assert got is not None
    np.testing.assert_allclose(got["mean"], [103.94, 115.78, 123.68], rtol=1e-12)
    np.testing.assert_allclose(got["scale"], [0.017] * 3, rtol=1e-12)
    assert got["pixel_format"] == "bgr"


def test_resize_dims_below_the_net() -> None:
    with pytest.raises(OptionError, match="smaller than the network's input"):
        attributes("--resize_dims", "200,256", "--scale", "1,1,1")
    old = attributes("--resize_dims", "200,256", "--image", "c.jpg")
    assert old is not None and old["resize_dims"] == [224, 256]


@pytest.mark.parametrize("option", ["--mean", "--scale"])
def test_too_few_numbers(option: str) -> None:
    with pytest.raises(OptionError, match=f"{option} has 2"):
        attributes(option, "1,2")


def test_inputs_that_are_no_pictures() -> None:
    assert attributes(shape=(1, 10)) is None
    assert attributes(shape=(1, 16, 8, 8)) is None
    assert attributes("--channel_format", "none", "--mean", "1,2,3") is None
    with pytest.raises(OptionError, match="16 channels"):
        attributes("--mean", "1,2,3", shape=(1, 16, 8, 8))
    gray = attributes(shape=(1, 1, 8, 8))
    assert gray is not None and gray["pixel_format"] == "gray"


def test_spellings() -> None:
    numbers = ("--mean", "0,0,0,0", "--scale", "1,1,1,1")
    assert attributes("--pixel_format", "rgbd", *numbers, shape=(1, 4, 8, 8)) == attributes(
        "--pixel_format", "rgba", *numbers, shape=(1, 4, 8, 8)
    )
    assert attributes("--pixel_format", "RGB") == attributes("--pixel_format", "rgb")
    assert attributes("--pixel_format", "BGR_PACKED") == attributes("--pixel_format", "bgr")
    with pytest.raises(OptionError, match="--pixel_format hsv"):
        attributes("--pixel_format", "hsv")
