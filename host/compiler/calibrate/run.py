"""Calibration of a float network on samples: collect, choose thresholds, tune (cli.md sections 4
and 13).
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ..errors import OptionError, UserInputError
from ..ir import Graph
from .floatmodel import FloatModel, Runner
from .methods import (
    SMALLEST,
    TUNED,
    AbsPercentile,
    Percentile,
    make_statistic,
    method_named,
    percent_of,
    tail_that_uses_max,
)
from .samples import Sample, SampleReader, read_list, select
from .table import CalibrationTable, Entry, check_bins
from .tune import Progress, tune

Item = TypeVar("Item")
_TAIL = 5


def calibrate(
    graph: Graph | FloatModel,
    dataset: str | os.PathLike[str] | Iterable[Sample] | None = None,
    *,
    data_list: str | os.PathLike[str] | None = None,
    input_num: int = 0,
    method: str = "kl",
    tune_num: int = 5,
    tune_list: str | os.PathLike[str] | None = None,
    bins: int = 2048,
    threads: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> CalibrationTable:
    """Thresholds of every tensor of a Top graph.

    dataset: a folder (searched recursively, cli.md section 4.2) or samples, each a tuple of files;
    data_list: a file with one sample a line. input_num: how many (0: all). tune_num: samples for
    tuning (0: none), the first of the samples or those of tune_list. threads: 0 = all cores.
    progress(done, total, step); warn(text); say(text): what the vendor's tool says of samples and
    tuning. Memory does not grow with the number of samples. Raises UserInputError, OptionError.
    """
    warn, say = warn or _warn, say or (lambda text: None)
    model = graph if isinstance(graph, FloatModel) else FloatModel.from_graph(graph)
    method, threads = method_named(method), threads or os.cpu_count() or 1
    samples = _samples(dataset, data_list, input_num, warn)
    say(f"input_num = {input_num or len(samples)}, ref = {len(samples)}")
    reader = SampleReader(model.inputs, samples, strict=strict, warn=warn)
    collector = Collector(model, method, check_bins(bins), len(samples))
    kept: list[dict[str, np.ndarray]] = []
    wanted = tune_num if method in TUNED and not tune_list else 0
    runner = Runner(
        model.proto, [i.name for i in model.inputs], collector.computed, model.shapes, threads
    )
    for done, feed in enumerate(ahead(reader), 1):
        if len(kept) < -(-wanted // reader.batch):
            kept.append(feed)
        collector.add({**feed, **runner.run(feed)})
        if progress:
            progress(done, len(reader), "collecting")
    del runner
    used = list(reader.used)
    if progress:
        progress(len(reader), len(reader), "collecting")
    say(f"real input_num = {len(used)}")
    untuned = thresholds = collector.thresholds(warn, progress)
    if tune_list and tune_num and method in TUNED:
        kept = list(
            SampleReader(model.inputs, read_list(tune_list, tune_num), strict=strict, warn=warn)
        )
    if kept:
        begin = time.perf_counter()
        thresholds = tune(
            model, untuned, collector.abs_max(), kept, threads=threads, progress=progress
        )
        say(f"auto tune end, run time:{time.perf_counter() - begin:.2f}")
    table = collector.table(thresholds)
    tuned = min(len(kept) * reader.batch, tune_num) if method in TUNED else 0
    table.made = {"method": method, "bins": bins, "samples": len(used), "tune_num": tuned}
    table.untuned, table.samples = untuned, used
    return table


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _samples(
    dataset: str | os.PathLike[str] | Iterable[Sample] | None,
    data_list: str | os.PathLike[str] | None,
    input_num: int,
    warn: Callable[[str], None],
) -> list[Sample]:
    if (dataset is None) == (data_list is None):
        raise OptionError(
            "calibration needs samples: give either a dataset folder or a data_list, not both"
        )
    if data_list is not None:
        return read_list(data_list, input_num, warn)
    if isinstance(dataset, str | os.PathLike):
        return select(dataset, input_num, warn)
    samples = [
        (os.fspath(s),) if isinstance(s, str | os.PathLike) else tuple(s) for s in dataset or ()
    ]
    return samples[:input_num] if input_num else samples


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, each made in a thread while the one before is used."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(next, source, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, source, end)
            yield item  # type: ignore[misc]


class Collector:
    """Range and statistic of every tensor."""

    def __init__(self, model: FloatModel, method: str, bins: int, samples: int):
        self.model, self.method = model, method
        self.names = model.tensors
        inputs = {i.name for i in model.inputs}
        self.computed = [n for n in self.names if n not in inputs]
        self.lo = dict.fromkeys(self.names, math.inf)
        self.hi = dict.fromkeys(self.names, -math.inf)
        batch = max(model.inputs[0].shape[0], 1)
        expected = {n: math.prod(model.shapes[n]) * -(-samples // batch) for n in self.names}
        self.statistics = {
            n: make_statistic(
                method if n not in inputs or method in ("kl", "percentile9999") else "max",
                bins=bins,
                index=i,
                tensors=len(self.names),
                expected=expected[n],
            )
            for i, n in enumerate(self.names)
        }
        self.tail = {
            n: AbsPercentile(percent_of(i, len(self.names)), expected[n])
            for i, n in list(enumerate(self.names))[: -_TAIL - 1 : -1]
            if method not in ("kl", "percentile9999", "max")
        }
        self.samples = 0

    def add(self, values: Mapping[str, np.ndarray]) -> None:
        """All tensors of one sample. UserInputError names the first one that is not finite."""
        self.samples += 1
        for n in self.names:
            x = values[n].reshape(-1)
            lo, hi = float(x.min()), float(x.max())
            if not (math.isfinite(lo) and math.isfinite(hi)):
                what = "NaN" if math.isnan(lo) or math.isnan(hi) else "infinity"
                raise UserInputError(
                    f"{what} in tensor {n!r} (the first one in order) for sample {self.samples}: "
                    "check the preprocessing and the weights of the model"
                )
            self.lo[n], self.hi[n] = min(self.lo[n], lo), max(self.hi[n], hi)
            self.statistics[n].add(x, lo, hi)
            if n in self.tail:
                self.tail[n].add(x, lo, hi)

    def abs_max(self) -> dict[str, float]:
        return {n: max(abs(self.lo[n]), abs(self.hi[n])) for n in self.names}

    def thresholds(
        self, warn: Callable[[str], None], progress: Progress | None = None
    ) -> dict[str, float]:
        """Threshold of every tensor by the method, before tuning."""
        top = self.abs_max()
        result = {}
        for done, n in enumerate(self.names, 1):
            result[n] = self.statistics[n].threshold(top[n])
            if progress:
                progress(done, len(self.names), "threshold")
        for n in self._tail_names(top):
            result[n] = top[n]
        for n, th in result.items():
            if not th > SMALLEST:
                warn(
                    f"the threshold of {n!r} is {th:g}; {SMALLEST:g} is used "
                    "(the tensor is zero on these samples)"
                )
                result[n] = SMALLEST
        return result

    def _tail_names(self, top: Mapping[str, float]) -> list[str]:
        names = list(self.tail)
        kinds = {t: op.kind for op in self.model.ops for t in op.outputs}
        count = tail_that_uses_max(
            [kinds.get(n, "Input") for n in names], [self.tail[n].is_max(top[n]) for n in names]
        )
        return names[:count]

    def table(self, thresholds: Mapping[str, float]) -> CalibrationTable:
        entries = {}
        for n in self.names:
            statistic = self.statistics[n]
            lo, hi = (
                statistic.range() if isinstance(statistic, Percentile) else (self.lo[n], self.hi[n])
            )
            entries[n] = Entry(thresholds[n], lo, hi)
        return CalibrationTable(entries)
