"""Top -> Tpu: one folder per chip family."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..chip import Chip
from ..ir import Graph
from . import cv18xx


def lower(
    graph: Graph,
    table: Mapping[str, Any],
    chip: Chip,
    *,
    quant_input: bool = False,
    quant_output: bool = False,
    quantize_table: Mapping[str, str] | None = None,
) -> Graph:
    """The INT8 Tpu graph of an optimised Top graph for one chip. The Top graph is not changed.

    table: calibration table, name -> entry with `.threshold` (real = q * threshold / 127).
    quant_input, quant_output: int8 instead of float32 at the graph inputs, outputs.
    quantize_table: layer name -> data type ("INT8", "BF16", ...); only INT8 exists in this version.
    Raises UserInputError listing every tensor the table lacks, UnsupportedError listing every layer
    that can not be lowered.
    """
    return cv18xx.lower(graph, table, chip, quant_input, quant_output, quantize_table or {})


def merge_pairs(graph: Graph, known: Collection[str], chip: Chip) -> None:
    """Before `lower`: merge, in place, the neighbouring 1x1 convolutions whose tensor between a
    calibration table (its names: `known`) lacks, and those that the chip computes faster as one."""
    cv18xx.merge_pairs(graph, known, chip)


def refusals(graph: Graph, chip: Chip) -> list[str]:
    """Before a calibration: why layers of an optimised Top graph could not be lowered whatever
    their thresholds are, one sentence each."""
    return cv18xx.refusals(graph, chip)


__all__ = ["lower", "merge_pairs", "refusals"]
