"""Quantize on the TPU (chips without CPU routines): the emitted commands give the bytes of the
reference on every chip, and the reference is very nearly the CPU's rounding."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from nets import Net
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.emit.cv18xx.quantize import align16, float_parts, float_planes
from tpuforge.compiler.emit.cv18xx.tdma import IN_LOCAL, STORE
from tpuforge.compiler.errors import InternalError
from tpuforge.compiler.ir import Graph, TensorType
from tpuforge.compiler.isa import parse_stream
from tpuforge.compiler.tpu import arith, interpreter
from tpuforge.compiler.tpu.boundary import Quantize
from voices import check, compiled, difference, local_memory, simulate

# (shape, bytes of local memory the scheduler may use; None: all)
CASES = [
    ((1, 3, 8, 8), None),
    ((2, 3, 5, 7), None),
    ((1, 1, 1, 1), None),
    ((3, 5, 1, 3), None),
    ((1, 33, 3, 3), None),
    ((2, 70, 6, 11), None),
    ((1, 3, 40, 224), None),
    ((1, 3, 48, 48), None),  # several parts, an equal length for all lanes
    ((2, 3, 37, 32), None),  # the last part is shorter
    ((1, 1, 60, 64), None),
    ((1, 1, 2, 16500), None),  # rows further apart than a 16-bit stride
    ((2, 9, 13, 17), 4096),
    ((1, 65, 4, 4), 2048),
    ((2, 3, 31, 45), None),  # a row that the lanes do not divide
    ((1, 3, 31, 33), 8192),  # tiles with and without one
    ((2, 67, 1, 1), None),  # a channel
    ((1, 41, 1, 3), 2048),
    ((1, 1, 1, 77), None),  # an element
]


def graph_of(chip: str, shape: tuple[int, ...], inv_scale: float = 127 / 3.1) -> Graph:
    """Quantize, and a layer that reads it."""
    net = Net(chip_named(chip), f"quantize {shape}")
    x = net.input(*shape, dtype="f32")
    types = [TensorType(shape, "i8")]
    q = net.graph.add(Quantize, [x], "q", types=types, inv_scale=inv_scale, engine="tpu")
    return net.done(net.relu(q), q)


def problems(chip: str, shape: tuple[int, ...], memory: int | None, *runners) -> str:
    graph = graph_of(chip, shape)
    with local_memory(memory):
        _, model = compiled(graph, chip_named(chip))
    rng = np.random.default_rng(3)
    x = {"in1": (rng.normal(size=shape) * 2.0 ** rng.integers(-8, 3, shape)).astype(np.float32)}
    want = interpreter.run(graph, x)
    return "; ".join(filter(None, (difference(want, run(model, x)) for run in runners)))


@pytest.mark.parametrize("shape, memory", CASES)
@pytest.mark.parametrize("chip", CHIPS)
def test_bytes(chip: str, shape: tuple[int, ...], memory: int | None) -> None:
    assert not problems(chip, shape, memory, simulate)


@pytest.mark.parity
@pytest.mark.parametrize("shape, memory", CASES)
@pytest.mark.parametrize("chip", CHIPS)
def test_bytes_of_the_vendor(
    oracle: ModuleType, chip: str, shape: tuple[int, ...], memory: int | None
) -> None:
    assert not problems(chip, shape, memory, oracle.vendor_run)


FACTORS = (40.75, 127.0, 127 / 2.1, 0.01 / 3, 127 / 1.001)


def special_values(factor: float) -> np.ndarray:
    """Halves, limits, denormals, infinities, NaN, neighbours of every rounding limit."""
    limits = (np.arange(-130, 130) + 0.5) / factor
    near = np.float32(limits).view(np.int32)[:, None] + np.arange(-300, 301, 75)
    more = [0.0, -0.0, 1e-40, -1e-40, 1e-38, -1e-38, 1e30, -1e30, 3.4e38, -3.4e38, np.inf, -np.inf]
    more += [s * 2.0**128 / factor * (1 + d * 2.0**-9) for s in (1, -1) for d in range(-5, 5)]
    more += [s * 2.0**22 / factor * d for s in (1, -1) for d in (0.9, 1.0, 1.3, 2.0, 2.9, 3.0, 3.1)]
    values = np.concatenate([near.astype(np.int32).view(np.float32).ravel(), more, [np.nan]])
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(1, 1, 1, -1)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("chip", ["cv182x", "cv181x", "cv180x"])
def test_special_values(chip: str, factor: float) -> None:
    x = special_values(factor)
    graph = graph_of(chip, x.shape, factor)
    _, model = compiled(graph, chip_named(chip))
    assert not difference(interpreter.run(graph, {"in1": x}), simulate(model, {"in1": x}))


@pytest.mark.parity
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("chip", ["cv182x", "cv181x", "cv180x"])
def test_special_values_of_the_vendor(oracle: ModuleType, chip: str, factor: float) -> None:
    x = special_values(factor)
    graph = graph_of(chip, x.shape, factor)
    _, model = compiled(graph, chip_named(chip))
    assert not difference(interpreter.run(graph, {"in1": x}), oracle.vendor_run(model, {"in1": x}))


def differing(x: np.ndarray, factor: float) -> int:
    """Numbers that the TPU and the CPU round otherwise: by 1, and next to a tie only."""
    got, want = arith.quantise_f32_tpu(x, factor), arith.quantise_f32(x, factor)
    other = got != want
    exact = x[other].astype(np.float64) * np.float32(factor)
    assert (np.abs(got.astype(int) - want) <= 1).all()
    assert (np.abs(np.abs(exact) % 1 - 0.5) <= np.abs(exact) * 2.0**-21).all()
    return int(other.sum())


@pytest.mark.parametrize("threshold", [0.9, 2.64, 17.0, 127 / 48.25, 127 / 127.99])
def test_reference_is_nearly_that_of_the_cpu(threshold: float) -> None:
    """One of 50,000 values differs at most, of those 2^-12 beside a tie one of 50."""
    rng, factor = np.random.default_rng(0), 127 / threshold
    x = rng.uniform(-1.1 * threshold, 1.1 * threshold, 500_000).astype(np.float32)
    assert differing(x, factor) <= 10
    got = arith.quantise_f32_tpu(x, factor)
    assert got.min() == -128 and got.max() == 127
    near = (np.arange(-140, 140)[:, None] + 0.5 + rng.normal(size=(1, 200)) * 2.0**-12) / factor
    assert differing(near.astype(np.float32), factor) <= near.size // 50
    wide = rng.normal(size=20_000) * 2.0 ** rng.integers(-60, 60, 20_000)
    assert differing(wide.astype(np.float32), factor) == 0


@pytest.mark.parametrize("factor", [127.0, 63.5, 0.5, 48.25, 100.125, 127 / 255, 2.0**-20])
def test_ties_are_rounded_as_by_the_cpu(factor: float) -> None:
    """Numbers with 16 significant bits."""
    x = np.concatenate([np.arange(-32768, 32768) / 2**s for s in (7, 9, 15)]).astype(np.float32)
    assert differing(x, factor) == 0


def test_pixels_are_rounded_as_by_the_cpu() -> None:
    """0..255, as networks want them, with many thresholds."""
    pixels = np.arange(256, dtype=np.float32)
    scales = [(0, 1 / 255), (127.5, 1 / 127.5), (128, 1 / 128), (123.675, 1 / 58.395), (0, 1)]
    for mean, scale in scales:
        x = (pixels - np.float32(mean)) * np.float32(scale)
        for threshold in (np.abs(x).max() * np.arange(100, 50, -3) / 100).tolist():
            assert differing(x, 127 / threshold) == 0


def test_parts_cover_the_tile() -> None:
    """Every float in one part; parts apart from each other and inside the tile."""
    rng = np.random.default_rng(1)
    for lanes in (2, 8, 32):
        for _ in range(300):
            c, h, w = (int(v) for v in rng.integers(1, 70, 3))
            parts = float_parts((1, c, h, w), w, lanes)
            planes, plane = float_planes((1, c, h, w), w, lanes)
            size = planes * plane
            rest = parts[-1].end - parts[-1].offset
            assert size <= -(-c // lanes) * align16(4 * h * w) + max(rest, 16)
            covered = np.zeros((c, h, w), int)
            for p, after in zip(parts, [*(q.offset for q in parts[1:]), size], strict=True):
                box = p.box
                covered[slice(*box.c), slice(*box.h), slice(*box.w)] += 1
                assert p.channels * p.width == np.prod(box.shape)
                used = max(p.groups * align16(4 * p.width), p.plane)
                assert p.offset + used <= after
            assert (covered == 1).all()


@pytest.mark.parametrize(
    "shape",
    [
        (7, 1001, 1, 1),
        (1, 1437, 1, 1),
        (1, 1, 263, 89),
        (1, 1, 83, 85),
        (1, 3, 189, 143),
        (3, 3, 149, 111),
    ],
)
def test_odd_sizes_find_a_place(shape: tuple[int, ...]) -> None:
    """The last tile needs no more memory than the others, though the lanes do not divide it."""
    assert not problems("cv180x", shape, None, simulate)


def test_absurd_factor() -> None:
    with pytest.raises(InternalError, match="factor"):
        compiled(graph_of("cv180x", (1, 1, 1, 1), 2.0**-100), chip_named("cv180x"))


@pytest.mark.parametrize("limit", range(35, 51, 5))
def test_in_several_streams(limit: int) -> None:
    """Also cut between the first load of floats and the others."""
    net = Net(chip_named("cv180x"), "streams")
    a, x = net.input(1, 4, 9, 9), net.input(1, 3, 48, 48, dtype="f32")
    for _ in range(12):
        a = net.relu(net.conv(a, 4))
    y = net.conv(net.relu(net.quantize(x)), 4)
    result = check(net.done(a, y), chip_named("cv180x"), simulate, max_commands=limit)
    assert len(result.streams) > 1


def test_stores_between_the_commands() -> None:
    """What the tile before leaves to be stored does not hold up the conversions."""
    net = Net(chip_named("cv180x"), "stores")
    y = net.relu(net.conv(net.quantize(net.input(1, 3, 64, 224, dtype="f32")), 16))
    (stream,) = check(net.done(y), chip_named("cv180x"), simulate).streams
    ways = [c.fields["trans_dir"] for c in parse_stream("cv180x", stream) if c.engine == "tdma"]
    stores = [k for k, way in enumerate(ways) if way == STORE]
    assert sum(ways[k - 1] == IN_LOCAL == ways[k + 2] for k in stores[:-2]) > 4
