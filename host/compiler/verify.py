"""How alike two sets of tensors are, and the report about it (cli.md section 12).

    cosine     a.b / (|a| |b|)                                 0 if either is all zero
    euclidean  1 - |a - b| / (|(a + b) / 2| + 1e-7)            old dialect: without 1e-7
    SQNR (dB)  10 log10( sum (a - mean a)^2 / sum (n - mean n)^2 ), n = a - b

a = target (ours), b = reference, flattened, sums in float64.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .errors import OptionError

EQUAL, CLOSE, SIMILAR = "EQUAL", "CLOSE", "SIMILAR"
NOT_EQUAL, NOT_SIMILAR, NOT_MATCH = "NOT_EQUAL", "NOT_SIMILAR", "NOT_MATCH"
PASSING = frozenset({EQUAL, CLOSE, SIMILAR})
_EPSILON = 1e-7


# ------------------------------------------------------------ measures


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """a.b / (|a| |b|), rounded to float32 as the vendor prints it; 0 when either is all zero."""
    x, y = _flat(a), _flat(b)
    norm = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    return float(np.float32(float(x @ y) / norm)) if norm else 0.0


def euclidean(a: np.ndarray, b: np.ndarray, epsilon: float = _EPSILON) -> float:
    """1 - |a - b| / (|(a + b) / 2| + epsilon); can be negative. -inf when only the denominator is
    0.
    """
    x, y = _flat(a), _flat(b)
    difference, middle = float(np.linalg.norm(x - y)), float(np.linalg.norm(x + y)) / 2 + epsilon
    if middle == 0:
        return 1.0 if difference == 0 else -math.inf
    return 1 - difference / middle


def sqnr(a: np.ndarray, b: np.ndarray, drop_zeros: bool = False) -> float:
    """Signal to quantisation noise in dB; +inf without noise or signal. drop_zeros: elements with a
    = 0 do not count (old).
    """
    x, y = _flat(a), _flat(b)
    if drop_zeros:
        x, y = x[x != 0], y[x != 0]
    if not x.size:
        return math.inf
    signal, noise = float(np.var(x)), float(np.var(x - y))
    return (
        10 * math.log10(signal / noise) if signal > 0 and noise > 0 else _nan_or_inf(signal, noise)
    )


def as_number(value: float) -> float:
    """NaN -> 0, +-inf -> +-10000: an SQNR where a number is needed."""
    return 0.0 if math.isnan(value) else min(max(value, -10000.0), 10000.0)


def _nan_or_inf(*values: float) -> float:
    return math.nan if any(math.isnan(v) for v in values) else math.inf


def _flat(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, np.float64).reshape(-1)


# ------------------------------------------------------------ tolerance


@dataclass(frozen=True)
class Tolerance:
    """Limits that similarities must exceed (section 12.3). old: three or four numbers, the formulas
    of the old toolchain.
    """

    cosine: float = 0.99
    euclidean: float = 0.99
    sqnr: float = -math.inf
    old: bool = False

    @classmethod
    def parse(cls, numbers: str | Sequence[float]) -> Tolerance:
        """1: cosine. 2: cosine, euclidean. 3: cosine, correlation, euclidean (old). 4: the same and
        SQNR (old).

        Correlation is the cosine again, so with 3 or 4 numbers the limit of the cosine is the
        larger of the first two.
        """
        if isinstance(numbers, str):
            try:
                values = [float(v) for v in numbers.split(",")]
            except ValueError:
                raise OptionError(
                    f"tolerance {numbers!r} is not a comma-separated list of numbers"
                ) from None
        else:
            values = [float(v) for v in numbers]
        if not 1 <= len(values) <= 4 or any(math.isnan(v) for v in values):
            raise OptionError(
                f"tolerance takes 1 to 4 numbers (cosine, euclidean), not {numbers!r}"
            )
        if len(values) == 1:
            return cls(values[0], -math.inf)
        if len(values) == 2:
            return cls(values[0], values[1])
        return cls(
            max(values[0], values[1]), values[2], values[3] if len(values) == 4 else -math.inf, True
        )


# ------------------------------------------------------------ one tensor


@dataclass(frozen=True)
class TensorResult:
    """Comparison of one tensor. order: k of CLOSE. The measures are exact 1, 1, inf for EQUAL."""

    name: str
    level: str
    shape: tuple[int, ...]
    dtype: str
    cosine: float = 1.0
    euclidean: float = 1.0
    sqnr: float = math.inf
    order: int = 0
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.level in PASSING


def compare_tensor(
    name: str,
    target: np.ndarray,
    reference: np.ndarray,
    tolerance: Tolerance | None = None,
    *,
    int8_exact: bool = False,
) -> TensorResult:
    """Classify one tensor (section 12.2): EQUAL, CLOSE (allclose, rtol 10^-k, atol 1e-8, k = 5, 4,
    3), SIMILAR or not.

    The reference takes the target's shape; another element count is NOT_MATCH. uint16 holds bf16
    and is widened. Old dialect: int8 on one side makes both int8. int8_exact: int8 tensors are
    EQUAL or NOT_EQUAL.
    """
    tolerance = tolerance or Tolerance()
    shape, dtype = tuple(target.shape), str(target.dtype)
    if target.size != reference.size:
        return TensorResult(
            name,
            NOT_MATCH,
            shape,
            dtype,
            0.0,
            0.0,
            -math.inf,
            detail=f"target {list(shape)}, reference {list(reference.shape)}",
        )
    a, b = _comparable(target, reference.reshape(shape), tolerance.old)
    if np.array_equal(a, b):
        return TensorResult(name, EQUAL, shape, dtype)
    if int8_exact and a.dtype == np.int8:
        return TensorResult(name, NOT_EQUAL, shape, dtype, *_measures(a, b, tolerance.old))
    cos, euc, noise = _measures(a, b, tolerance.old)
    for k in (5, 4, 3):
        if np.allclose(a, b, rtol=10.0**-k, atol=1e-8):
            return TensorResult(name, CLOSE, shape, dtype, cos, euc, noise, k)
    similar = (
        cos > tolerance.cosine and euc > tolerance.euclidean and as_number(noise) > tolerance.sqnr
    )
    return TensorResult(name, SIMILAR if similar else NOT_SIMILAR, shape, dtype, cos, euc, noise)


def _measures(a: np.ndarray, b: np.ndarray, old: bool) -> tuple[float, float, float]:
    with np.errstate(all="ignore"):
        return cosine(a, b), euclidean(a, b, 0.0 if old else _EPSILON), sqnr(a, b, drop_zeros=old)


def _comparable(a: np.ndarray, b: np.ndarray, old: bool) -> tuple[np.ndarray, np.ndarray]:
    if old and a.dtype != b.dtype and np.int8 in (a.dtype, b.dtype):
        with np.errstate(invalid="ignore"):
            return a.astype(np.int8), b.astype(np.int8)
    return widened(a), widened(b)


def widened(x: np.ndarray) -> np.ndarray:
    """bf16 patterns (uint16) as float32; everything else unchanged."""
    return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x


# ------------------------------------------------------------ many tensors


@dataclass
class Report:
    """Results in the order of the target."""

    results: list[TensorResult]
    tolerance: Tolerance = field(default_factory=Tolerance)
    target_name: str = "target"
    reference_name: str = "reference"
    tensors: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def passed(self) -> bool:
        """Everything compared passes, and something was compared."""
        return bool(self.results) and all(r.passed for r in self.results)

    @property
    def failed(self) -> list[TensorResult]:
        return [r for r in self.results if not r.passed]

    @property
    def first_failed(self) -> TensorResult | None:
        """The first bad tensor in the order of the network."""
        return next(iter(self.failed), None)

    @property
    def minimum(self) -> tuple[float, float, float]:
        """Smallest cosine, euclidean similarity and SQNR."""
        if not self.results:
            return 0.0, 0.0, -math.inf
        return tuple(
            _least(getattr(r, k) for r in self.results) for k in ("cosine", "euclidean", "sqnr")
        )  # type: ignore

    def count(self, level: str) -> int:
        return sum(r.level == level for r in self.results)

    def text(self, verbose: int = 0) -> str:
        """The report of section 12.4. verbose 1: a block per tensor; 2: also the ten largest values
        of failing ones.
        """
        lines: list[str] = []
        for r in self.results if verbose else ():
            lines += block(r, self.tolerance.old)
            if verbose > 1 and not r.passed and r.name in self.tensors:
                lines += top_k(*self.tensors[r.name])
        return "\n".join(lines + self._summary())

    def _summary(self) -> list[str]:
        n, bad = len(self.results), len(self.failed)
        cos, euc, noise = self.minimum
        least = [cos, cos, euc, noise] if self.tolerance.old else [cos, euc, noise]
        passed = [self.count(level) for level in (EQUAL, CLOSE, SIMILAR)]
        unequal = self.count(NOT_EQUAL) + self.count(NOT_MATCH)
        lines = [
            f"{n} compared",
            f"{n - bad} passed",
            f"  {passed[0]} equal, {passed[1]} close, {passed[2]} similar",
            f"{bad} failed",
            f"  {unequal} not equal, {self.count(NOT_SIMILAR)} not similar",
            f"min_similarity = ({', '.join(_short(v) for v in least)})",
            f"Target    {self.target_name}",
            f"Reference {self.reference_name}",
        ]
        if not n:
            lines.append("no tensor name is common to both")
        return [*lines, f"npz compare {'PASSED' if self.passed else 'FAILED'}."]

    def csv(self, ops: Mapping[str, tuple[str, str]] | None = None) -> str:
        """Columns name, op, quant, pass, sim_cos, sim_euc, sqnr. ops: tensor -> (operation,
        quantisation).
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["name", "op", "quant", "pass", "sim_cos", "sim_euc", "sqnr"])
        for r in self.results:
            op, quant = (ops or {}).get(r.name, ("", ""))
            writer.writerow(
                [r.name, op, quant, r.passed, *(_short(v) for v in (r.cosine, r.euclidean, r.sqnr))]
            )
        return out.getvalue()


