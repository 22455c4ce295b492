"""Comparison reports on the console, and the first bad layer in words (cli.md sections 5.4 and
12.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..verify import EQUAL, Report, TensorResult, Tolerance, compare, compare_tensor
from .console import Console

DETAILED = 8  # reports of so many tensors are shown whole, longer ones by their worst five
WORST = 5


def show(report: Report, console: Console) -> None:
    """The report: every tensor of a short one; the worst five and the summary of a long one."""
    if len(report.results) <= DETAILED:
        console.say(report.text(verbose=1))
        return
    different = [r for r in report.results if r.level != EQUAL]
    if different:
        console.say(f"the worst of {len(report.results)} tensors:")
    for result in sorted(different, key=lambda r: (r.cosine, r.euclidean))[:WORST]:
        console.say(f"  {words(result)}")
    console.say(report.text())


def words(result: TensorResult) -> str:
    """A tensor and its similarity on one line."""
    numbers = f"cosine {result.cosine:.6f}, euclidean {result.euclidean:.6f}"
    return f"{result.name}: {result.level}, {result.detail or numbers}"


def checked(
    target: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    tolerance: Sequence[float],
    excepts: Iterable[str],
    names: tuple[str, str],
    console: Console,
) -> Report:
    """Compare the tensors that both have and show the report."""
    report = compare(
        target,
        reference,
        tolerance,
        excepts=set(excepts),
        target_name=names[0],
        reference_name=names[1],
    )
    show(report, console)
    return report


def first_bad(
    target: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    tolerance: Sequence[float],
    excepts: Iterable[str] = (),
) -> TensorResult | None:
    """The first tensor, in the order of target, that both have and that fails."""
    limits, excluded = Tolerance.parse(tolerance), set(excepts)
    for name, x in target.items():
        if name in reference and name not in excluded:
            result = compare_tensor(name, x, reference[name], limits)
            if not result.passed:
                return result
    return None
