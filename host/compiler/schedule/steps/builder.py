"""Plans -> steps: which tiles and buffers a group needs, in which order it computes, loads and
stores."""

from __future__ import annotations

from ..layers import Layer, Tensor
from ..plan import SUMMING, Plan, WeightUse, group_tensors
from ..program import Backend, Buffer, Compute, Load, Region, Step, Store, Tile, WeightSlice
from ..regions import Interval, band_rows, needed_of, split, tile_regions
from .matrix import matrix_steps, matrix_tile
from .rolling import Roller, Rows, rolling
from .single import concat_moves, partial_sums

Held = tuple[Tensor, Interval, Interval]  # a tensor, its images and channels

STORE_CYCLES = 2500.0  # a part of a result is stored early if that takes at least so long


class StepBuilder:
    """Makes the steps of a plan. Buffers carry step numbers relative to the first step of the
    group. first: only so many tiles along h will be made, if rows are kept."""

    def __init__(self, plan: Plan, backend: Backend, first: int | None = None):
        self.plan, self.backend = plan, backend
        self.sources, self.sinks = group_tensors(plan.layers)
        self.members = set(plan.layers)
        self.steps: list[Step] = []
        self.waiting: list[Load] = []  # loads for the next step
        self.resident: dict[tuple[Layer, Interval, Interval], Buffer] = {}
        self.axes: dict[tuple[int, int], dict[Tensor, Interval]] = {}
        self.regions: dict[Tensor, Region] = {}  # of the tiles
        self.fresh: dict[Tensor, Region] = {}  # what of them is computed or loaded
        self.rolled: list[dict[Tensor, Rows]] = []
        if plan.rolling:
            roller = Roller(plan.layers, self.sinks, backend.alignment)
            e = roller.ends(plan.tiles[1])
            self.later = (e[-1] - e[0]) / (e[1] - e[0])
            self.rolled = rolling(roller, e[:first]) or []
            if plan.sums >= 0 and any(
                r.head[0] < r.head[1]
                for tile in self.rolled
                for t, r in tile.items()
                if t is plan.layers[plan.sums].output
            ):
                self.rolled = []  # sums of 32 bits are a whole tile
        self.held: dict[Held, Tile] = {}  # rows kept by the tiles before
        self.holding: dict[Held, Tile] = {}  # by this tile
        self.tiles: dict[Tensor, Tile] = {}
        self.kept: dict[tuple[Tensor, Region], Tile] = {}  # loaded for this (n, h, w) tile
        self.copies: dict[tuple[Tensor, Region], Tile] = {}  # packed copies of regions
        self.index = (-1, -1, -1)
        self.part: Interval | None = None

    def build(self) -> list[Step]:
        """The steps of the whole group."""
        tn, th, tw = self.plan.tiles
        tiles = [(i, j, k) for i in range(tn) for j in range(th) for k in range(tw)]
        parts: list[Interval | None] = (
            [None] if self.plan.sums >= 0 or not self.plan.channels else [*self.plan.channels]
        )
        order = (
            [(t, p) for p in parts for t in tiles]
            if self.plan.channels_first
            else [(t, p) for t in tiles for p in parts]
        )
        for t, p in order:
            self.tile(t, p)
        return self.steps

    def tile(self, index: tuple[int, int, int], part: Interval | None = None) -> None:
        """Append the steps of one tile, or of one part of its output channels."""
        if index != self.index:
            self.kept = {}
            self.held = {**self.held, **self.holding} if index[1] else {}
            self.holding = {}
        self.set_regions(index, part)
        self.tiles, self.copies = {}, {}
        if self.plan.sums >= 0:
            self.bottleneck(self.plan.layers[self.plan.sums])
        elif self.plan.ic_slices and self.plan.layers[0].kind == "conv":
            partial_sums(self, self.plan.layers[0])
        elif self.plan.layers[0].kind == "fc":
            matrix_steps(self, self.plan.layers[0])
        elif len(self.plan.layers) == 1 and self.plan.layers[0].kind == "concat":
            concat_moves(self, self.plan.layers[0])
        else:
            for layer in self.plan.layers:
                self.layer(layer)
        self.hold()

    def set_regions(self, index: tuple[int, int, int], part: Interval | None) -> None:
        """Regions of all tensors of the group for tile (i, j, k)."""
        self.index, self.part = index, part
        layers, sinks = self.plan.layers, self.sinks
        tn, th, tw = self.plan.tiles
        rolled = self.rolled[index[1]] if self.rolled else {}
        rows = {t: r.rows for t, r in rolled.items()} or self.lengths(0, th, index[1])
        cols = self.lengths(1, tw, index[2])
        n = split(sinks[0].shape[0], tn, index[0])
        channels = {t: (0, t.shape[1]) for t in rows}
        if part is not None:
            cut = layers[: self.plan.sums] if self.plan.sums >= 0 else layers
            whole = {layer.inputs[0] for layer in cut if layer.kind == "conv"}
            whole |= {x for layer in layers[len(cut) + 1 :] for x in layer.inputs}
            parted = {x for layer in cut for x in (*layer.inputs, layer.output)} - whole
            channels = {t: part if t in parted else c for t, c in channels.items()}
        self.regions = {t: Region(n, channels[t], rows[t], cols[t]) for t in rows}
        self.fresh = {t: self.regions[t]._replace(h=r.made) for t, r in rolled.items()}
        self.fresh = self.fresh or self.regions

    def lengths(self, axis: int, parts: int, index: int) -> dict[Tensor, Interval]:
        """Rows or columns of all tensors of the group in a tile."""
        key = (axis, index)
        if key not in self.axes:
            self.axes[key] = tile_regions(self.plan.layers, self.sinks, parts, index, axis)
        return self.axes[key]

    # ---- tiles in local memory
    @property
    def now(self) -> int:
        return len(self.steps)

    def new_tile(self, tensor: Tensor, region: Region, name: str = "", planes: int = 1) -> Tile:
        b = self.backend
        n, c, h, w = region.shape
        groups, plane = b.tile_planes(tensor, c, h, w)
        buffer = Buffer(name or tensor.name, n * groups * plane * planes, self.now, self.now)
        return Tile(tensor, region, buffer, 0, plane, groups, tensor.itemsize)

    def load_tile(self, tensor: Tensor) -> Tile:
        """The tile of a tensor that comes from DDR; it is loaded for the next step unless it is
        there already."""
        key = (tensor, self.regions[tensor])
        if key in self.kept:
            self.tiles[tensor] = self.kept[key]
            return self.kept[key]
        tile = self.concat_place(tensor) or self.new_tile(tensor, self.regions[tensor])
        tile.buffer.loaded = True
        self.tiles[tensor] = self.kept[key] = tile
        fresh = self.fresh[tensor]
        if fresh.shape[2]:
            part = None if fresh == tile.region else fresh
            self.waiting.append(Load(tile.buffer, tile=tile, region=part))
        self.fill_head(tile)
        return tile

    # ---- kept rows
    def fill_head(self, tile: Tile) -> None:
        """The rows of a tile that the tile before had are copied to it for the next step."""
        rows = self.rolled[self.index[1]].get(tile.tensor) if self.rolled else None
        if rows is None or rows.head[0] == rows.head[1]:
            return
        source = self.held[tile.tensor, tile.region.n, tile.region.c]
        source.buffer.last = self.now
        tile.buffer.filled = True
        head = tile.region._replace(h=rows.head)
        self.waiting.append(Load(tile.buffer, tile, region=head, source=source))

    def hold(self) -> None:
        """Copy what later tiles need again of this tile to small buffers, behind its last use."""
        for t, rows in self.rolled[self.index[1]].items() if self.rolled else ():
            tile, region = self.tiles.get(t), self.regions[t]
            key = (t, region.n, region.c)
            if tile is None or rows.tail[0] == rows.tail[1] or key in self.holding:
                continue
            held = self.new_tile(t, region._replace(h=rows.tail), f"{t.name}.held")
            step = held.buffer.first = held.buffer.last = tile.buffer.last
            self.steps[step].stores.append(Store(tile, t, held.region, into=held))
            tile.buffer.stored = True
            self.holding[key] = held

    def input(self, layer: Layer, x: Tensor) -> tuple[Tile, Region]:
        """Tile and region of input x for the layer's output region; packed for a convolution."""
        tile = self.tiles.get(x) or self.load_tile(x)
        out = self.fresh[layer.output]
        channels = (
            (0, x.shape[1])
            if layer.kind in SUMMING or x.shape[1] != layer.output.shape[1]
            else out.c
        )
        if self.part is not None and x in self.regions and layer.kind in SUMMING:
            channels = self.regions[x].c
        region = Region(
            out.n, channels, needed_of(layer, x, out.h, 0), needed_of(layer, x, out.w, 1)
        )
        if layer.kind in SUMMING:
            tile = self.pack(tile, region, layer)
        return tile, region

    def pack(self, tile: Tile, region: Region, layer: Layer) -> Tile:
        """The tile itself if it is exactly the packed region (a convolution reads nothing else),
        else a copy."""
        dense = region.shape[0] == 1 or tile.groups == -(-region.shape[1] // self.backend.lanes)
        if tile.region == region and dense:
            return tile
        key = (tile.tensor, region)
        if key not in self.copies:
            copy = self.new_tile(tile.tensor, region, f"{tile.tensor.name}.packed")
            self.copies[key] = copy
            self.finish(Compute("copy", layer, copy, region, [(tile, region)]))
        return self.copies[key]

    def output(self, layer: Layer) -> Tile:
        """The tile that a layer writes: a place in the concat that follows, or one of its own."""
        t = layer.output
        tile = self.tiles.get(t) or self.concat_place(t)
        if tile is None:
            region, fresh = self.regions[t], self.fresh[t]
            tile = self.new_tile(t, region)
            head = (fresh.h[0] - region.h[0]) * region.shape[3] * tile.itemsize
            tile.offset = -head % self.backend.alignment  # the fresh rows begin aligned
            tile.buffer.size += self.backend.alignment if tile.offset else 0
            if fresh.shape[2]:
                shapes = (region.shape, fresh.shape)
                tile.buffer.temp = max(self.backend.temp_bytes(layer, s) for s in shapes)
            self.fill_head(tile)
        self.tiles[t] = tile
        return tile

    def concat_place(self, tensor: Tensor) -> Tile | None:
        """The place of a tensor inside the tile of the concat of this group that reads it, if it
        may lie there: its channels start at lane 0, the regions agree, and nobody else reads it
        with another n stride."""
        concats = [c for c in tensor.consumers if c.kind == "concat" and c in self.members]
        producer = tensor.producer
        if len(concats) != 1 or concats[0].inputs.count(tensor) > 1:
            return None
        if producer in self.members and self.backend.temp_bytes(producer, (1, 1, 1, 16)):
            return None
        concat = concats[0]
        offset = 0
        for x in concat.inputs[: concat.inputs.index(tensor)]:
            offset += x.shape[1]
        mine, fresh = self.regions[tensor], self.fresh[concat.output]
        if offset % self.backend.lanes or (mine.n, mine.h, mine.w) != (fresh.n, fresh.h, fresh.w):
            return None
        if mine.shape[0] > 1 and len(tensor.consumers) > 1:
            return None
        whole = self.tiles.get(concat.output) or self.output(concat)
        place = whole.offset + offset // self.backend.lanes * whole.plane
        mine = mine._replace(h=whole.region.h)
        return Tile(tensor, mine, whole.buffer, place, whole.plane, whole.groups, whole.itemsize)

    # ---- steps
    def finish(self, compute: Compute | None) -> None:
        """Append a step with the waiting loads; note the use of every buffer."""
        if compute is not None:
            now = self.now
            for tile, _ in compute.ins:
                tile.buffer.last = now
            compute.out.buffer.last = now
            if compute.weight_buffer:
                compute.weight_buffer.last = now
        self.steps.append(Step(compute, self.waiting))
        self.waiting = []

    def layer(self, layer: Layer) -> None:
        """All steps of one layer for the present tile."""
        full = self.fresh.get(layer.output)
        if full is None:
            return
        if not full.shape[2]:
            self.output(layer)
            return
        done = 0
        if layer.kind == "concat":
            self.concat(layer)
        elif layer is self.plan.layers[0] and self.plan.bands > 1:
            self.bands(layer)
        else:
            done = self.slices(layer)
        if layer.output in self.sinks:
            n, c, h, w = self.own_part(layer.output)
            self.store(self.tiles[layer.output], Region(n, (max(done, c[0]), c[1]), h, w))

    def slices(self, layer: Layer) -> int:
        """A step for every slice of the constants; the first channel that is not stored yet."""
        use, full = self.plan.weights.get(layer), self.fresh[layer.output]
        slices = use.slices if use and self.part is None else [full.c]
        early = len(slices) > 1 and layer.output in self.sinks
        inner, done = (0, layer.inputs[0].shape[1]), full.c[0]
        ins = [self.input(layer, x) for x in layer.inputs]
        out = self.output(layer)
        for oc in slices:
            piece, buffer = self.weights(layer, oc, inner, use)
            region = Region(full.n, oc, full.h, full.w)
            self.finish(Compute(layer.kind, layer, out, region, ins, piece, buffer))
            if early and oc != slices[-1]:
                done = self.store_part(layer.output, (done, oc[1]))
        return done

    def bands(self, layer: Layer) -> None:
        """The first layer of the group in bands of rows, each from a tile of its own (bands.py)."""
        use, full = self.plan.weights.get(layer), self.regions[layer.output]
        inner = (0, layer.inputs[0].shape[1])
        constants, tile = None, None
        for rows in band_rows(full.h, full.shape[3], self.plan.bands, self.backend.alignment):
            tile = self.band(layer, rows, tile)
            constants = constants or self.weights(layer, full.c, inner, use)
            region, out = full._replace(h=rows), self.output(layer)
            self.finish(Compute(layer.kind, layer, out, region, [(tile, tile.region)], *constants))

    def band(self, layer: Layer, rows: Interval, before: Tile | None) -> Tile:
        """A tile of the input of the first layer for some rows of its result (bands.py). Rows that
        the tile before has are copied, so that nothing is loaded twice."""
        (x,) = layer.inputs
        region = self.regions[x]._replace(h=needed_of(layer, x, rows, 0))
        tile = self.new_tile(x, region)
        top, bottom = region.h
        if before is not None and before.region.h[1] > top:
            kept = region._replace(h=(top, min(bottom, before.region.h[1])))
            self.finish(Compute("copy", layer, tile, kept, [(before, kept)]))
            top = kept.h[1]
        if top < bottom:
            part = None if top == region.h[0] else region._replace(h=(top, bottom))
            tile.buffer.loaded = True
            self.waiting.append(Load(tile.buffer, tile=tile, region=part))
        return tile

    def store_part(self, t: Tensor, channels: Interval) -> int:
        """Store channels that are computed while others are not, if that is worth a command; the
        first channel that is not stored."""
        region = self.own_part(t)._replace(c=channels)
        if self.backend.transfer_cycles(region.shape, t, True) < STORE_CYCLES:
            return channels[0]
        self.store(self.tiles[t], region)
        return channels[1]

    def weights(self, layer: Layer, oc: Interval, ic: Interval,
                use: WeightUse | None) -> tuple[WeightSlice | None, Buffer | None]:  # fmt: skip
        """The slice of constants for the next step and its buffer; loaded unless it is there
        already."""
        if use is None:
            return None, None
        piece = WeightSlice(layer, oc, ic, 0)
        piece.size = self.backend.weight_bytes(layer, oc[1] - oc[0], ic[1] - ic[0], piece.last)
        if use.resident and (layer, oc, ic) in self.resident:
            return piece, self.resident[layer, oc, ic]
        buffer = Buffer(
            f"{layer.name}.weights",
            piece.size,
            self.now,
            self.now,
            True,
            long_lived=use.resident,
            constant=True,
        )
        self.waiting.append(Load(buffer, weights=piece))
        if use.resident:
            self.resident[layer, oc, ic] = buffer
        return piece, buffer

    def concat(self, layer: Layer) -> None:
        """Copies of the inputs that do not lie in the output tile yet."""
        full, offset = self.fresh[layer.output], 0
        for x in layer.inputs:
            channels = (offset, offset + x.shape[1])
            offset += x.shape[1]
            tile = self.tiles.get(x) or self.load_tile(x)
            out = self.output(layer)
            if tile.buffer is out.buffer:
                continue
            region = Region(full.n, (0, x.shape[1]), full.h, full.w)
            self.finish(
                Compute(
                    "copy", layer, out, Region(full.n, channels, full.h, full.w), [(tile, region)]
                )
            )
        if self.waiting:
            self.finish(None)
        self.tiles[layer.output].buffer.last = max(
            self.tiles[layer.output].buffer.last, self.now - 1
        )

    def store(self, tile: Tile, region: Region) -> None:
        if region.h[0] >= region.h[1]:  # only rows of earlier tiles, made again
            return
        self.steps[-1].stores.append(Store(tile, tile.tensor, region))
        tile.buffer.stored = True
        tile.buffer.last = max(tile.buffer.last, self.now - 1)

    def own_part(self, t: Tensor) -> Region:
        """The part of a tensor that this tile must write (its region may be larger by the halo of
        its readers), or that it makes, if rows are kept."""
        full = self.regions[t]
        if self.rolled:
            rows = self.rolled[self.index[1]][t]
            return full._replace(h=(rows.done, rows.rows[1]))
        _, th, tw = self.plan.tiles
        return Region(
            full.n,
            full.c,
            split(t.shape[2], th, self.index[1]),
            split(t.shape[3], tw, self.index[2]),
        )

    # ---- sums over parts of the channels
    def bottleneck(self, conv: Layer) -> None:
        """The layers before `conv` (or a fully connected layer) part by part, each part added to
        its 32-bit sums; then the layers behind it."""
        plan, index = self.plan, self.index
        out: Tile | None = None
        parts = plan.channels if conv.output in self.regions else []  # else all rows are made
        for i, part in enumerate(parts):
            self.set_regions(index, part)
            self.tiles, self.copies = {}, {}
            for layer in plan.layers[: plan.sums]:
                self.layer(layer)
            tile, _ = self.input(conv, conv.inputs[0])
            full = self.regions[conv.output]
            weights, buffer = self.weights(conv, full.c, part, plan.weights[conv])
            if out is None:
                if conv.kind == "fc":
                    out = matrix_tile(self, conv.output, full.n, full.c)
                else:
                    out = self.new_tile(conv.output, full)
                out.buffer.temp = 3 * out.buffer.size
            last = i == len(plan.channels) - 1
            where = (
                "only"
                if len(plan.channels) == 1
                else "first"
                if i == 0
                else "last"
                if last
                else "middle"
            )
            out.buffer.temp_last = self.now
            self.finish(
                Compute(conv.kind, conv, out, full, [(tile, tile.region)], weights, buffer, where)
            )
            self.hold()
        self.set_regions(index, None)
        self.tiles, self.copies = {}, {}
        if out is not None:
            self.tiles[conv.output] = out
        if out is not None and conv.output in self.sinks:
            self.store(out, self.own_part(conv.output))
        for layer in plan.layers[plan.sums + 1 :]:
            self.layer(layer)
