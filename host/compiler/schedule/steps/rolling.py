"""Kept halo rows: a group cut along h computes and loads every row of a tensor once.

Tile j of a tensor holds the rows that its readers need for what *they* have not computed yet. Rows
that tile j - 1 had already are its head: they are copied from there by the TDMA, through a small
buffer of their own (`held`) that lives from the last use of tile j - 1 to the first of tile j, so
that both tiles need not be in local memory together. The rest is fresh: computed, or loaded from
DDR.

A result must begin at an aligned byte, and so must the input of a convolution. Where a tensor is
both and its head has another length, there is no head: those rows are computed again. Inputs of a
concat, which lie in its tile, have none: its own has their rows. Floats that are quantised have
none either: they do not lie in rows (emit/cv18xx/quantize.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from ..layers import Layer, Tensor
from ..regions import Interval, windowed

HEADLESS = ("concat", "quantize")  # layers whose inputs have no head
NO_HEAD = 1 << 30  # a multiple of rows that no head has


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a tensor in one tile. [rows[0], fresh) come from the tile before, [fresh,
    rows[1]) are computed or loaded, of which [done, rows[1]) are new; [keep, rows[1]) become the
    head of the next tile."""

    rows: Interval
    fresh: int
    done: int
    keep: int

    @property
    def head(self) -> Interval:
        return self.rows[0], self.fresh

    @property
    def made(self) -> Interval:
        """Computed or loaded."""
        return self.fresh, self.rows[1]

    @property
    def tail(self) -> Interval:
        return self.keep, self.rows[1]


class Roller:
    """What the tiles of one group have made so far; tensors are numbers here. unit: bytes at whose
    multiples results and inputs of convolutions begin."""

    def __init__(self, layers: Sequence[Layer], sinks: Sequence[Tensor], unit: int):
        self.height = min(t.shape[2] for t in sinks)
        number: dict[Tensor, int] = {}
        for layer in layers:
            for t in (*layer.inputs, layer.output):
                number.setdefault(t, len(number))
        self.tensors = list(number)
        self.sizes = [t.shape[2] for t in number]
        self.sinks = [number[t] for t in sinks]
        self.layers = [
            (number[x.output], number[x.inputs[0]], [number[t] for t in x.inputs[1:]], x.window)
            for x in reversed(layers)
        ]
        self.done = [0] * len(number)
        self.multiple = [1] * len(number)  # heads have a multiple of so many rows
        results = {layer.output for layer in layers}
        for t in {layer.inputs[0] for layer in layers if layer.kind == "conv"} & results:
            self.multiple[number[t]] = unit // gcd(unit, t.shape[3] * t.itemsize)
        for t in {t for layer in layers if layer.kind in HEADLESS for t in layer.inputs}:
            self.multiple[number[t]] = NO_HEAD

    def start(self, t: int, first: int) -> int:
        """The first row that a tile computes or loads whose rows begin with `first`."""
        head = self.done[t] - first
        return first if head <= 0 or head % self.multiple[t] else first + head

    def wanted(self, end: int) -> tuple[list[int], list[int]]:
        """The first row that a tile needs of every tensor, and that behind the last (0: it needs
        none), for the rows of the sinks up to `end` of the smallest."""
        low, high = [1 << 30] * len(self.done), [0] * len(self.done)
        for t in self.sinks:
            last = -(-self.sizes[t] * end // self.height)
            if self.done[t] < last:
                low[t], high[t] = self.done[t], last
        for out, x, others, w in self.layers:
            rows = self.start(out, low[out]), high[out]
            if rows[0] >= rows[1]:
                continue
            size = self.sizes[x]
            a, b = windowed(w, rows, 0, size, self.sizes[out])
            low[x], high[x] = min(low[x], a), max(high[x], b)
            for t in others:
                point = self.sizes[t] < size  # one value per channel beside a larger map
                low[t] = min(low[t], 0 if point else a)
                high[t] = max(high[t], self.sizes[t] if point else b)
        return low, high

    def tile(self, end: int) -> list[tuple[int, Interval, int, int]]:
        """(number, rows, first fresh row, first new row) of the tensors in the next tile."""
        found = []
        for t, (a, b) in enumerate(zip(*self.wanted(end), strict=True)):
            if b:
                before = self.done[t]
                b = max(b, before)
                found.append((t, (a, b), min(self.start(t, a), b), max(a, before)))
        for t, (_, b), _, _ in found:
            self.done[t] = b
        return found

    def ends(self, parts: int) -> list[int]:
        """The ends of the tiles in the smallest of the sinks. The first tile makes rows of all
        tensors before the sinks that the later ones use too: it is so much smaller, where it can
        be, that its largest tensor has no more rows than in the other tiles."""
        height = self.height
        _, first = self.wanted(1)
        ahead = max(b * height // size for b, size in zip(first, self.sizes, strict=True)) - 1
        step = -(-height // parts)
        while max(step - ahead, 1) + (parts - 1) * step < height:
            step += 1
        begin = max(step - ahead, 1)
        rest = height - begin
        return [begin - (-rest * i // max(parts - 1, 1)) for i in range(parts)]


def rolling(roller: Roller, ends: Sequence[int]) -> list[dict[Tensor, Rows]] | None:
    """The rows of every tensor in each tile; a tensor is missing where no reader needs it. None:
    readers of one tensor move on so differently that a tile would need rows which the tile before
    has not."""
    tensors = roller.tensors
    tiles = [{tensors[t]: (r, f, done) for t, r, f, done in roller.tile(end)} for end in ends]
    found: list[dict[Tensor, Rows]] = []
    heads: dict[Tensor, Interval] = {}  # of the next tile with this tensor
    for tile in reversed(tiles):
        rows = {}
        for t, ((a, b), fresh, done) in tile.items():
            first, last = heads.get(t, (b, b))
            if first < last and first < a:
                return None
            rows[t] = Rows((a, b), fresh, done, first if first < last else b)
        heads |= {t: r.head for t, r in rows.items()}
        found.append(rows)
    return found[::-1]


def rolls(layers: Sequence[Layer]) -> bool:
    """Would kept rows save anything, and can they be kept?"""
    return all(layer.kind != "fc" for layer in layers) and any(
        layer.window.extent[0] > layer.window.strides[0] for layer in layers
    )
