"""samples/yolo against numpy on synthetic tensors (cli.md section 16.1)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from samples.build import Letterbox

LAYOUTS = {0: "anchor first", 1: "channel first", 2: "channel last"}
ANCHORS = {
    8: [(10, 13), (16, 30), (33, 23)],
    16: [(30, 61), (62, 45), (59, 119)],
    32: [(116, 90), (156, 198), (373, 326)],
}


class Head(ctypes.Structure):
    _fields_ = [
        ("values", ctypes.c_void_p), ("ny", ctypes.c_int), ("nx", ctypes.c_int),
        ("classes", ctypes.c_int), *[(n, ctypes.c_size_t) for n in ("a", "y", "x", "v")],
    ]  # fmt: skip


class Box(ctypes.Structure):
    _fields_ = [(n, ctypes.c_float) for n in ("x1", "y1", "x2", "y2", "score")] + [
        ("label", ctypes.c_int)
    ]


class Boxes(ctypes.Structure):
    _fields_ = [
        ("boxes", ctypes.POINTER(Box)), ("count", ctypes.c_size_t), ("room", ctypes.c_size_t),
    ]  # fmt: skip

    def rows(self) -> np.ndarray:
        fields = [f[0] for f in Box._fields_]
        return np.array([[getattr(self.boxes[i], f) for f in fields] for i in range(self.count)])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def decode(values: np.ndarray, stride: int, threshold: float) -> np.ndarray:
    """values (3, ny, nx, 5 + classes) -> rows x1, y1, x2, y2, score, label."""
    s = sigmoid(values)
    rows = []
    for a, y, x in np.ndindex(values.shape[:3]):
        v = s[a, y, x]
        scores = v[4] * v[5:]
        label = int(np.argmax(scores))
        if scores[label] <= threshold:
            continue
        centre = (2 * v[:2] - 0.5 + (x, y)) * stride
        half = (2 * v[2:4]) ** 2 * ANCHORS[stride][a] / 2
        rows.append([*(centre - half), *(centre + half), scores[label], label])
    return np.array(rows)


def suppress(rows: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy, all classes together, +1 in areas and overlaps."""
    kept: list[np.ndarray] = []
    for row in rows[np.argsort(-rows[:, 4], kind="stable")]:
        for k in kept:
            w = min(row[2], k[2]) - max(row[0], k[0]) + 1
            h = min(row[3], k[3]) - max(row[1], k[1]) + 1
            inter = max(w, 0) * max(h, 0)
            areas = sum((r[2] - r[0] + 1) * (r[3] - r[1] + 1) for r in (row, k))
            if inter / (areas - inter) > threshold:
                break
        else:
            kept.append(row)
    return np.array(kept)


def head_values(seed: int, ny: int, nx: int, classes: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (3, ny, nx, 5 + classes)).astype(np.float32)


def arranged(values: np.ndarray, layout: int) -> np.ndarray:
    """(3, ny, nx, n) in one of the three memory orders."""
    order = {0: (0, 1, 2, 3), 1: (0, 3, 1, 2), 2: (1, 2, 0, 3)}[layout]
    return np.ascontiguousarray(values.transpose(order))


def run_decode(c: Any, values: np.ndarray, layout: int, stride: int, threshold: float) -> Boxes:
    memory = arranged(values, layout)
    c.yolo_head.restype, c.yolo_anchors.restype = Head, ctypes.c_void_p
    c.yolo_decode.restype = ctypes.c_bool
    _, ny, nx, n = values.shape
    head = c.yolo_head(ctypes.c_void_p(memory.ctypes.data), layout, ny, nx, n - 5)
    anchors = ctypes.c_void_p(c.yolo_anchors(stride))
    boxes = Boxes()
    assert c.yolo_decode(
        ctypes.byref(boxes), ctypes.byref(head), stride, anchors, ctypes.c_float(threshold)
    )
    return boxes


@pytest.mark.parametrize("layout", LAYOUTS, ids=LAYOUTS.get)
@pytest.mark.parametrize("stride", ANCHORS)
def test_decode(samples: Any, layout: int, stride: int) -> None:
    values = head_values(stride + layout, 5, 7, 11)
    boxes = run_decode(samples.c, values, layout, stride, 0.3)
    wanted = decode(values, stride, 0.3)
    assert 10 < len(wanted) < 105
    got = boxes.rows()
    samples.c.boxes_free(ctypes.byref(boxes))
    assert np.array_equal(got[:, 5], wanted[:, 5])
    np.testing.assert_allclose(got[:, :5], wanted[:, :5], rtol=2e-5, atol=2e-4)


def test_no_anchors_for_another_stride(samples: Any) -> None:
    samples.c.yolo_anchors.restype = ctypes.c_void_p
    assert samples.c.yolo_anchors(64) is None


@pytest.mark.parametrize("threshold", [0.2, 0.45, 0.6, 1.0])
def test_suppress(samples: Any, threshold: float) -> None:
    values = head_values(3, 6, 6, 4)
    boxes = run_decode(samples.c, values, 0, 16, 0.05)
    before = boxes.rows()
    samples.c.boxes_suppress.restype = ctypes.c_bool
    assert samples.c.boxes_suppress(ctypes.byref(boxes), ctypes.c_float(threshold))
    got, wanted = boxes.rows(), suppress(before, threshold)
    samples.c.boxes_free(ctypes.byref(boxes))
    assert (len(wanted) < len(before)) == (threshold < 1)
    assert np.array_equal(got, wanted)


def test_suppress_nothing(samples: Any) -> None:
    samples.c.boxes_suppress.restype = ctypes.c_bool
    assert samples.c.boxes_suppress(ctypes.byref(Boxes()), ctypes.c_float(0.5))


def test_back_to_the_picture(samples: Any) -> None:
    g: Letterbox = samples.c.letterbox_geometry(768, 576, 640, 640)
    array = (Box * 2)(Box(10, 90, 110, 300, 1, 0), Box(-20, 0, 900, 700, 1, 0))
    boxes = Boxes(ctypes.cast(array, ctypes.POINTER(Box)), 2, 2)
    samples.c.boxes_unletterbox(ctypes.byref(boxes), g, 768, 576)
    wanted = [[12, 12, 132, 264], [0, 0, 767, 575]]
    np.testing.assert_allclose(boxes.rows()[:, :4], wanted, atol=1e-4)


def test_drawing_stays_inside(samples: Any) -> None:
    canvas = np.zeros((20, 30, 3), np.uint8)
    colour = (ctypes.c_uint8 * 3)(1, 2, 3)
    view = samples.image(canvas)
    samples.c.draw_rectangle(ctypes.byref(view), 2, 3, 10, 12, colour)
    wanted = np.zeros_like(canvas)
    wanted[[3, 12], 2:11] = wanted[3:13, [2, 10]] = (1, 2, 3)
    assert np.array_equal(canvas, wanted)
    samples.c.draw_rectangle(ctypes.byref(view), -(2**31), -5, 2**31 - 1, 50, colour)
    assert np.array_equal(canvas, wanted)  # all four sides are outside
    samples.c.draw_text(ctypes.byref(view), 24, 15, b"Ai\xff\n~", colour)
    assert canvas[15:, 24:29].any() and not canvas[:, 29][:13].any()
