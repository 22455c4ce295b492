"""Plans -> steps: which tiles and buffers a group needs, in which order it computes, loads and stores."""

from __future__ import annotations

from .layers import Layer, Tensor
from .plan import Plan, WeightUse, group_tensors
from .program import Backend, Buffer, Compute, Load, Region, Step, Store, Tile, WeightSlice
from .regions import Interval, needed_of, split, tile_regions


class StepBuilder:
    """Makes the steps of a plan. Buffers carry step numbers relative to the first step of the group."""

    def __init__(self, plan: Plan, backend: Backend, group: int = 0):
        self.plan, self.backend, self.group = plan, backend, group
        self.sources, self.sinks = group_tensors(plan.layers)
        self.members = set(plan.layers)
        self.steps: list[Step] = []
        self.waiting: list[Load] = []  # loads for the next step
        self.resident: dict[tuple[Layer, int], Buffer] = {}
        self.regions: dict[Tensor, Region] = {}
        self.tiles: dict[Tensor, Tile] = {}
        self.packed: dict[tuple[Tensor, Region], Tile] = {}
        self.index = (0, 0, 0)

    def build(self) -> list[Step]:
        """The steps of the whole group."""
        tn, th, tw = self.plan.tiles
        tiles = [(i, j, k) for i in range(tn) for j in range(th) for k in range(tw)]
        if self.plan.slices_first:
            for s in range(len(self.plan.weights[self.plan.layers[0]].slices)):
                for t in tiles:
                    self.tile(t, only_slice=s)
        else:
            for t in tiles:
                self.tile(t)
        return self.steps

    def tile(self, index: tuple[int, int, int], only_slice: int | None = None) -> None:
        """Append the steps of one tile; only_slice: of this slice of output channels only."""
        self.set_regions(index)
        self.tiles, self.packed = {}, {}
        if len(self.plan.layers) == 1 and self.plan.layers[0].kind == "conv":
            self.single(self.plan.layers[0], only_slice)
        else:
            for layer in self.plan.layers:
                self.layer(layer)

    def set_regions(self, index: tuple[int, int, int]) -> None:
        """Regions of all tensors of the group for tile (i, j, k)."""
        self.index = index
        layers, sinks = self.plan.layers, self.sinks
        tn, th, tw = self.plan.tiles
        rows = tile_regions(layers, sinks, th, index[1], 0)
        cols = tile_regions(layers, sinks, tw, index[2], 1)
        n = split(sinks[0].shape[0], tn, index[0])
        self.regions = {t: Region(n, (0, t.shape[1]), rows[t], cols[t]) for t in rows}

    # ---- tiles in local memory
    @property
    def now(self) -> int:
        return len(self.steps)

    def new_tile(self, tensor: Tensor, region: Region, name: str = "", planes: int = 1) -> Tile:
        b = self.backend
        n, c, h, w = region.shape
        itemsize = b.local_itemsize(tensor)
        plane, groups = b.plane_bytes(h, w, itemsize), -(-c // b.lanes)
        buffer = Buffer(name or tensor.name, n * groups * plane * planes, self.now, self.now)
        return Tile(tensor, region, buffer, 0, plane, groups, itemsize)

    def load_tile(self, tensor: Tensor) -> Tile:
        """The tile of a tensor that comes from DDR; it is loaded for the next step."""
        tile = self.concat_place(tensor) or self.new_tile(tensor, self.regions[tensor])
        tile.buffer.loaded = True
        self.tiles[tensor] = tile
        self.waiting.append(Load(tile.buffer, tile=tile))
        return tile

    def input(self, layer: Layer, x: Tensor) -> tuple[Tile, Region]:
        """Tile and region of input x for the layer's output region; packed for a convolution."""
        tile = self.tiles.get(x) or self.load_tile(x)
        out = self.regions[layer.output]
        region = Region(out.n, (0, x.shape[1]), needed_of(layer, x, out.h, 0), needed_of(layer, x, out.w, 1))
        if layer.kind == "conv":
            tile = self.pack(tile, region, layer)
        return tile, region

    def pack(self, tile: Tile, region: Region, layer: Layer) -> Tile:
        """The tile itself if it is exactly the packed region (a convolution reads nothing else), else a copy."""
        dense = region.shape[0] == 1 or tile.groups == -(-region.shape[1] // self.backend.lanes)
        if tile.region == region and dense:
            return tile
        key = (tile.tensor, region)
        if key not in self.packed:
            copy = self.new_tile(tile.tensor, region, f"{tile.tensor.name}.packed")
            self.packed[key] = copy
            self.finish(Compute("copy", layer, copy, region, [(tile, region)]))
        return self.packed[key]

    def output(self, layer: Layer) -> Tile:
        """The tile that a layer writes: a place in the concat that follows, or one of its own."""
        t = layer.output
        tile = self.tiles.get(t) or self.concat_place(t)
        if tile is None:
            tile = self.new_tile(t, self.regions[t])
            tile.buffer.temp = self.backend.temp_bytes(layer, tile.region.shape)
        self.tiles[t] = tile
        return tile

    def concat_place(self, tensor: Tensor) -> Tile | None:
        """The place of a tensor inside the tile of the concat of this group that reads it, if it may lie there:
        its channels start at lane 0, the regions agree, and nobody else reads it with another n stride."""
        concats = [c for c in tensor.consumers if c.kind == "concat" and c in self.members]
        producer = tensor.producer
        if len(concats) != 1 or concats[0].inputs.count(tensor) > 1:
            return None
        if producer in self.members and self.backend.temp_bytes(producer, (1, 1, 1, 16)):  # type: ignore[arg-type]
            return None
        concat = concats[0]
        offset = 0
        for x in concat.inputs[: concat.inputs.index(tensor)]:
            offset += x.shape[1]
        mine, whole_region = self.regions[tensor], self.regions[concat.output]
        if offset % self.backend.lanes or (mine.n, mine.h, mine.w) != (whole_region.n, whole_region.h, whole_region.w):
            return None
        if mine.shape[0] > 1 and len(tensor.consumers) > 1:
            return None
        whole = self.tiles.get(concat.output)
        if whole is None:
            whole = self.concat_place(concat.output) or self.new_tile(concat.output, whole_region)
            self.tiles[concat.output] = whole
        place = whole.offset + offset // self.backend.lanes * whole.plane
        return Tile(tensor, mine, whole.buffer, place, whole.plane, whole.groups, whole.itemsize)

    # ---- steps
    def finish(self, compute: Compute | None) -> None:
        """Append a step with the waiting loads; note the use of every buffer."""
        if compute is not None:
            for tile, _ in compute.ins:
                tile.buffer.last = self.now
            compute.out.buffer.last = self.now
            if compute.weight_buffer:
                compute.weight_buffer.last = self.now
        self.steps.append(Step(compute, self.waiting, [], self.group))
        self.waiting = []

    def layer(self, layer: Layer) -> None:
        """All steps of one layer for the present tile."""
        if layer.kind == "concat":
            self.concat(layer)
        else:
            use = self.plan.weights.get(layer)
            slices = use.slices if use else [(0, layer.output.shape[1])]
            full = self.regions[layer.output]
            for s, oc in enumerate(slices):
                ins = [self.input(layer, x) for x in layer.inputs]
                piece, buffer = self.weights(layer, s, oc, (0, layer.inputs[0].shape[1]), use)
                region = Region(full.n, oc, full.h, full.w)
                self.finish(Compute(layer.kind, layer, self.output(layer), region, ins, piece, buffer))
        if layer.output in self.sinks:
            tile = self.tiles[layer.output]
            self.store(tile, self.own_part(layer.output))

    def weights(self, layer: Layer, key: int, oc: Interval, ic: Interval,
                use: WeightUse | None) -> tuple[WeightSlice | None, Buffer | None]:  # fmt: skip
        """The slice of constants for the next step and its buffer; loaded unless it is there already."""
        if use is None:
            return None, None
        size = self.backend.weight_bytes(layer, oc[1] - oc[0], ic[1] - ic[0])
        piece = WeightSlice(layer, oc, ic, size)
        if use.resident and (layer, key) in self.resident:
            return piece, self.resident[layer, key]
        buffer = Buffer(f"{layer.name}.weights", size, self.now, self.now, True, long_lived=use.resident, constant=True)
        self.waiting.append(Load(buffer, weights=piece))
        if use.resident:
            self.resident[layer, key] = buffer
        return piece, buffer

    def concat(self, layer: Layer) -> None:
        """Copies of the inputs that do not lie in the output tile yet."""
        full, offset = self.regions[layer.output], 0
        for x in layer.inputs:
            channels = (offset, offset + x.shape[1])
            offset += x.shape[1]
            tile = self.tiles.get(x) or self.load_tile(x)
            out = self.output(layer)
            if tile.buffer is out.buffer:
                continue
            region = Region(full.n, (0, x.shape[1]), full.h, full.w)
            self.finish(Compute("copy", layer, out, Region(full.n, channels, full.h, full.w), [(tile, region)]))
        if self.waiting:
            self.finish(None)
        self.tiles[layer.output].buffer.last = max(self.tiles[layer.output].buffer.last, self.now - 1)

    def store(self, tile: Tile, region: Region) -> None:
        self.steps[-1].stores.append(Store(tile, tile.tensor, region))
        tile.buffer.stored = True
        tile.buffer.last = max(tile.buffer.last, self.now - 1)

    def own_part(self, t: Tensor) -> Region:
        """The part of a tensor that this tile must write (its region may be larger by the halo of its readers)."""
        full = self.regions[t]
        _, th, tw = self.plan.tiles
        return Region(full.n, full.c, split(t.shape[2], th, self.index[1]), split(t.shape[3], tw, self.index[2]))

    # ---- a group of one convolution
    def single(self, layer: Layer, only_slice: int | None) -> None:
        """Every slice of output channels is a tile and a store of its own; sums over input-channel slices."""
        use, x, y = self.plan.weights[layer], layer.inputs[0], layer.output
        full = self.regions[y]
        source = self.regions[x]
        pieces = self.plan.ic_slices
        for s, oc in enumerate(use.slices):
            if only_slice is not None and s != only_slice:
                continue
            region = Region(full.n, oc, full.h, full.w)
            out = None
            for i, ic in enumerate(pieces or [(0, x.shape[1])]):
                if pieces:
                    tile = self.new_tile(x, Region(source.n, ic, source.h, source.w))
                    tile.buffer.loaded = True
                    self.waiting.append(Load(tile.buffer, tile=tile))
                else:
                    tile, _ = self.input(layer, x)
                weights, buffer = self.weights(layer, s * len(pieces or [0]) + i, oc, ic, use)
                out = out or self.new_tile(y, region, planes=4 if pieces else 1)
                where = "only" if not pieces else "first" if i == 0 else "last" if i == len(pieces) - 1 else "middle"
                self.finish(Compute("conv", layer, out, region, [(tile, tile.region)], weights, buffer, where))
            assert out is not None
            self.store(out, region)
