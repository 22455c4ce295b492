"""Calibration from end to end on small graphs: errors, batches, memory, agreement of the two ways
in.
"""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import pytest
from calibrate.networks import differences, shared_names, top_graph, zoo_preprocessing
from calibrate.zoo_model import float_model
from onnx import TensorProto, helper, numpy_helper
from tpuforge.compiler.calibrate import calibrate, read_table
from tpuforge.compiler.calibrate.floatmodel import FloatModel
from tpuforge.compiler.calibrate.methods import METHODS
from tpuforge.compiler.calibrate.run import Collector, ahead
from tpuforge.compiler.errors import OptionError, UserInputError
from tpuforge.compiler.frontend.onnx import load
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.passes.pipeline import optimise


def small_graph(batch: int = 1, weight: float = 1.0) -> Graph:
    """conv 1x1 of `weight` + relu, then softmax-free pooling; picture input of 8 x 8."""
    w = numpy_helper.from_array(np.full((2, 3, 1, 1), weight, np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["output"]),
    ]
    x = helper.make_tensor_value_info("input", TensorProto.FLOAT, (batch, 3, 8, 8))
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, (batch, 2, 1, 1))
    model = helper.make_model(
        helper.make_graph(nodes, "small", [x], [y], [w]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return optimise(load(model, preprocess={"mean": (128,) * 3, "scale": (1 / 128,) * 3}))


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(7):
        cv2.imwrite(str(folder / f"p{i}.png"), rng.integers(0, 256, (8, 8, 3), np.uint8))
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_every_method(pictures, method):
    table = calibrate(small_graph(), pictures, method=method)
    assert list(table) == ["input", "relu_Relu", "output_GlobalAveragePool"]
    assert table.made["samples"] == 7 and table.made["method"] == method
    top = max(abs(table["relu_Relu"].min), table["relu_Relu"].max)
    assert 0 < table["relu_Relu"].threshold <= top * (1 + 1e-6)
    if method not in ("kl", "percentile9999"):
        assert table["input"].threshold == pytest.approx(1.0, abs=0.02), "inputs use abs_max"


def test_max_is_the_largest_value_over_all_samples(pictures):
    table = calibrate(small_graph(), pictures, method="max")
    rgb = [cv2.imread(str(p)).astype(np.float64) for p in pictures.iterdir()]
    sums = [((x - 128) / 128).sum(axis=2) for x in rgb]
    assert table["relu_Relu"].threshold == pytest.approx(max(s.max() for s in sums), rel=1e-6)
    assert table["relu_Relu"].min == 0


def test_batches_see_the_same_values(pictures):
    one, two = (calibrate(small_graph(b), pictures, method="max") for b in (1, 2))
    for n in one:
        assert one[n] == pytest.approx(two[n], rel=1e-6)


def test_pool_whose_last_window_is_dropped(tmp_path):
    """It would lie in the padding; shape inference of older ONNX still counts it."""
    window = dict(kernel_shape=[2, 1], strides=[2, 1], pads=[1, 0, 1, 0], ceil_mode=1)
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("AveragePool", ["a"], ["p"], count_include_pad=1, **window),
        helper.make_node("Conv", ["a", "w"], ["y"]),
    ]
    w = numpy_helper.from_array(np.full((8, 16, 1, 1), 1, np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 16, 33, 33))
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "py"]
    model = helper.make_model(
        helper.make_graph(nodes, "pool", [x], outs, [w]),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    graph = optimise(load(model))
    assert graph.outputs[0].shape == (1, 16, 17, 33)
    np.savez(tmp_path / "x.npz", x=np.ones((1, 16, 33, 33), np.float32))
    table = calibrate(graph, [tmp_path / "x.npz"], method="max")
    assert table["p_AveragePool"].threshold == 1


def test_input_num_and_shortage(pictures):
    said: list[str] = []
    assert calibrate(small_graph(), pictures, input_num=3).made["samples"] == 3
    assert calibrate(small_graph(), pictures, input_num=30, warn=said.append).made["samples"] == 7
    assert "30 were asked for" in said[0]


def test_unreadable_pictures(pictures):
    (pictures / "bad.jpg").write_bytes(b"nothing")
    said: list[str] = []
    assert calibrate(small_graph(), pictures, warn=said.append).made["samples"] == 7
    assert any("bad.jpg" in s for s in said)
    with pytest.raises(UserInputError, match=r"bad\.jpg"):
        calibrate(small_graph(), pictures, strict=True)


def test_overflow_names_the_first_tensor(pictures):
    with pytest.raises(UserInputError, match=r"infinity in tensor 'relu_Relu'.*sample 1"):
        calibrate(small_graph(weight=3e38), pictures)


def test_not_a_number_names_the_first_tensor(tmp_path):
    x = np.zeros((1, 3, 8, 8), np.float32)
    np.save(tmp_path / "0.npy", x)
    x[0, 1, 2, 3] = np.nan
    np.save(tmp_path / "1.npy", x)
    with pytest.raises(UserInputError, match="NaN in tensor 'input'"):
        calibrate(small_graph(), tmp_path, warn=lambda text: None)


def test_a_dead_tensor_gets_the_smallest_threshold(pictures):
    said: list[str] = []
    table = calibrate(small_graph(weight=0.0), pictures, warn=said.append)
    assert table["relu_Relu"].threshold == 1e-5 and any("relu_Relu" in s for s in said)


def test_contradicting_options(pictures, tmp_path):
    (tmp_path / "l.txt").write_text(str(pictures / "p0.png"))
    with pytest.raises(OptionError):
        calibrate(small_graph())
    with pytest.raises(OptionError):
        calibrate(small_graph(), pictures, data_list=tmp_path / "l.txt")
    with pytest.raises(OptionError):
        calibrate(small_graph(), pictures, method="magic")
    with pytest.raises(OptionError):
        calibrate(small_graph(), pictures, bins=1000)
    assert calibrate(small_graph(), data_list=tmp_path / "l.txt").made["samples"] == 1


def test_tuning_samples_may_be_given(pictures, tmp_path):
    (tmp_path / "l.txt").write_text(str(pictures / "p3.png"))
    table = calibrate(small_graph(), pictures, tune_list=tmp_path / "l.txt", tune_num=5)
    assert table.made["tune_num"] == 1


def test_memory_does_not_grow_with_the_samples(pictures):
    model = FloatModel.from_graph(small_graph())
    rng = np.random.default_rng(1)
    for method in METHODS:
        collector = Collector(model, method, 2048, 1000)
        sizes = []
        for _ in range(60):
            values = {n: rng.uniform(0, 1, s).astype(np.float32) for n, s in model.shapes.items()}
            values["input"].flat[0] = 1.0  # the range is known from the first sample on
            values["relu_Relu"].flat[0] = values["output_GlobalAveragePool"].flat[0] = 1.0
            collector.add(values)
            sizes.append(held(collector))
        assert sizes[-1] == sizes[40], method


def held(thing: object, seen: set[int] | None = None) -> int:
    """Bytes of all arrays that an object refers to."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, dict):
        return sum(held(v, seen) for v in thing.values())
    return sum(held(v, seen) for v in vars(thing).values()) if hasattr(thing, "__dict__") else 0


def test_reading_ahead_keeps_order_and_errors():
    assert list(ahead(range(5))) == [0, 1, 2, 3, 4] and list(ahead([])) == []

    def broken():
        yield 1
        raise UserInputError("bad")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(UserInputError, match="bad"):
        next(items)


def test_tiny_resnet_equals_the_vendors_table(zoo, shared_dir, vendor_dir):
    vendor = read_table(vendor_dir / "tiny_resnet_cali_table")
    graph = top_graph(zoo("tiny_resnet"), shared_dir)
    ours = calibrate(graph, shared_dir / "data" / "ILSVRC2012", input_num=100)
    assert list(ours) == list(vendor)
    assert max(differences(ours, vendor).values()) < 1e-5
    for n, entry in vendor.items():
        assert ours[n][1:] == pytest.approx(entry[1:], abs=1e-5 * entry.threshold)


def test_tiny_mobilenet_equals_the_vendors_table(zoo, shared_dir, vendor_dir):
    vendor = read_table(vendor_dir / "tiny_mobilenet_cali_table")
    images = shared_dir / "data" / "ILSVRC2012"
    ours = calibrate(top_graph(zoo("tiny_mobilenet"), shared_dir), images, input_num=100)
    assert shared_names(ours, vendor) == list(vendor) and set(ours) - set(vendor) == {"conv_4_Conv"}
    assert max(differences(ours, vendor).values()) < 1e-5
    independent = float_model(
        zoo("tiny_mobilenet"), zoo_preprocessing(shared_dir, "tiny_mobilenet")
    )
    again = calibrate(independent, images, input_num=100)
    assert max(differences(ours, again).values()) < 1e-5
