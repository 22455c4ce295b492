"""The demo's network, photographs and labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tpuforge.compiler.calibrate.preprocess import Preprocess
from tpuforge.compiler.calibrate.samples import InputSpec
from tpuforge.compiler.chip import chip_named
from tpuforge.compiler.errors import UserInputError
from tpuforge.tools.demo import network, photographs
from tpuforge.tools.demo.flow import Demo
from tpuforge.tools.demo.photographs import Photograph


@pytest.fixture(scope="module")
def lite0() -> onnx.ModelProto:
    try:
        network.checkpoint_path()
    except UserInputError as e:
        pytest.skip(str(e))
    return network.build()


def test_network_is_well_formed(lite0: onnx.ModelProto) -> None:
    kinds = [n.op_type for n in lite0.graph.node]
    assert {k: kinds.count(k) for k in set(kinds)} == {
        "Conv": 49, "Clip": 33, "Add": 9, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1,
    }  # fmt: skip
    assert [d.dim_value for d in lite0.graph.input[0].type.tensor_type.shape.dim] == [
        1,
        3,
        224,
        224,
    ]


@pytest.mark.model
def test_network_equals_the_zoo(lite0: onnx.ModelProto, zoo) -> None:  # type: ignore[no-untyped-def]
    """The zoo's network was written by another program from the same weights: every constant is the
    same, bit for bit."""
    other = onnx.load(str(zoo("efficientnet_lite0")))
    ours, theirs = (
        [numpy_helper.to_array(i) for i in m.graph.initializer if i.dims] for m in (lite0, other)
    )
    assert len(ours) == len(theirs) == 100
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [n.op_type for n in lite0.graph.node] == [n.op_type for n in other.graph.node]


def test_labels(shared_dir: Path) -> None:
    lines = (
        (shared_dir / "data" / "labels" / "synset_words.txt")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    assert len(lines) == 1000
    for i, line in enumerate(lines):
        assert line[10:].split(",")[0].strip() == photographs.class_name(i)


def test_photographs_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "n01443537_1.JPEG", "notes.txt", "n99999999_1.jpg"):
        (tmp_path / name).touch()
    found = photographs.in_folder(tmp_path)
    assert [(p.path.name, p.label) for p in found] == [
        ("a.png", None), ("b.JPG", None), ("n01443537_1.JPEG", 1), ("n99999999_1.jpg", None),
    ]  # fmt: skip
    with pytest.raises(UserInputError, match="no such folder"):
        photographs.in_folder(tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserInputError, match="no picture"):
        photographs.in_folder(tmp_path / "empty")


@pytest.mark.parametrize(
    ("count", "shown"), [(20, 6), (100, 8), (3, 1), (2, 2), (1, 1), (30, 8), (7, 2)]
)
def test_split_keeps_the_shown_ones_out_of_the_calibration(count: int, shown: int) -> None:
    all_of_them = [Photograph(Path(f"{i}.jpg")) for i in range(count)]
    calibration, chosen = photographs.split(all_of_them)
    assert len(chosen) == shown
    if count >= 3:
        assert not set(calibration) & set(chosen) and len(calibration) + len(chosen) == count
    else:
        assert calibration == chosen == all_of_them


def test_unreadable_photographs_are_left_out(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.png", tmp_path / "b.png"
    cv2.imwrite(str(good), np.zeros((40, 40, 3), np.uint8))
    bad.write_bytes(b"text")
    demo = Demo(chip_named("cv181x"), tmp_path / "out", tmp_path, 8, 2)
    preprocess = Preprocess((1, 3, 32, 32), (32, 32))
    spec = InputSpec("input", (1, 3, 32, 32), preprocess)
    with pytest.warns(UserWarning, match=r"left out: .*b\.png"):
        assert len(demo._pictures(spec)) == 1
    assert [p.path for p in demo.shown] == [good]
    bad.rename(good)
    with pytest.warns(UserWarning), pytest.raises(UserInputError, match="none of the 1"):
        demo._pictures(spec)


def test_packaged_photographs_are_pictures() -> None:
    try:
        found = photographs.packaged()
    except UserInputError as e:
        pytest.skip(str(e))
    assert len(found) >= 8
    assert all(p.label is not None and p.path.read_bytes()[:2] == b"\xff\xd8" for p in found)
