"""The parser of all commands: cli.md sections 2.2 and 2.4."""

from __future__ import annotations

import argparse

import pytest
from tpuforge.compiler.errors import OptionError
from tpuforge.tools import common


def parser(**kw: object) -> common.Parser:
    p = common.Parser("tool", "a tool", **kw)
    p.add_argument("mlir_file")
    p.add_argument("-o", "--calibration_table", required=True)
    p.add_argument("--mean", type=common.floats)
    p.add_argument("--min_layer_cos", type=float)
    p.add_argument("--excepts", type=common.names, default=[])
    p.add_bool("--keep_aspect_ratio")
    p.add_bool("--compress_weight", default=True)
    return p


def parse(*argv: str) -> argparse.Namespace:
    return parser().parse(["m.mlir", "-o", "t", *argv])


@pytest.mark.parametrize(
    "argv",
    [["--mean", "-1,2,3"], ["--mean=-1,2,3"], ["--me", "-1, 2, 3"], ["--mean", "-1,2.0,3e0"]],
)
def test_number_lists_may_begin_with_minus(argv: list[str]) -> None:
    assert parse(*argv).mean == [-1.0, 2.0, 3.0]


@pytest.mark.parametrize("text", ["nan,1,2", "1,inf,2", "1,,2", "x"])
def test_number_lists_are_finite(text: str) -> None:
    with pytest.raises(OptionError, match="not a comma-separated list"):
        parse("--mean", text)


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        ([], False),
        (["--keep_aspect_ratio"], True),
        (["--keep_aspect"], True),
        (["--keep_aspect_ratio", "FALSE"], False),
        (["--keep_aspect_ratio=yes"], True),
        (["--keep_aspect_ratio", "0"], False),
        (["--keep_aspect_ratio", "--mean", "1"], True),
    ],
)
def test_boolean_word_is_optional(argv: list[str], value: bool) -> None:
    assert parse(*argv).keep_aspect_ratio is value


def test_boolean_option_does_not_eat_a_positional() -> None:
    options = parser().parse(["--keep_aspect_ratio", "m.mlir", "-o", "t"])
    assert options.mlir_file == "m.mlir" and options.keep_aspect_ratio is True


def test_present_and_given() -> None:
    options = parse("--mea", "1", "--keep_aspect_ratio")
    assert options.present == {"calibration_table", "mean", "keep_aspect_ratio"}
    assert options.typed == {"o": "t", "mean": "1", "keep_aspect_ratio": "true"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["m.mlir", "-o", "t", "--keep_aspct_ratio"], r"did you mean --keep_aspect_ratio\?"),
        (["m.mlir", "--mena", "1"], "unknown option --mena"),  # before the missing -o
        (["m.mlir"], "-o/--calibration_table"),
        (["m.mlir", "x", "-o", "t"], "unexpected argument 'x'"),
        (["m.mlir", "-o", "t", "--mean", "1,a"], "comma-separated list of numbers"),
        (["m.mlir", "-o", "t", "--keep_aspect_ratio=maybe"], "true, false, yes, no, 1, 0"),
    ],
)
def test_usage_errors_name_the_option(argv: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parser().parse(argv)


@pytest.mark.parametrize(
    "words", [[" # the smallest cosine"], [" #", "If", "using", "the"], [" "], ["#x"]]
)
def test_comment_behind_a_backslash(words: list[str]) -> None:
    """Seeds S2-17 and S4: the cause, the missing -o and the corrected command are named; no name is
    guessed."""
    with pytest.raises(OptionError) as caught:
        parser().parse(["yolo v3.mlir", "--min_layer_cos", "0.999", *words])
    text = str(caught.value)
    assert "a comment after a line-continuation backslash" in text
    assert "tool 'yolo v3.mlir' --min_layer_cos 0.999 -o CALIBRATION_TABLE" in text


def test_blank_value_is_no_comment() -> None:
    assert parse("--excepts", "").excepts == []
    assert parse("--excepts", "#1").excepts == ["#1"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[1,3,224,224]]", [[1, 3, 224, 224]]),
        ("[1,3]", [[1, 3]]),
        ("[[1, 2], [3]]", [[1, 2], [3]]),
        ("[[1,2],[]]", [[1, 2], []]),
    ],
)
def test_shapes(text: str, value: list[list[int]]) -> None:
    assert common.shapes(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "1", "[", "[[1,0]]", "[[-1]]", "[[1.5]]", "[[True]]", "[]", "['a']", "[" * 500, "x()"],
)
def test_bad_shapes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        common.shapes(text)


def test_names() -> None:
    assert common.names("a, b,,c ") == ["a", "b", "c"]
    assert common.names("-") == common.names("") == []
