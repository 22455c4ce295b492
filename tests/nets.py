"""Random networks of the quantised dialect: what the tests of the scheduler, the emitter and the
runtimes compile.

`Net` builds a Tpu graph op by op with random constants whose results use the whole int8 range;
`inputs` makes its inputs. Everything follows from the seed, so a case is named by its seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from tpuforge.compiler.chip import Chip
from tpuforge.compiler.ir import Graph, TensorType, Value
from tpuforge.compiler.tpu import arith, kernels
from tpuforge.compiler.tpu.boundary import Dequantize, Input, Quantize
from tpuforge.compiler.tpu.conv import Conv
from tpuforge.compiler.tpu.eltwise import Add, LeakyRelu, Mul, PRelu, Relu, Requant
from tpuforge.compiler.tpu.matmul import MatMul
from tpuforge.compiler.tpu.pool import AvgPool, MaxPool
from tpuforge.compiler.tpu.shape import Concat, Reshape
from tpuforge.compiler.tpu.softmax import Softmax, softmax_table

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
NO_PADS: Pads = (0, 0, 0, 0)


def seed_of(name: str) -> int:
    """A seed that depends on the name of a case only."""
    return zlib.crc32(name.encode())


class Net:
    """A Tpu graph being built, one method per op; every method returns the result."""

    def __init__(self, chip: Chip, seed: int | str):
        seed = seed_of(seed) if isinstance(seed, str) else seed
        self.chip, self.rng, self.graph = chip, np.random.default_rng(seed), Graph("net")
        self.count = 0

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    # ---- boundaries
    def input(self, *shape: int, dtype: str = "i8") -> Value:
        return self.graph.add(Input, [], self.name("in"), types=[TensorType(shape, dtype)])

    def quantize(self, x: Value, inv_scale: float = 40.75) -> Value:
        engine = "cpu" if self.chip.has_cpu_routines else "tpu"
        types = [TensorType(x.shape, "i8")]
        return self.graph.add(
            Quantize, [x], self.name("q"), types=types, inv_scale=inv_scale, engine=engine
        )

    def dequantize(self, x: Value, scale: float = 38913 / 2**20) -> Value:
        engine = "cpu" if self.chip.has_cpu_routines and self.chance() else "tpu"
        return self.graph.add(Dequantize, [x], self.name("f"), scale=scale, engine=engine)

    def done(self, *outputs: Value) -> Graph:
        self.graph.outputs = list(outputs)
        self.graph.verify()
        return self.graph

    # ---- constants
    def bytes(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-128, 128, shape, np.int8)

    def scales(self, count: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
        """(multipliers i32, shifts i8) that bring sums of about +-spread to about +-90."""
        wanted = np.minimum(self.rng.uniform(0.5, 1.5, count) * 90 / max(spread, 1.0), 0.999)
        pairs = [arith.multiplier_and_shift(float(s)) for s in wanted]
        return np.array([p[0] for p in pairs], np.int32), np.array([p[1] for p in pairs], np.int8)

    def scale(self, spread: float) -> dict[str, int]:
        m, s = self.scales(1, spread)
        return {"multiplier": int(m[0]), "shift": int(s[0])}

    # ---- windows
    def conv(self, x: Value, oc: int, kernel: Pair = (1, 1), strides: Pair = (1, 1),
             pads: Pads = NO_PADS, dilations: Pair = (1, 1), group: int = 1, bias: bool = True,
             relu: bool = False) -> Value:  # fmt: skip
        icg = x.shape[1] // group
        spread = 74.0 * 74.0 * np.sqrt(icg * kernel[0] * kernel[1])
        name, add = self.name("conv"), self.graph.const
        m, s = self.scales(oc, spread)
        b = self.rng.integers(-int(spread), int(spread), oc, np.int32) if bias else None
        operands = [
            x,
            add(f"{name}.filter", self.bytes(oc, icg, *kernel)),
            None if b is None else add(f"{name}.bias", b),
            add(f"{name}.multiplier", m),
            add(f"{name}.shift", s),
        ]
        return self.graph.add(Conv, operands, name, kernel_shape=kernel, strides=strides, pads=pads,
                              dilations=dilations, group=group, do_relu=relu)  # fmt: skip

    def depthwise(self, x: Value, kernel: Pair = (3, 3), **more) -> Value:
        return self.conv(x, x.shape[1], kernel, group=x.shape[1], **more)

    def matrix(self, x: Value, columns: int, bias: bool = True, relu: bool = False) -> Value:
        k = x.type.count // x.shape[0]
        spread = 74.0 * 74.0 * np.sqrt(k)
        name, add = self.name("fc"), self.graph.const
        b = self.rng.integers(-int(spread), int(spread), columns, np.int32) if bias else None
        operands = [
            x,
            add(f"{name}.right", self.bytes(k, columns)),
            None if b is None else add(f"{name}.bias", b),
        ]
        return self.graph.add(MatMul, operands, name, do_relu=relu, **self.scale(spread))

    def max_pool(self, x: Value, kernel: Pair, strides: Pair = (1, 1), pads: Pads = NO_PADS,
                 relu: bool = False) -> Value:  # fmt: skip
        return self.graph.add(MaxPool, [x], self.name("max"), kernel_shape=kernel, strides=strides,
                              pads=pads, do_relu=relu)  # fmt: skip

    def avg_pool(self, x: Value, kernel: Pair, strides: Pair = (1, 1), pads: Pads = NO_PADS,
                 counted: Pads | None = None, relu: bool = False) -> Value:  # fmt: skip
        """counted: the pads that count as positions (default: all; NO_PADS: none)."""
        counted = pads if counted is None else counted
        windows = kernels.window_counts(x.shape[2:], kernel, strides, pads, counted)
        counts = [int(k) for k in np.unique(windows)]
        if len(counts) == 1 and not relu and self.rng.integers(2):
            shift = max(0, int(counts[0]).bit_length() + 6)
            return self.graph.add(
                AvgPool, [x], self.name("avg"), kernel_shape=kernel, strides=strides, pads=pads,
                counted_pads=counted, factor=int(self.rng.integers(100, 256)), counts=counts,
                shifts=[shift],
            )  # fmt: skip
        factor = int(self.rng.integers(1, 128))
        pairs = [arith.multiplier_and_shift(min(0.999, 1.1 / (factor * max(k, 1)))) for k in counts]
        return self.graph.add(
            AvgPool, [x], self.name("avg"), kernel_shape=kernel, strides=strides, pads=pads,
            counted_pads=counted, factor=factor, counts=counts, multipliers=[p[0] for p in pairs],
            shifts=[p[1] for p in pairs], do_relu=relu,
        )  # fmt: skip

    # ---- element-wise
    def add(self, a: Value, b: Value, multipliers: Pair | None = None, shift: int | None = None,
            relu: bool = False) -> Value:  # fmt: skip
        if multipliers is None:
            m0, m1 = (int(v) for v in self.rng.integers(-128, 256, 2))
            multipliers = m0, m1
        big = max(abs(m) for m in multipliers)
        shift = max(0, big.bit_length() - 1) if shift is None else shift
        return self.graph.add(
            Add, [a, b], self.name("add"), multipliers=multipliers, shift=shift, do_relu=relu
        )

    def mul(self, a: Value, b: Value, relu: bool = False) -> Value:
        more = self.scale(74.0 * 74.0)
        return self.graph.add(Mul, [a, b], self.name("mul"), do_relu=relu, **more)

    def requant(self, x: Value, factor: int | None = None, relu: bool = False) -> Value:
        factor = int(self.rng.integers(-128, 128)) if factor is None else factor
        more = self.scale(74.0 * abs(factor))
        return self.graph.add(
            Requant, [x], self.name("requant"), factor=factor, do_relu=relu, **more
        )

    def relu(self, x: Value) -> Value:
        return self.graph.add(Relu, [x], self.name("relu"))

    def leaky_relu(self, x: Value) -> Value:
        factor = int(self.rng.integers(1, 128))
        slope = float(self.rng.uniform(0.01, 1.0))
        m, s = arith.multiplier_and_shift(min(0.9999, slope / factor))
        return self.graph.add(
            LeakyRelu, [x], self.name("leaky"), factor=factor, multiplier=m, shift=s
        )

    def prelu(self, x: Value) -> Value:
        name, c = self.name("prelu"), x.shape[1]
        m, s = self.scales(c, 74.0 * 74.0)
        values = {"slope": self.bytes(c), "multiplier": m, "shift": s}
        constants = [self.graph.const(f"{name}.{k}", v) for k, v in values.items()]
        return self.graph.add(PRelu, [x, *constants], name)

    def softmax(self, x: Value, scale: float | None = None) -> Value:
        """scale: of x, so that its exponentials span little or much."""
        name = self.name("softmax")
        table = softmax_table(self.pick((0.003, 0.04, 0.3)) if scale is None else scale)
        constant = self.graph.const(f"{name}.table", table, "bf16")
        return self.graph.add(Softmax, [x, constant], name)

    # ---- moves
    def concat(self, *xs: Value) -> Value:
        return self.graph.add(Concat, list(xs), self.name("concat"))

    def reshape(self, x: Value, *shape: int) -> Value:
        return self.graph.add(Reshape, [x], self.name("reshape"), shape=shape)

    # ---- random choices
    def pick(self, values: Sequence):
        return values[int(self.rng.integers(len(values)))]

    def chance(self, p: float = 0.5) -> bool:
        return bool(self.rng.random() < p)


def inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs of a graph: int8 over the whole range, float32 of magnitude 1 with zeros, huge
    and tiny values."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for v in graph.inputs:
        if v.type.dtype == "i8":
            arrays[v.name] = rng.integers(-128, 128, v.shape, np.int8)
        else:
            x = rng.standard_normal(v.shape).astype(np.float32)
            special = np.float32([0, -0.0, 1e7, -1e7, 1e-30, 0.5 / 40.7, -1.5 / 40.7])
            where = rng.random(v.shape) < 0.1
            arrays[v.name] = np.where(where, rng.choice(special, v.shape), x)
    return arrays
