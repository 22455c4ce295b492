"""Rounding of weights (lower/cv18xx/weights.py)."""

from __future__ import annotations

import numpy as np
import pytest
from lower.graphs import Net, ops
from tpuforge.compiler import top
from tpuforge.compiler.chip import chip_named
from tpuforge.compiler.ir import Value
from tpuforge.compiler.lower import lower
from tpuforge.compiler.lower.cv18xx import weights
from tpuforge.compiler.lower.cv18xx.weights import quantise, round_rows

CHIP = chip_named("cv181x")


def one_row(x: np.ndarray) -> list[int]:
    """round_rows of one row, weight by weight."""
    near = [int(np.rint(v)) for v in x]
    moved = [q - float(v) for q, v in zip(near, x, strict=True)]
    excess = int(np.rint(sum(moved)))
    step = 1 if excess > 0 else -1
    order = sorted(range(len(x)), key=lambda i: (-step * moved[i], i))
    for i in order[: abs(excess)]:
        near[i] -= step
    return near


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 15, 17, 27, 33, 64, 65, 1000])
def test_rows_keep_their_sums(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_AT_ONCE", 100)
    rng = np.random.default_rng(n)
    x = rng.uniform(-127, 127, (41, n)).astype(np.float32)
    x[::3] = np.round(x[::3] * 4) / 4  # halves and equal remainders
    q = round_rows(x, True)
    assert q.dtype == np.int8 and q.tolist() == [one_row(row) for row in x]
    assert np.abs(q - x.astype(np.float64)).max() < 1
    assert np.abs(q.sum(axis=1, dtype=np.float64) - x.sum(axis=1, dtype=np.float64)).max() <= 0.5


def test_nearest() -> None:
    x = np.array([[0.5, 1.5, -0.5, 0.4, 200.0, -127.6]], np.float32)
    assert round_rows(x, False).tolist() == [[0, 2, 0, 0, 127, -127]]


def test_equal_weights_the_first_move() -> None:
    assert round_rows(np.full((2, 9), 0.4, np.float32), True).tolist() == [[1] * 4 + [0] * 5] * 2
    assert round_rows(np.full((1, 8), -0.75, np.float32), True).tolist() == [[0, 0] + [-1] * 6]


def test_rows_beyond_int8_saturate() -> None:
    x = np.array([[1e30, -1e30, 126.6, -0.4], [np.inf, -np.inf, 0, 0]], np.float32)
    assert round_rows(x, True).tolist() == [[127, -127, 126, 0], [127, -127, 0, 0]]
    assert round_rows(np.zeros((0, 4), np.float32), True).shape == (0, 4)


def test_constant_inputs_keep_their_result() -> None:
    """What rounding to nearest gets wrong by up to half a step per weight."""
    w = np.random.default_rng(5).normal(size=(16, 576)).astype(np.float32)
    rows = quantise(w, None, 1.0, 1000.0, keep_sums=True)
    whole = quantise(w, None, 1.0, 1000.0, keep_sums=True, per_channel=False)
    assert rows.multiplier.shape == (16,) and whole.multiplier.shape == (1,)
    for q in rows, whole:
        scale = np.ldexp(q.multiplier.astype(np.float64), -31 - q.shift.astype(int)) * 1000
        off = q.weights.sum(axis=1, dtype=np.float64) - w.sum(axis=1, dtype=np.float64) / scale
        assert np.abs(off).max() < 0.501


def test_only_behind_relu_and_pictures() -> None:
    """Weights of 0.4 steps beside one of 127: with kept sums four of nine become 1."""
    net = Net(1, 2, 6, 6)

    def conv(x: Value, name: str, relu: bool) -> Value:
        y = net.conv(x, 2, 3, name, bias=False, do_relu=relu, pads=(1, 1, 1, 1))
        w = y.owner.operands[1].data
        w[:], w[:, 0, 0, 0] = 0.4, 127
        return y

    a = conv(net.x, "picture", False)
    b = conv(a, "centred", True)
    c = conv(b, "relu", False)
    d = net.add(top.Add, [a, c], "sum")
    e = conv(d, "sum_of_centred", False)
    f = net.add(top.Add, [e, b], "mixed")
    graph, table, _ = net.finish(conv(f, "mixed_sum", False))
    kept = {
        op.name: int(op.operands[1].data[0].sum()) for op in ops(lower(graph, table, CHIP), "Conv")
    }
    assert kept == {
        "picture": 134, "centred": 127, "relu": 134, "sum_of_centred": 127, "mixed_sum": 134
    }  # fmt: skip