def compare(
    target: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    tolerance: Tolerance | str | Sequence[float] | None = None,
    *,
    names: Iterable[str] | None = None,
    excepts: Collection[str] = (),
    aliases: Mapping[str, str] | None = None,
    fuzzy: bool = False,
    int8_exact: bool = False,
    target_name: str = "target",
    reference_name: str = "reference",
) -> Report:
    """Compare the tensors that both have, in the target's order.

    names: only these; OptionError if one is missing. excepts: not these. aliases: target name ->
    reference name. fuzzy: a name may differ in case, punctuation and a `_f32` ending. No common
    tensor: the report fails.
    """
    limits = (
        tolerance
        if isinstance(tolerance, Tolerance)
        else Tolerance.parse(tolerance)
        if tolerance is not None
        else Tolerance()
    )
    pairs = pair_names(list(target), list(reference), aliases, fuzzy)
    if names is not None:
        wanted = list(names)
        absent = [n for n in wanted if n not in pairs]
        if absent:
            raise OptionError(
                f"no tensor {', '.join(absent)} in both {target_name} and {reference_name}"
            )
        pairs = {n: pairs[n] for n in wanted}
    pairs = {t: r for t, r in pairs.items() if t not in excepts and r not in excepts}
    results, kept = [], {}
    for t, r in pairs.items():
        a, b = np.asarray(target[t]), np.asarray(reference[r])
        results.append(compare_tensor(t, a, b, limits, int8_exact=int8_exact))
        if not results[-1].passed:
            kept[t] = (a, b)
    return Report(results, limits, target_name, reference_name, kept)


