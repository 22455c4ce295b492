"""Similarity numbers, classes, tolerances and the report (cli.md sections 12 and 19.5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tpuforge.compiler.errors import OptionError
from tpuforge.compiler.verify import (
    CLOSE,
    EQUAL,
    NOT_EQUAL,
    NOT_MATCH,
    NOT_SIMILAR,
    SIMILAR,
    Tolerance,
    as_number,
    compare,
    compare_tensor,
    cosine,
    euclidean,
    sqnr,
)

K = np.arange(100)
A = np.sin(K).astype(np.float32)
B = (np.sin(K) + 0.05 * np.cos(3 * K)).astype(np.float32)


def test_vectors_of_the_specification():
    assert cosine(A, B) == pytest.approx(0.998742, abs=5e-7)
    assert euclidean(A, B) == pytest.approx(0.949805, abs=5e-7)
    assert sqnr(A, B) == pytest.approx(25.985186, abs=5e-5)
    assert sqnr(B, A) == pytest.approx(25.993829, abs=5e-5)


def test_borders_of_the_measures():
    zero = np.zeros(4, np.float32)
    assert cosine(zero, A[:4]) == 0 and cosine(zero, zero) == 0
    assert euclidean(zero, zero) == 1 and euclidean(zero, zero, 0.0) == 1
    assert euclidean(A, -A, 0.0) == -math.inf and euclidean(A, -A) < -1e6
    assert sqnr(A, A) == math.inf and sqnr(zero, A[:4]) == math.inf
    assert sqnr(K, K - 3) == math.inf, "a constant offset is no noise"
    assert math.isnan(sqnr(np.array([np.nan, 1]), np.array([0, 1])))
    assert [as_number(v) for v in (math.nan, math.inf, -math.inf, 3.5)] == [0, 10000, -10000, 3.5]


def test_old_sqnr_drops_zeros_of_the_target():
    a, b = np.array([0, 1, 2, 0, 3.0]), np.array([5, 1.1, 1.9, 7, 3.0])
    assert sqnr(a, b, drop_zeros=True) == pytest.approx(sqnr(a[a != 0], b[a != 0]))
    assert sqnr(np.zeros(3), b[:3], drop_zeros=True) == math.inf


@pytest.mark.parametrize(
    ("relative", "level", "order"),
    [
        (0, EQUAL, 0),
        (5e-6, CLOSE, 5),
        (5e-5, CLOSE, 4),
        (5e-4, CLOSE, 3),
        (5e-3, SIMILAR, 0),
        (0.5, NOT_SIMILAR, 0),
    ],
)
def test_levels(relative, level, order):
    noise = np.where(K % 2, 1 + relative, 1 - relative)
    r = compare_tensor("t", (A * noise).astype(np.float32), A)
    assert (r.level, r.order) == (level, order) and r.passed == (level != NOT_SIMILAR)


def test_limits_must_be_exceeded():
    r = compare_tensor("t", A, B, Tolerance(0.998, 0.94))
    assert r.level == SIMILAR
    exactly = Tolerance(r.cosine, 0.94)
    assert compare_tensor("t", A, B, exactly).level == NOT_SIMILAR
    assert compare_tensor("t", A, B, Tolerance(0.9, 0.9, 26.0)).level == NOT_SIMILAR
    assert compare_tensor("t", A, B, Tolerance(0.9, 0.9, 25.9)).level == SIMILAR


def test_shapes():
    r = compare_tensor("t", A.reshape(1, 100, 1, 1), A.reshape(10, 10))
    assert r.level == EQUAL and r.shape == (1, 100, 1, 1)
    r = compare_tensor("t", A[:6].reshape(2, 3), A[:8].reshape(2, 4))
    assert r.level == NOT_MATCH and not r.passed and "[2, 3]" in r.detail and "[2, 4]" in r.detail


def test_types():
    bits = (A.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert compare_tensor("t", (A.view(np.uint32) >> 16).astype(np.uint16), bits).level == EQUAL
    q = np.array([-3, 5], np.int8)
    assert compare_tensor("t", q, q.astype(np.float32)).level == EQUAL
    assert compare_tensor("t", q, np.array([-3.4, 5.2], np.float32)).level == NOT_SIMILAR
    old = Tolerance.parse("0.9,0.9,0.9")
    assert compare_tensor("t", q, np.array([-3.4, 5.2], np.float32), old).level == EQUAL
    other = compare_tensor("t", q, np.array([-3, 6], np.int8), Tolerance(0, 0), int8_exact=True)
    assert other.level == NOT_EQUAL and not other.passed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_values_fail(bad):
    a = A.copy()
    a[3] = bad
    assert not compare_tensor("t", a, A, Tolerance(0.0, -10)).passed


def test_tolerance_counts():
    assert Tolerance.parse("0.9") == Tolerance(0.9, -math.inf)
    assert Tolerance.parse("0.85, 0.45") == Tolerance(0.85, 0.45)
    assert Tolerance.parse("0.94,0.96,0.61") == Tolerance(0.96, 0.61, -math.inf, True)
    assert Tolerance.parse([0.97, 0.96, 0.61, 12]) == Tolerance(0.97, 0.61, 12, True)
    for wrong in ("", "a,b", "1,2,3,4,5", "nan"):
        with pytest.raises(OptionError):
            Tolerance.parse(wrong)


def test_order_exceptions_and_names():
    target = {"b": A, "a": A, "only": A}
    report = compare(target, {"a": A, "b": -A, "other": A}, "0.9,0.9")
    assert [r.name for r in report.results] == ["b", "a"] and not report.passed
    assert report.first_failed is not None and report.first_failed.name == "b"
    assert compare(target, {"a": A, "b": -A}, excepts=["b"]).passed
    assert compare(target, {"a": A, "b": -A}, names=["a"]).passed
    with pytest.raises(OptionError, match="no tensor only"):
        compare(target, {"a": A}, names=["only"])


def test_nothing_in_common_fails():
    report = compare({"a": A}, {"b": A})
    assert not report.passed and "npz compare FAILED." in report.text()
    assert "no tensor name is common" in report.text()


def test_names_that_differ():
    target, reference = {"output_Gemm_f32": A}, {"Output.Gemm": A}
    assert not compare(target, reference).passed
    assert compare(target, reference, fuzzy=True).passed
    assert compare(target, reference, aliases={"output_Gemm_f32": "Output.Gemm"}).passed


def test_report_text():
    reference = {"same": A, "near": A, "alike": A, "bad": A}
    target = {"same": A, "near": A * np.float32(1 + 3e-5), "alike": B, "bad": -A}
    text = compare(target, reference, "0.9,0.9", target_name="t.npz", reference_name="r.npz").text(
        2
    )
    lines = text.splitlines()
    assert lines[0] == f"[{'same':<32}]        EQUAL [PASSED]" and lines[1] == "    (100,) float32"
    assert lines[2] == f"[{'near':<32}]        CLOSE [PASSED]"
    assert lines[4] == "    close order            = 4"
    alike = lines.index(f"[{'alike':<32}]      SIMILAR [PASSED]")
    assert lines[alike + 2 : alike + 5] == [
        "    cosine_similarity      = 0.998742",
        "    euclidean_similarity   = 0.949805",
        "    sqnr_similarity        = 25.993829",
    ]
    assert f"[{'bad':<32}]  NOT_SIMILAR [FAILED]" in lines and "    top-k:" in lines
    summary = lines[lines.index("4 compared") :]
    assert summary[1:5] == [
        "3 passed",
        "  1 equal, 1 close, 1 similar",
        "1 failed",
        "  0 not equal, 1 not similar",
    ]
    assert summary[5].startswith("min_similarity = (-1, ")
    assert summary[6:] == ["Target    t.npz", "Reference r.npz", "npz compare FAILED."]


def test_top_k_shows_the_largest_of_both():
    target, reference = np.arange(12.0), np.arange(12.0)[::-1].copy()
    lines = compare({"x": target}, {"x": reference}).text(2).splitlines()
    first = lines[lines.index("    top-k:") + 2].split()
    assert first == ["11", "11.000000", "0", "11.000000"]


def test_old_report_has_the_correlation():
    text = compare({"x": A}, {"x": B}, "0.9,0.9,0.9").text(1)
    assert "    correlation_similarity = 0.998742" in text
    assert "min_similarity = (0.998742, 0.998742, 0.9498" in text


def test_summary_alone_without_verbosity():
    assert compare({"x": A}, {"x": B}, "0.9,0.9").text().splitlines()[0] == "1 compared"


def test_csv():
    text = compare({"x": A, "y": A}, {"x": B, "y": A}, "0.9,0.9").csv({"x": ("Conv", "INT8")})
    assert text.splitlines() == [
        "name,op,quant,pass,sim_cos,sim_euc,sqnr",
        "x,Conv,INT8,True,0.998742,0.949805,25.9852",
        "y,,,True,1,1,inf",
    ]
