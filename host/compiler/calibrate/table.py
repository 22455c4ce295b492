"""Calibration tables and quantize tables as text (cli.md sections 15.1 and 15.2)."""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InternalError, OptionError, UserInputError
from ..fileio import existing_file, write_text


class Entry(NamedTuple):
    """threshold: int8 127 stands for it. min, max: what was seen (None in two-column tables of the
    old toolchain).
    """

    threshold: float
    min: float
    max: float


@dataclass
class CalibrationTable(Mapping[str, Entry]):
    """Tensor name -> Entry, in the order of the graph. weights, bitwidths: the extra lines of old
    tables. made: how it was made, for the header of the file (method, bins, samples, tune_num).
    untuned: the thresholds before tuning; samples: the files of each sample, in order.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    bitwidths: dict[str, int] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    untuned: dict[str, float] = field(default_factory=dict)
    samples: list[tuple[str, ...]] = field(default_factory=list)
    source: str = "calibration table"

    def __getitem__(self, name: str) -> Entry:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def threshold(self, name: str) -> float:
        """The threshold of a tensor; UserInputError if the table has none."""
        self.require([name])
        return self.entries[name].threshold

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that have no entry."""
        return [n for n in names if n not in self.entries]

    def require(self, names: Iterable[str]) -> None:
        """UserInputError that names every tensor without an entry."""
        absent = self.missing(names)
        if absent:
            raise UserInputError(
                f"{self.source}: no entry for {len(absent)} tensor{'s' * (len(absent) > 1)}: "
                f"{', '.join(absent)}. The table belongs to another model or is incomplete; "
                "run run_calibration on this model again."
            )


# ------------------------------------------------------------ writing


def format_table(
    table: CalibrationTable,
    *,
    model: str = "",
    method: str = "kl",
    bins: int = 2048,
    samples: int = 0,
    tune_num: int = 0,
    when: datetime | None = None,
) -> str:
    """The text of a table: comment header, then `name threshold min max`, seven decimals, single
    blanks, LF. What table.made says of method, bins, samples and tune_num goes before the
    arguments.
    """
    known = {"method": method, "bins": bins, "samples": samples, "tune_num": tune_num} | table.made
    when = when or datetime.now(timezone.utc).replace(tzinfo=None)
    lines = [
        "# tpuforge calibration table 1.0",
        f"# mlir: {model}",
        f"# genetated time: {when}",
        f"# quantization threshold calculation method: ['{known['method']}']",
        f"# histogram number: {known['bins']}",
        f"# sample number: {known['samples']}",
        "###",
        f"# tune number: {known['tune_num']}",
        "###",
        "# op_name    threshold    min    max",
    ]
    for name, entry in table.entries.items():
        if not name or any(c.isspace() for c in name) or name.startswith("#"):
            raise UserInputError(
                f"tensor name {name!r} cannot stand in a calibration table; rename it in the model"
            )
        if not all(math.isfinite(v) for v in entry):
            raise InternalError(f"calibration of {name!r} gave {tuple(entry)}")
        lines.append(" ".join([name, *(f"{v + 0.0:.7f}" for v in entry)]))
    return "\n".join(lines) + "\n"


def write_table(path: str | os.PathLike[str], table: CalibrationTable, **header: object) -> None:
    """Write `format_table` to a file, all or nothing."""
    write_text(path, format_table(table, **header))  # type: ignore[arg-type]