def pair_names(
    target: Sequence[str],
    reference: Sequence[str],
    aliases: Mapping[str, str] | None = None,
    fuzzy: bool = False,
) -> dict[str, str]:
    """Target name -> reference name: the same name, else the alias, else (fuzzy) the same letters
    and digits.
    """
    known = set(reference)
    plain = {_plain(r): r for r in reversed(reference)} if fuzzy else {}
    pairs: dict[str, str] = {}
    for t in target:
        partner = t if t in known else (aliases or {}).get(t, plain.get(_plain(t), ""))
        if partner in known:
            pairs[t] = partner
    return pairs


def _plain(name: str) -> str:
    return "".join(c for c in name.removesuffix("_f32").lower() if c.isalnum())


# ------------------------------------------------------------ text


def block(r: TensorResult, old: bool = False) -> list[str]:
    """The lines about one tensor."""
    shape = f"({', '.join(map(str, r.shape))}{',' if len(r.shape) == 1 else ''})"
    lines = [
        f"[{r.name:<32}] {r.level:>12} [{'PASSED' if r.passed else 'FAILED'}]",
        f"    {shape} {r.dtype}",
    ]
    if r.level == CLOSE:
        lines.append(f"    close order            = {r.order}")
    elif r.level == NOT_MATCH:
        lines.append(f"    {r.detail}")
    elif r.level != EQUAL:
        lines.append(f"    cosine_similarity      = {r.cosine:.6f}")
        if old:
            lines.append(f"    correlation_similarity = {r.cosine:.6f}")
        lines.append(f"    euclidean_similarity   = {r.euclidean:.6f}")
        lines.append(f"    sqnr_similarity        = {r.sqnr:.6f}")
    return lines


def top_k(target: np.ndarray, reference: np.ndarray, k: int = 10) -> list[str]:
    """The k largest values of both, with their flat indices."""
    columns = []
    for x in (widened(target).reshape(-1), widened(reference).reshape(-1)):
        best = np.argsort(-x.astype(np.float64), kind="stable")[:k]
        columns.append([f"{i:>9} {float(x[i]):>14.6f}" for i in best])
    rows = max(map(len, columns))
    padded = [c + [""] * (rows - len(c)) for c in columns]
    head = f"    {'target':>9} {'value':>14}   {'reference':>9} {'value':>14}"
    return [
        "    top-k:",
        head,
        *(f"    {a:<24}   {b}".rstrip() for a, b in zip(*padded, strict=True)),
    ]


def _least(values: Iterable[float]) -> float:
    """Smallest; NaN counts as the smallest of all."""
    return min(values, key=lambda v: -math.inf if math.isnan(v) else v)


def _short(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else str(value)
