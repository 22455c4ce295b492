"""Tuning: a threshold may grow when the operator that reads the tensor then errs less (cli.md
section 13.4).

For each operator in order and each of its input tensors not tuned yet (all tuned: the first again),
candidates

    th_k = th0 + k (abs_max - th0) / 21,  k = 0 .. 21        (skipped when abs_max - th0 <= 0.01)

run the operator in float on fake-quantised inputs, clip(rint(x * 127 / th), -128, 127) * th / 127,
the same th for all of them; distance = mean over the tuning samples of |ref - out|_2 / |ref|_1, of
what it writes, or of `judged` (floatmodel.py). The first smallest replaces the threshold if it is
larger.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .floatmodel import FloatModel, FloatOp, Parts, Runner

STEPS = 21
LEAST_GAIN = 0.01
_CHUNK = 1 << 15

Progress = Callable[[int, int, str], None]


def tune(
    model: FloatModel,
    thresholds: Mapping[str, float],
    abs_max: Mapping[str, float],
    samples: Sequence[Mapping[str, np.ndarray]],
    *,
    threads: int = 2,
    progress: Progress | None = None,
) -> dict[str, float]:
    """The tuned thresholds by tensor. samples: the inputs of the network, one dict per tuning
    sample.

    Walks the network operator by operator on all samples at once and forgets a tensor after its
    last use.
    """
    result, tuned, parts = dict(thresholds), set[str](), Parts(model)
    live = [{k: np.ascontiguousarray(v, np.float32) for k, v in s.items()} for s in samples]
    last_use = {t: i for i, op in enumerate(model.ops) for t in op.inputs}
    for i, op in enumerate(model.ops):
        trial = Trial(parts, op, live, threads)
        for name in [t for t in op.inputs if t not in tuned] or list(op.inputs[:1]):
            tuned.add(name)
            if name not in model.outputs:
                result[name] = trial.best(result[name], abs_max[name])
        for values, reference in zip(live, trial.references, strict=True):
            values.update((t, reference[t]) for t in op.outputs)
            for t in op.inputs:
                if last_use[t] == i and t in values:
                    del values[t]
        if progress:
            progress(i + 1, len(model.ops), "tuning")
    return result


class Trial:
    """One operator with its exact inputs and outputs on the tuning samples."""

    def __init__(
        self, parts: Parts, op: FloatOp, live: Sequence[Mapping[str, np.ndarray]], threads: int
    ):
        self.op = op
        self.exact = [{t: values[t] for t in op.inputs} for values in live]
        self.runner = Runner(parts.of(op), op.inputs, op.results, parts.model.shapes, threads)
        self.judged = op.judged or op.outputs
        self.references = [{t: y.copy() for t, y in self.runner.run(x).items()} for x in self.exact]
        self.norms = [
            sum(float(np.abs(r[t]).sum(dtype=np.float64)) for t in self.judged)
            for r in self.references
        ]
        self.quantised = (
            {t: np.empty_like(x) for t, x in self.exact[0].items()} if self.exact else {}
        )

    def best(self, th0: float, top: float) -> float:
        """The better threshold between th0 and top, at least th0."""
        if not self.exact or not top - th0 > LEAST_GAIN:
            return th0
        return th0 + self._first_smallest(th0, top) * (top - th0) / STEPS

    def _first_smallest(self, th0: float, top: float) -> int:
        """Index of the candidate with the smallest sum of distances.

        Distances only add up, so always the candidate with the smallest sum so far goes on to its
        next sample: the first one that has seen all samples wins, and hopeless ones stop early. The
        result is that of trying everything.
        """
        queue = [(0.0, k, 0) for k in range(STEPS + 1)]
        while True:
            total, k, seen = heapq.heappop(queue)
            if seen == len(self.exact):
                return k
            heapq.heappush(
                queue, (total + self.distance(th0 + k * (top - th0) / STEPS, seen), k, seen + 1)
            )

    def distance(self, threshold: float, sample: int) -> float:
        """|ref - out|_2 / |ref|_1 of one sample with all inputs quantised by `threshold`."""
        for name, x in self.exact[sample].items():
            fake_quantise(x, threshold, self.quantised[name])
        out = self.runner.run(self.quantised)
        square = 0.0
        for name in self.judged:
            y, reference = out[name], self.references[sample][name]
            np.subtract(y, reference, out=y)
            square += float(np.einsum("i,i->", y.reshape(-1), y.reshape(-1)))
        return math.sqrt(square) / self.norms[sample] if self.norms[sample] else 0.0


def fake_quantise(x: np.ndarray, threshold: float, out: np.ndarray) -> None:
    """out = clip(rint(x * 127 / threshold), -128, 127) * threshold / 127, float32, same shape."""
    source, target = x.reshape(-1), out.reshape(-1)
    up, down = np.float32(127 / threshold), np.float32(threshold / 127)
    for at in range(0, source.size, _CHUNK):
        y = target[at : at + _CHUNK]
        np.multiply(source[at : at + _CHUNK], up, out=y)
        np.rint(y, out=y)
        np.minimum(y, 127, out=y)
        np.maximum(y, -128, out=y)
        np.multiply(y, down, out=y)
