"""A quick look at a group: memory and busy times of a tile from sizes alone, without making its
steps.

The search tries many tilings; this sorts out what can not fit and what is clearly slow. cost.py
judges the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import prod
from operator import add

from ..layers import Layer, Tensor
from ..plan import group_tensors
from ..program import Backend
from ..regions import clipped
from ..steps.matrix import row_bytes
from ..steps.rolling import Roller


@dataclass
class Glance:
    """peak: bytes of local memory; time: cycles of the whole group if the engines overlap as far as
    memory allows; low: if they overlap altogether; moved: cycles of its transfers."""

    peak: int
    time: float
    low: float = 0.0
    moved: float = 0.0

    def cycles(self, price: float) -> float:
        """The time with the price of the transfers."""
        return self.time + price * self.moved

    def least(self, price: float) -> float:
        """The same if the engines overlap altogether."""
        return self.low + price * self.moved


@dataclass
class _Tile:
    """One tile, or one part of its output channels. live: bytes of tensors and temporaries during
    each layer; blobs: bytes of its constants; tiu, loads (of inputs that all parts share),
    part_loads, stores, weights: cycles; largest: bytes of the largest input."""

    live: list[int]
    blobs: list[int]
    tiu: float
    loads: float
    part_loads: float
    stores: float
    weights: float
    largest: int


class Quick:
    """Arrays of a group, made once; `look` is called for every tiling."""

    def __init__(self, layers: list[Layer], backend: Backend):
        self.layers, self.backend = layers, backend
        sources, sinks = group_tensors(layers)
        self.sinks, self.sources = sinks, sources
        tensors: dict[Tensor, int] = {}
        for layer in layers:
            for t in (*layer.inputs, layer.output):
                tensors.setdefault(t, len(tensors))
        self.tensors = list(tensors)
        self.number = tensors
        self.ins = [[tensors[x] for x in layer.inputs] for layer in layers]
        self.outs = [tensors[layer.output] for layer in layers]
        self.first = [len(layers)] * len(tensors)
        self.last = [-1] * len(tensors)
        for k in range(len(layers)):
            for i in (*self.ins[k], self.outs[k]):
                self.first[i], self.last[i] = min(self.first[i], k), max(self.last[i], k)
        members = set(layers)
        self.placed = {
            tensors[x]
            for layer in layers
            if layer.kind == "concat"
            for x in layer.inputs
            if x.producer in members
        }
        self.blobs = [
            backend.weight_bytes(layer, layer.output.shape[1], layer.inputs[0].shape[1])
            for layer in layers
        ]
        self.whole = {self.ins[k][0] for k, layer in enumerate(layers) if layer.kind == "conv"}
        self.longest = max(max(t.shape[1:]) for t in self.tensors)
        self.axis_cache: dict[tuple[int, int], list[int]] = {}
        self.roll_cache: dict[int, tuple[list[int], list[int], list[int]]] = {}
        self.tile_cache: dict[tuple, _Tile | None] = {}

    def too_long(self, shapes: list[tuple[int, int, int, int]]) -> bool:
        """Has a tile more channels, rows or columns than the chip can count?"""
        most = self.backend.max_dim
        return self.longest > most and any(max(s[1:]) > most for s in shapes)

    def lengths(self, axis: int, parts: int) -> list[int]:
        """Rows (columns) of every tensor in the largest inner tile."""
        key = (axis, parts)
        if key not in self.axis_cache:
            lo = [-1] * len(self.tensors)
            hi = [-1] * len(self.tensors)
            for t in self.sinks:
                size = t.shape[2 + axis]
                length = -(-size // parts)
                start = min((size - length) // 2, size - length) if parts > 1 else 0
                lo[self.number[t]], hi[self.number[t]] = start, start + length
            for k in range(len(self.layers) - 1, -1, -1):
                w = self.layers[k].window
                o = self.outs[k]
                out = lo[o], hi[o]
                a, b = w.reach(out, axis)
                near = w.strides[axis] if out == (0, self.tensors[o].shape[2 + axis]) else 0
                for i in self.ins[k]:
                    size = self.tensors[i].shape[2 + axis]
                    if w.windows_of_padding(axis):  # the largest tile may be anywhere
                        length = min(b - a, size)
                        a = min(max(a, 0), size - length)
                        b = a + length
                    a1, b1 = clipped(a, b, size, near)
                    lo[i], hi[i] = (a1, b1) if hi[i] < 0 else (min(lo[i], a1), max(hi[i], b1))
            self.axis_cache[key] = [h - low for low, h in zip(lo, hi, strict=True)]
        return self.axis_cache[key]

    def rolled(self, parts: int) -> tuple[list[int], list[int], list[int]]:
        """(most rows in a tile, kept rows, new rows in the mean) of every tensor, if rows are kept
        (rolling.py); of the first two tiles."""
        if parts not in self.roll_cache:
            roller = Roller(self.layers, self.sinks, self.backend.alignment)
            rows, held, new = ([0] * len(self.tensors) for _ in range(3))
            for end in roller.ends(parts)[:2]:
                for i, (a, b), fresh, done in roller.tile(end):  # the same numbers as here
                    rows[i], held[i] = max(rows[i], b - a), fresh - a
                    new[i] = -(-self.tensors[i].shape[2] // parts) + done - fresh
            self.roll_cache[parts] = rows, held, new
        return self.roll_cache[parts]

    def look_sums(
        self, tiles: tuple[int, int, int], k: int, part: int, rolling: bool = False
    ) -> Glance:
        """As `look` for a bottleneck: layer k sums up over parts of `part` channels. Where its sums
        are one value per channel, loads take longest: then the first part, and how many there is
        room for, count too."""
        b, (tn, th, tw) = self.backend, tiles
        rows, cols = self.lengths(0, th), self.lengths(1, tw)
        held, new = [0] * len(rows), rows
        if rolling:
            rows, held, new = self.rolled(th)
        n, count = -(-self.sinks[0].shape[0] // tn), tn * th * tw
        inner = self.layers[k].inputs[0].shape[1]
        parts = -(-inner // part)
        whole = {self.ins[i][0] for i in range(k) if self.layers[i].kind == "conv"}
        whole |= {x for i in range(k + 1, len(self.layers)) for x in self.ins[i]}
        cut = {x for i in range(k) for x in (*self.ins[i], self.outs[i])} - whole
        shapes = [
            (n, part if i in cut else t.shape[1], rows[i], cols[i])
            for i, t in enumerate(self.tensors)
        ]
        if self.too_long(shapes):
            return Glance(1 << 60, 0.0)
        sizes = [
            n * prod(b.tile_planes(t, *s[1:])) for t, s in zip(self.tensors, shapes, strict=True)
        ]
        fresh = [(s[0], s[1], r, s[3]) for s, r in zip(shapes, new, strict=True)]
        halos = [
            (i, s[0], parts * s[1] if i in cut else s[1], held[i], s[3])
            for i, s in enumerate(shapes)
            if held[i]
        ]
        peak, tiu, weights, first = 0, 0.0, 0.0, 0
        total = self.outs[k]
        if self.layers[k].kind == "fc":
            sizes[total] = n * row_bytes(b, shapes[total][1])
        for i, layer in enumerate(self.layers):
            before, repeat = i <= k, parts if i <= k else 1
            oc = part if i < k else layer.output.shape[1]
            ic = part if i == k else layer.inputs[0].shape[1]
            blob = self.blobs[i] and b.weight_bytes(layer, oc, ic)
            moved = self.blobs[i] and b.weight_bytes(layer, oc, ic, i != k or parts == 1)
            live = sum(
                z
                for t, z in enumerate(sizes)
                if self.first[t] <= i <= self.last[t]
                or (
                    before
                    and t not in cut
                    and self.first[t] <= k
                    and self.last[t] >= i
                    and t != total
                )
            )
            live += 4 * sizes[total] if before else 0
            live -= sizes[total] if i == k else 0
            peak = max(peak, live + blob + b.temp_bytes(layer, shapes[self.outs[i]]))
            tiu += repeat * b.compute_cycles(layer.kind, layer, fresh[self.outs[i]], ic, i == k)
            weights += repeat * b.weight_cycles(moved) if moved else 0.0
            first += moved if before else 0
        dense = sum(
            b.transfer_cycles(fresh[self.number[t]], t, False)
            * (parts if self.number[t] in cut else 1)
            for t in self.sources
        )
        dense += sum(b.transfer_cycles(fresh[self.number[t]], t, True) for t in self.sinks)
        kept, copies = self.keeping(halos)
        peak += kept
        dma, tiu = count * (dense + copies + weights), count * tiu
        if shapes[total][2:] != (1, 1):
            return Glance(peak, max(tiu, dma), max(tiu, dma), dma)
        hidden = 1.0 if b.local_bytes - peak >= first else 0.6
        time = max(tiu, dma) + (1 - hidden) * min(tiu, dma) + b.weight_cycles(first)
        return Glance(peak, time, max(tiu, dma), dma)

    def keeping(self, halos: list[tuple[int, int, int, int, int]]) -> tuple[int, float]:
        """(bytes, cycles per tile) of kept rows: (number of the tensor, n, c, rows, columns)."""
        b, size, cycles = self.backend, 0, 0.0
        for i, n, c, h, w in halos:
            t = self.tensors[i]
            size += n * prod(b.tile_planes(t, c, h, w))
            cycles += 2 * b.copy_cycles((n, c, h, w), t.itemsize)
        return size, cycles

    def look(
        self,
        tiles: tuple[int, int, int],
        part: int,
        parts: int,
        outer: bool,
        stream: int,
        rolling: bool = False,
    ) -> Glance:
        """part: output channels of a part (0: whole) of `parts`; outer: parts are the outer loop;
        stream: bytes of a streamed slice of constants (0: all constants resident, or whole when
        there is one tile)."""
        tile = self.tile(tiles, part, rolling)
        if tile is None:
            return Glance(1 << 60, 0.0)
        count = tiles[0] * tiles[1] * tiles[2]
        many = count > 1 and (outer or not part) and not stream
        if many:
            peak = max(tile.live) + sum(tile.blobs)
        elif stream:
            peak = max(map(add, tile.live, [min(z, stream) for z in tile.blobs]))
        else:
            peak = max(map(add, tile.live, tile.blobs))
        again = 1 if many or (part and outer) else count
        repeat = parts if outer and count > 1 else 1  # how often whole inputs are read
        loads = tile.loads * repeat + tile.part_loads * parts
        dma = count * (loads + tile.stores * parts) + tile.weights * parts * again
        total = tile.tiu * count * parts
        hidden = 1.0 if self.backend.local_bytes - peak >= tile.largest else 0.6
        low = max(total, dma)
        return Glance(peak, low + (1 - hidden) * min(total, dma), low, dma)

    def tile(self, tiles: tuple[int, int, int], part: int, rolling: bool) -> _Tile | None:
        """What `look` needs of one tile; None if a dimension is too long for the chip, or local
        memory too small."""
        key = (tiles, part, rolling)
        if key not in self.tile_cache:
            self.tile_cache[key] = self.make_tile(tiles, part, rolling)
        return self.tile_cache[key]

    def make_tile(self, tiles: tuple[int, int, int], part: int, rolling: bool) -> _Tile | None:
        b, (tn, th, tw) = self.backend, tiles
        rows, cols = self.lengths(0, th), self.lengths(1, tw)
        held, new = [0] * len(rows), rows
        if rolling:
            rows, held, new = self.rolled(th)
        n = -(-self.sinks[0].shape[0] // tn)
        sizes, shapes, halos = [], [], []
        change = [0] * (len(self.layers) + 1)  # of the bytes alive, by layer
        for i, t in enumerate(self.tensors):
            c = t.shape[1] if not part or i in self.whole else part
            shapes.append((n, c, new[i], cols[i]))
            if held[i]:
                halos.append((i, n, c, held[i], cols[i]))
            groups, plane = b.tile_planes(t, c, rows[i], cols[i])
            size = n * groups * plane
            sizes.append(0 if i in self.placed else size)
            change[self.first[i]] += sizes[i]
            change[self.last[i] + 1] -= sizes[i]
        if self.too_long(shapes):
            return None
        _, copies = self.keeping(halos)
        for halo in halos:  # not alive while the tile itself is
            size, _ = self.keeping([halo])
            i = halo[0]
            change[0] += size
            if self.last[i] > self.first[i] + 1:
                change[self.first[i] + 1] -= size
                change[self.last[i]] += size
        blobs = self.blobs
        if part:
            blobs = [
                z and b.weight_bytes(layer, part, layer.inputs[0].shape[1])
                for z, layer in zip(self.blobs, self.layers, strict=True)
            ]
        live, tiu = list(accumulate(change[:-1])), 0.0
        if max(live) > b.local_bytes:
            return None
        for k, layer in enumerate(self.layers):
            shape = shapes[self.outs[k]]
            live[k] += b.temp_bytes(layer, shape)
            if layer.kind != "concat":
                tiu += b.compute_cycles(layer.kind, layer, shape, shapes[self.ins[k][0]][1], False)
        loads = {t: b.transfer_cycles(shapes[self.number[t]], t, False) for t in self.sources}
        cut = sum(z for t, z in loads.items() if part and self.number[t] not in self.whole)
        return _Tile(
            live,
            blobs,
            tiu,
            sum(loads.values()) - cut + copies,
            cut,
            sum(b.transfer_cycles(shapes[self.number[t]], t, True) for t in self.sinks),
            sum(b.weight_cycles(z) for z in blobs if z),
            max((sizes[self.number[t]] for t in self.sources), default=0),
        )