def format_csv(table: CalibrationTable) -> str:
    """The table for a spreadsheet: a line with the names of the columns, then `op_name, threshold,
    min, max, untuned` (the threshold before tuning), seven decimals."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["op_name", *Entry._fields, "untuned"])
    for name, entry in table.entries.items():
        numbers = (*entry, table.untuned.get(name, entry.threshold))
        rows.writerow([name, *(f"{v + 0.0:.7f}" for v in numbers)])
    return text.getvalue()


# ------------------------------------------------------------ reading


def read_table(path: str | os.PathLike[str]) -> CalibrationTable:
    """A table of any version. UserInputError names file and line."""
    return parse_table(_text(path), os.fspath(path))


def parse_table(text: str, source: str = "calibration table") -> CalibrationTable:
    """Old and new formats: header optional, blanks or tabs, CRLF, exponents and `+` accepted, the
    last duplicate wins.

    `name threshold`, `name threshold min max`, `weight name t0 t1 ...`, `bitwidth name bits`. The
    blocks that a comment word introduces (#int4_th, #asym_op, #weight_scale, #int4_op) are skipped:
    they say nothing about int8 thresholds.
    """
    table, block = CalibrationTable(source=source), ""
    for number, line in enumerate(text.splitlines(), 1):
        words, where = line.split(), f"{source}, line {number}"
        if line.lstrip().startswith("#"):
            word = line.strip("# \t\r\n").split(" ")[0]
            block = (
                word
                if word in ("int4_th", "asym_op", "weight_scale", "int4_op", "symmetric_op")
                else block
            )
        elif not words or block:
            continue
        elif (words[0] == "weight" and len(words) > 2 and len(words) != 4) or (
            words[0] == "weight" and len(words) == 4 and not _is_number(words[1])
        ):
            table.weights[words[1]] = tuple(_number(w, where) for w in words[2:])
        elif words[0] == "bitwidth" and len(words) == 3:
            table.bitwidths[words[1]] = int(_number(words[2], where))
        else:
            table.entries.pop(words[0], None)
            table.entries[words[0]] = _entry(words, where)
    if not table.entries:
        raise UserInputError(
            f"{source}: no `name threshold min max` line in this file; "
            "it is not a calibration table"
        )
    return table


def _entry(words: list[str], where: str) -> Entry:
    if len(words) not in (2, 4):
        raise UserInputError(
            f"{where}: {len(words)} fields, expected `name threshold min max`: "
            f"{' '.join(words)[:80]!r}"
        )
    values = [_number(w, where) for w in words[1:]]
    if values[0] < 0:
        raise UserInputError(
            f"{where}: the threshold of {words[0]!r} is {values[0]}; it must not be negative"
        )
    return Entry(values[0], -values[0], values[0]) if len(values) == 1 else Entry(*values)


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _number(word: str, where: str) -> float:
    if not _is_number(word):
        raise UserInputError(f"{where}: {word!r} is not a number")
    return float(word)


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return existing_file(Path(path), "a table").read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserInputError(f"{path}: not a text file") from None


# ------------------------------------------------------------ quantize table

MODES = ("F32", "F16", "BF16", "INT8")


def read_quantize_table(
    path: str | os.PathLike[str], *, bare_is_bf16: bool = False
) -> dict[str, str]:
    """`name MODE` lines -> {name: mode in capitals}. bare_is_bf16: a name alone means BF16 (old
    tables).
    """
    return parse_quantize_table(_text(path), os.fspath(path), bare_is_bf16=bare_is_bf16)


def parse_quantize_table(
    text: str, source: str = "quantize table", *, bare_is_bf16: bool = False
) -> dict[str, str]:
    modes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words, where = line.split(), f"{source}, line {number}"
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 1 and bare_is_bf16:
            words.append("BF16")
        if len(words) != 2:
            raise UserInputError(f"{where}: expected `name MODE`, found {line.strip()[:80]!r}")
        mode = {"MIX_BF16": "BF16"}.get(words[1].upper(), words[1].upper())
        if mode not in MODES:
            raise UserInputError(f"{where}: unknown mode {words[1]!r}: one of {', '.join(MODES)}")
        modes[words[0]] = mode
    return modes


def unknown_names(modes: Iterable[str], known: Iterable[str]) -> list[str]:
    """A warning for each name of a quantize table that the model does not have, with near names."""
    names = list(known)
    warnings = []
    for name in modes:
        if name not in names:
            near = difflib.get_close_matches(name, names, 3)
            warnings.append(
                f"no layer named {name!r} in the model"
                + (f"; did you mean {' or '.join(near)}?" if near else "")
            )
    return warnings


MOST_BINS = 131072  # the search for a threshold folds finer histograms (cli.md section 13.2)


def check_bins(bins: int) -> int:
    """Number of histogram bins; OptionError unless a multiple of 128 up to MOST_BINS."""
    if not 128 <= bins <= MOST_BINS or bins % 128:
        raise OptionError(
            f"histogram_bin_num is {bins}: a multiple of 128, at least 128 and at most {MOST_BINS}"
        )
    return bins
