"""Which neighbouring 1x1 convolutions a chip computes as one."""

from __future__ import annotations

from collections.abc import Collection

from ...chip import Chip
from ...ir import Graph
from ...isa.cv18xx.cost import conv_cycles
from ...passes.merge_pointwise import merge_cheaper, merge_missing


def merge_pairs(graph: Graph, known: Collection[str], chip: Chip) -> None:
    """Merge pairs of 1x1 convolutions, in place: those whose tensor between is not in `known` (the
    names of a calibration table), and those that take no longer as one: TIU time of the INT8
    convolution (hw/cv18xx.md section 9.1) and the time of loading its weights. One convolution is
    also more accurate, as there is no INT8 tensor between."""

    def cycles(shape: tuple[int, ...], channels: int) -> float:
        n, oc, oh, ow = shape
        tiu = conv_cycles(
            chip, n=n, oc=oc, oh=oh, ow=ow, ic=channels, kh=1, kw=1, double=channels >= 4
        )
        return tiu + oc * channels / chip.ddr_bytes_per_cycle

    merge_missing(graph, known)
    merge_cheaper(graph, cycles)
