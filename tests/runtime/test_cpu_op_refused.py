"""What the CPU functions refuse: every argument missing or of another type, every input or output
missing, of another type or too small, values out of range (api/cvi_nn.md section 10: DATA_ERR at
GetInputOutputTensors; indices found in data: at Forward)."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cvi_nn
import numpy as np
import pytest
from runtime import builder as b
from runtime import detection_cases  # noqa: F401  (fills CASES)
from runtime.cpu_cases import CASES, Case
from runtime.test_cpu_op import DTYPE_NAMES, model_of

ROOT = Path(__file__).resolve().parents[2]
OPTIONAL = {"scale", "threshold", "tiny", "yolo_v4", "spp_net", "class_num", "anchors"}
FIRST = {CASES[name](np.random.default_rng(0)).function: name for name in reversed(CASES)}


def made(name: str) -> Case:
    return CASES[name](np.random.default_rng(0))


def refused(data: bytes, text: str = "") -> None:
    with pytest.raises(cvi_nn.CviError, match=re.escape(text)) as error:
        cvi_nn.Model(data)
    assert error.value.name == "DATA_ERR" and "CPU function" in error.value.text


def loads(data: bytes) -> bool:
    """False: refused as it should be."""
    try:
        cvi_nn.Model(data).close()
    except cvi_nn.CviError as error:
        assert error.name == "DATA_ERR", error
        return False
    return True


def test_every_function_has_a_case():
    """The 28 of the specification, all in the table, all compared with a formula."""
    registry = (ROOT / "device/runtime/src/cpu_op/registry.c").read_text()
    names = set(re.findall(r'ENTRY\("(\w+)"', registry))
    assert names == set(FIRST) and len(names) == 28


@pytest.mark.parametrize("function", FIRST)
def test_arguments_are_needed_and_typed(function):
    case = made(FIRST[function])
    others: list[Any] = [1, 1.5, True, "x", [1, 2], [1.5, 2.5]]
    for key, value in case.arguments.items():
        if key not in OPTIONAL or function == "preprocess":
            rest = {k: v for k, v in case.arguments.items() if k != key}
            refused(model_of(replace(case, arguments=rest)), f"argument '{key}'")
        for other in others:
            kinds = [(type(v), type(v[0]) if isinstance(v, list) else 0) for v in (value, other)]
            if kinds[0] != kinds[1] and key != "spp_net":
                wrong = {**case.arguments, key: other}
                refused(model_of(replace(case, arguments=wrong)), f"argument '{key}' is not")


@pytest.mark.parametrize("function", FIRST)
def test_tensors_are_needed(function):
    """One input or output less; int32 instead of its type; an output of one element."""
    case = made(FIRST[function])
    optional = {"argmax_v3": 1}.get(function, 0)  # outputs that may be missing
    for n in range(len(case.inputs)):
        dtypes = case.dtypes and case.dtypes[:n]
        assert not loads(model_of(replace(case, inputs=case.inputs[:n], dtypes=dtypes)))
        dtypes = [*(case.dtypes or [name_of(x) for x in case.inputs])]
        if dtypes[n] != "int32" and not (function == "embedding" and n == 0):
            dtypes[n] = "int32"
            assert not loads(model_of(replace(case, dtypes=dtypes))), n
    for n in range(len(case.expected) - optional):
        kept = case.out_dtypes[:n]
        assert not loads(model_of(replace(case, expected=case.expected[:n], out_dtypes=kept)))
    if function != "transpose":  # the output's shape decides how much of the input is taken
        one = [np.zeros(1, x.dtype) for x in case.expected]
        assert not loads(model_of(replace(case, expected=one)))
    wrong = ["int16"] * len(case.expected)
    assert not loads(model_of(replace(case, out_dtypes=wrong)))


def name_of(x: np.ndarray) -> str:
    return DTYPE_NAMES.get(x.dtype.name, x.dtype.name)


# case, changed arguments, part of the message
VALUES: list[tuple[str, dict[str, Any], str]] = [
    ("argmax_int8", {"axis": 4}, "axis 4"),
    ("softmax", {"axis": -5}, "axis -5"),
    ("cumsum", {"axis": -5}, "axis -5"),
    ("topk", {"K": 0}, "K is 0"),
    ("topk", {"K": 21}, "K is 21"),
    ("reduce_mean", {"axes": [1, 2, 3, 0, 1]}, "5 axes"),
    ("reduce_mean", {"axes": [4]}, "axis 4"),
    ("reduce_l2", {"axes": [2]}, "reduced shape"),
    ("deform_im2col", {"stride_h": 0}, "kernel, stride"),
    ("deform_im2col", {"padding_l": -1}, "padding"),
    ("deform_im2col", {"deform_group": 3}, "3 groups"),
    ("deform_conv2d", {"dilation_w": 0}, "dilation"),
    ("grid_000", {"mode": 2}, "mode 2"),
    ("grid_000", {"padding_mode": -1}, "padding_mode -1"),
    ("interp_half_pixel_13x20", {"height": 1 << 30}, "resize"),
    ("interp_zoom_and_crop", {"pad_beg": 1}, "pad_beg 1"),
    ("interp_zoom_and_crop", {"pad_beg": -100}, "pad_beg -100"),
    ("interp_half_pixel_13x20", {"coordinate_transformation_mode": "cubic"}, "cubic"),
    ("preprocess", {"mean": [1.0, 2.0]}, "2 means"),
    ("preprocess", {"color_order": [0, 1, 3]}, "color_order[2] is 3"),
    ("pixelshuffle", {"upscale_factor": 0}, "upscale_factor 0"),
    ("pixelshuffle", {"upscale_factor": 3}, "upscale_factor 3"),
    ("pixelshuffle", {"mode": "RCD"}, "'RCD'"),
    ("gathernd", {"batch_dims": 5}, "batch_dims 5"),
    ("gathernd", {"indice_dims": 0}, "indice_dims 0"),
    ("proposal", {"feat_stride": 0}, "feat_stride 0"),
    ("proposal", {"rpn_nms_post_top_n": 0}, "top_n 0"),
    ("retinaface", {"keep_topk": 0}, "keep_topk 0"),
    ("yolo_v3", {"keep_topk": 0}, "keep_topk 0"),
    ("yolo_v3", {"anchors": "1,2,3"}, "numbers are needed"),
    ("yolo_v3", {"class_num": 1 << 21}, "class_num 2097152"),
    ("yolo_v3", {"class_num": 300}, "300 classes"),
    ("ssd", {"code_type": "CORNER"}, "CENTER_SIZE"),
    ("ssd", {"num_classes": 0}, "num_classes 0"),
    ("quant_INT8_scale", {"to": "NONE"}, "data type"),
]


@pytest.mark.parametrize(("name", "changes", "text"), VALUES, ids=lambda v: str(v)[:40])
def test_values_out_of_range(name, changes, text):
    case = made(name)
    refused(model_of(replace(case, arguments={**case.arguments, **changes})), text)


def test_gatherelements_shapes():
    """Indices may not be longer than the data beside the axis."""
    x, i = np.zeros((2, 3, 4, 1), np.float32), np.zeros((2, 4, 4, 1), np.int32)
    outputs = [((2, 4, 4, 1), "fp32")]
    assert loads(b.cpu_model("gatherelements_pt", {"axis": 1}, [x, i], outputs))
    refused(b.cpu_model("gatherelements_pt", {"axis": 2}, [x, i], outputs), "4 in dimension 1")


def _bad_index(name: str, value: int) -> tuple[Case, list[np.ndarray]]:
    case = made(name)
    at = 0 if name.startswith("embedding") else 1
    inputs = [x.copy() for x in case.inputs]
    inputs[at].flat[-1] = value
    return case, inputs


@pytest.mark.parametrize("value", [-51, 50, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("name", ["embedding_int8", "gatherelements", "gathernd", "gathernd_batch"])
def test_indices_out_of_range(name, value):
    """Found when the data are there; the next run works."""
    case, inputs = _bad_index(name, value)
    model = cvi_nn.Model(model_of(case))
    shaped = [x.reshape((*x.shape, 1, 1, 1, 1)[:4]) for x in inputs]
    with pytest.raises(cvi_nn.CviError, match=f"index {value} of") as error:
        model.forward(shaped)
    assert error.value.name == "DATA_ERR"
    model.forward([x.reshape((*x.shape, 1, 1, 1, 1)[:4]) for x in case.inputs])


def test_region_of_an_image_that_is_not_there():
    name = next(n for n in CASES if CASES[n](np.random.default_rng(0)).function == "roi_pooling")
    case = made(name)
    model = cvi_nn.Model(model_of(case))
    inputs = [x.copy() for x in case.inputs]
    rois = next(x for x in inputs if x.shape[-1] == 5)
    for value in (-1, 100, np.nan, np.inf):
        rois[0, 0, -1, 0] = value
        with pytest.raises(cvi_nn.CviError, match="is in image"):
            model.forward(inputs)


def _weights(make: Callable[[], Case], count: int) -> tuple[bytes, Case]:
    """The last `count` inputs become constants of the file."""
    case = make()
    split = len(case.inputs) - count
    outputs = [(x.shape, name_of(x)) for x in case.expected]
    data = b.cpu_model(
        case.function,
        case.arguments,
        case.inputs[:split],
        outputs,
        weights=case.inputs[split:],
    )
    return data, replace(case, inputs=case.inputs[:split])


@pytest.mark.parametrize("name", ["embedding_int8", "embedding_fp32", "instance_norm", "gathernd"])
def test_constants_as_inputs(name):
    """Names of routine inputs are looked up among the tensors, then among the weights."""
    case = made(name)
    data, rest = _weights(lambda: case, len(case.inputs) - 1)
    model = cvi_nn.Model(data)
    assert [t.name for t in model.inputs] == ["i0"]
    shaped = [x.reshape((*x.shape, 1, 1, 1, 1)[:4]) for x in rest.inputs]
    for _ in range(2):
        got = model.forward(shaped)["o0"]
        np.testing.assert_allclose(got.ravel(), case.expected[0].ravel(), rtol=1e-4, atol=2e-5)
