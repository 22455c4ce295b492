"""Intervals of tiles against brute force over every output position."""

from __future__ import annotations

import numpy as np
import pytest
from net_cases import Sampler, random_graph
from rolled import rolled_graph
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.schedule.layers import Layer, build_layers
from tpuforge.compiler.schedule.plan import channel_slices, group_tensors
from tpuforge.compiler.schedule.regions import needed, pads, split, tile_regions
from tpuforge.compiler.schedule.steps.rolling import Roller, rolling

CHIP = CHIPS["cv181x"]


@pytest.mark.parametrize("size", [1, 2, 7, 16, 33])
def test_split_covers_once(size: int) -> None:
    for parts in range(1, size + 1):
        pieces = [split(size, parts, i) for i in range(parts)]
        assert [r for a, b in pieces for r in range(a, b)] == list(range(size))
        lengths = {b - a for a, b in pieces}
        assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 9, 130])
def test_channel_slices_cover_once(channels: int) -> None:
    for step in (1, 2, 8, 32):
        for count in (1, 2, 3, 5, 40, 200):
            pieces = channel_slices(channels, step, count)
            assert [c for a, b in pieces for c in range(a, b)] == list(range(channels))
            assert len(pieces) <= count
            assert all(a % step == 0 for a, _ in pieces)


def random_layer(seed: int) -> Layer:
    net = Sampler(CHIP, seed)
    x = net.input(1, 2, *(net.pick((1, 3, 8, 17, 33)) for _ in "hw"))
    kernel, strides, around, dilations = net.window(x.shape[2:], 5, dilated=net.chance())
    y = net.conv(x, 3, kernel, strides, around, dilations)
    return build_layers(net.done(y)).layers[0]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("axis", [0, 1])
def test_needed_and_pads(seed: int, axis: int) -> None:
    """The rows that windows meet, counted one by one; padding makes up for the rest."""
    layer = random_layer(seed)
    w = layer.window
    size, outs = layer.inputs[0].shape[2 + axis], layer.output.shape[2 + axis]
    rng = np.random.default_rng(seed)
    for _ in range(10):
        first = int(rng.integers(outs))
        out = (first, int(rng.integers(first, outs)) + 1)
        met = {
            y * w.strides[axis] + k * w.dilations[axis] - w.pads[axis]
            for y in range(*out)
            for k in range(w.kernel[axis])
        }
        inside = [y for y in met if 0 <= y < size]
        a, b = needed(layer, out, axis)
        assert 0 <= a < b <= size
        if not inside:
            continue
        assert a <= min(inside) and max(inside) < b
        rest = size - max(met) - 1  # behind the last window: taken along if less than a stride
        taken = out == (0, outs) and rest < w.strides[axis]
        assert b == (size if taken or rest < 0 else max(inside) + 1)
        before, behind = pads(layer, out, axis)
        assert before == max(0, -min(met)) and behind == max(0, max(met) + 1 - size)
        length = b - a + before + behind
        assert (length - w.extent[axis]) // w.strides[axis] + 1 == out[1] - out[0]


@pytest.mark.parametrize("seed", range(20))
def test_tiles_of_a_group(seed: int) -> None:
    """Going backwards through a group every tensor has the rows that its readers need, and the
    tiles of what leaves the group cover it."""
    layers = build_layers(random_graph(f"regions-{seed}", CHIP)).layers
    rng = np.random.default_rng(seed)
    for _ in range(5):
        i = int(rng.integers(len(layers)))
        group = layers[i : i + int(rng.integers(1, 5))]
        _, sinks = group_tensors(group)
        height = min(t.shape[2] for t in sinks)
        parts = int(rng.integers(1, height + 1))
        rows = [tile_regions(group, sinks, parts, k, 0) for k in range(parts)]
        for regions in rows:
            for layer in group:
                a, b = needed(layer, regions[layer.output], 0)
                first, last = regions[layer.inputs[0]]
                assert first <= a and b <= last
        for t in sinks:
            covered = {y for regions in rows for y in range(*regions[t])}
            assert covered == set(range(t.shape[2]))


@pytest.mark.parametrize("seed", range(40))
def test_kept_rows(seed: int) -> None:
    """Every row of what leaves the group is new in one tile; what a tile computes finds its inputs
    in the tile; a head is what the tile before kept, and ends where aligned bytes begin."""
    group = build_layers(rolled_graph(f"rows-{seed}", CHIP)).layers
    _, sinks = group_tensors(group)
    height = min(t.shape[2] for t in sinks)
    for parts in range(2, height + 1):
        roller = Roller(group, sinks, 16)
        ends = roller.ends(parts)
        assert ends == sorted(set(ends)) and ends[-1] == height and len(ends) == parts
        tiles = rolling(roller, ends)
        if tiles is None:
            continue
        made = {t: [y for x in tiles if t in x for y in range(x[t].done, x[t].rows[1])]
                for t in sinks}  # fmt: skip
        assert all(made[t] == list(range(t.shape[2])) for t in sinks)
        kept: dict = {}
        for tile in tiles:
            for layer in group:
                rows = tile.get(layer.output)
                if rows is None or rows.made[0] == rows.made[1]:
                    continue
                a, b = needed(layer, rows.made, 0)
                first, last = tile[layer.inputs[0]].rows
                assert first <= a and b <= last
                if layer.kind == "conv" and layer.inputs[0].producer is not None:
                    x = layer.inputs[0]
                    low, high = tile[x].head
                    assert (high - low) * x.shape[3] % 16 == 0
            for t, rows in tile.items():
                if rows.head[0] < rows.head[1]:
                    assert kept[t] == rows.head
                kept[t] = rows.tail
