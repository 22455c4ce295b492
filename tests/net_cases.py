"""The cases of the test matrix: samplers of single-op networks and of small random graphs."""

from __future__ import annotations

from collections.abc import Callable

from nets import NO_PADS, Net, Pads, Pair
from tpuforge.compiler.chip import Chip
from tpuforge.compiler.ir import Graph, Value

CHANNELS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 130)
SIZES = (1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65)
BATCHES = (1, 1, 1, 2, 3, 4)
MACS = 4_000_000  # per network: the vendor's emulator does about 0.25 G per second


class Sampler(Net):
    """A Net that draws its own geometry."""

    def shape(self, limit: int = 60_000) -> tuple[int, int, int, int]:
        """(n, c, h, w) with awkward numbers and at most `limit` elements."""
        while True:
            shape = self.pick(BATCHES), self.pick(CHANNELS), self.pick(SIZES), self.pick(SIZES)
            if shape[0] * shape[1] * shape[2] * shape[3] <= limit:
                return shape

    def window(self, size: Pair, kernels: int = 7, pads_below_kernel: bool = False,
               dilated: bool = False) -> tuple[Pair, Pair, Pads, Pair]:  # fmt: skip
        """(kernel, strides, pads, dilations) that leave at least one output position."""
        while True:
            square = self.chance(0.6)
            k = [int(v) for v in self.rng.integers(1, kernels + 1, 2)]
            kernel = (k[0], k[0]) if square else (k[0], k[1])
            most = (self.chance(0.7) and 3) or 8
            strides = tuple(int(v) for v in self.rng.integers(1, most, 2))
            dilations = tuple(int(v) for v in self.rng.integers(1, 5, 2)) if dilated else (1, 1)
            pads = NO_PADS
            if self.chance(0.7):
                top = [kernel[i % 2] if pads_below_kernel else 1 + kernel[i % 2] for i in range(4)]
                pads = tuple(int(self.rng.integers(0, t)) for t in top)
            extent = [(kernel[i] - 1) * dilations[i] + 1 for i in (0, 1)]
            if all(size[i] + pads[i] + pads[i + 2] >= extent[i] for i in (0, 1)):
                return kernel, strides, pads, dilations

    def random_conv(self, x: Value, dilated: bool = False, oc: int | None = None) -> Value:
        """A convolution of x that costs at most MACS."""
        oc = self.pick(CHANNELS) if oc is None else oc
        for _ in range(100):
            kernel, strides, pads, dilations = self.window(x.shape[2:], dilated=dilated)
            macs = oc * x.type.count * kernel[0] * kernel[1] // (strides[0] * strides[1])
            if macs <= MACS:
                return self.conv(x, oc, kernel, strides, pads, dilations, bias=self.chance(0.7),
                                 relu=self.chance())  # fmt: skip
            oc = self.pick([c for c in CHANNELS if c <= oc])
        return self.conv(x, oc, relu=self.chance())


Build = Callable[[Sampler], list[Value]]
OPS: dict[str, Build] = {}


def op(build: Build) -> Build:
    """Register a sampler of single-op networks: it returns the outputs."""
    OPS[build.__name__] = build
    return build


def single(kind: str, number: int, chip: Chip) -> Graph:
    """Network `number` of a kind; the same numbers give the same geometry on every chip."""
    net = Sampler(chip, f"{kind}-{number}")
    return net.done(*OPS[kind](net))


# ---- windows
@op
def conv(net: Sampler) -> list[Value]:
    return [net.random_conv(net.input(*net.shape()))]


@op
def dilated_conv(net: Sampler) -> list[Value]:
    return [net.random_conv(net.input(*net.shape()), dilated=True)]


@op
def grouped_conv(net: Sampler) -> list[Value]:
    groups = net.pick((2, 3, 4, 5, 8))
    icg, ocg = net.pick((1, 2, 3, 5, 8, 9, 16)), net.pick((1, 2, 3, 5, 8, 16, 17))
    n, _, h, w = net.shape(4000)
    x = net.input(n, icg * groups, h, w)
    kernel, strides, pads, dilations = net.window((h, w), 5, dilated=net.chance(0.2))
    return [net.conv(x, ocg * groups, kernel, strides, pads, dilations, groups, net.chance(0.7),
                     net.chance())]  # fmt: skip


@op
def depthwise(net: Sampler) -> list[Value]:
    x = net.input(*net.shape())
    kernel, strides, pads, dilations = net.window(x.shape[2:], dilated=net.chance(0.3))
    return [net.depthwise(x, kernel, strides=strides, pads=pads, dilations=dilations,
                          bias=net.chance(0.7), relu=net.chance())]  # fmt: skip


@op
def far_padding(net: Sampler) -> list[Value]:
    """Padding far beyond the kernel: windows, rows and tiles of results that see nothing else."""
    n, c, h, w = net.pick(BATCHES), net.pick(CHANNELS), net.pick(SIZES[:6]), net.pick(SIZES[:6])
    x = net.input(n, c, h, w)
    if net.chance():
        x = net.relu(x)
    draw = lambda top: tuple(int(v) for v in net.rng.integers(1, top, 2))  # noqa: E731
    kernel, strides = draw(4), draw(10)
    most = 40 if net.chance(0.3) else 16
    pads = tuple(int(net.chance(0.7)) * int(net.rng.integers(0, most)) for _ in range(4))
    if h + pads[0] + pads[2] < kernel[0] or w + pads[1] + pads[3] < kernel[1]:
        kernel = (1, 1)
    y = net.depthwise(x, kernel, strides=strides, pads=pads, relu=net.chance())
    z = net.conv(x, net.pick((1, 5, 33)), kernel, strides, pads, bias=net.chance(0.7))
    pools = [net.max_pool(x, kernel, strides, pads), net.avg_pool(x, kernel, strides, pads)]
    return [net.add(y, net.pick(pools)), z]


@op
def fully_connected(net: Sampler) -> list[Value]:
    """The whole map is the kernel, as MatMul is lowered."""
    n, c, h, w = net.shape(2000)
    oc = net.pick((1, 2, 10, 33, 100, 257))
    return [net.conv(net.input(n, c, h, w), oc, (h, w), bias=net.chance(0.7), relu=net.chance(0.3))]


@op
def matrix(net: Sampler) -> list[Value]:
    x = net.input(*net.shape(2000))
    columns = net.pick((1, 10, 15, 16, 17, 33, 100, 257))
    return [net.matrix(x, columns, net.chance(0.7), net.chance(0.3))]


@op
def max_pool(net: Sampler) -> list[Value]:
    x = net.input(*net.shape())
    kernel, strides, pads, _ = net.window(x.shape[2:], pads_below_kernel=True)
    return [net.max_pool(x, kernel, strides, pads, net.chance())]


@op
def avg_pool(net: Sampler) -> list[Value]:
    """Pads counted, not counted, or (as ceil_mode gives) counted only in front."""
    x = net.input(*net.shape())
    kernel, strides, pads, _ = net.window(x.shape[2:], pads_below_kernel=True)
    counted = net.pick((pads, NO_PADS, (pads[0], pads[1], 0, 0)))
    return [net.avg_pool(x, kernel, strides, pads, counted, net.chance())]


@op
def global_pool(net: Sampler) -> list[Value]:
    x = net.input(*net.shape())
    kernel = x.shape[2:]
    return [net.max_pool(x, kernel) if net.chance() else net.avg_pool(x, kernel)]


# ---- element-wise
@op
def add(net: Sampler) -> list[Value]:
    shape = net.shape()
    a = net.input(*shape)
    b = a if net.chance(0.15) else net.input(*shape)
    return [net.add(a, b, relu=net.chance())]


@op
def mul(net: Sampler) -> list[Value]:
    shape = net.shape()
    a = net.input(*shape)
    b = a if net.chance(0.15) else net.input(*shape)
    return [net.mul(a, b, net.chance())]


@op
def mul_per_channel(net: Sampler) -> list[Value]:
    shape = net.shape()
    return [net.mul(net.input(*shape), net.input(*shape[:2], 1, 1), net.chance())]


@op
def requant(net: Sampler) -> list[Value]:
    return [net.requant(net.input(*net.shape()), relu=net.chance())]


@op
def relu(net: Sampler) -> list[Value]:
    return [net.relu(net.input(*net.shape()))]


@op
def leaky_relu(net: Sampler) -> list[Value]:
    return [net.leaky_relu(net.input(*net.shape()))]


@op
def prelu(net: Sampler) -> list[Value]:
    return [net.prelu(net.input(*net.shape()))]


@op
def softmax(net: Sampler) -> list[Value]:
    """Of vectors and of maps."""
    n, c, h, w = net.shape(4000)
    return [net.softmax(net.input(n, c, *net.pick(((1, 1), (h, w)))))]


# ---- moves and conversions
@op
def concat(net: Sampler) -> list[Value]:
    """2 to 4 graph inputs, one of them sometimes twice."""
    n, _, h, w = net.shape(8000)
    xs = [net.input(n, net.pick(CHANNELS[:12]), h, w) for _ in range(net.pick((2, 3, 4)))]
    if net.chance(0.3):
        xs.append(xs[0])
    return [net.concat(*xs)]


@op
def concat_of_layers(net: Sampler) -> list[Value]:
    """Layers, a graph input and another concat side by side; sometimes a layer reads the result."""
    n, c, h, w = net.shape(4000)
    x = net.input(n, c, h, w)
    parts = [net.conv(x, net.pick(CHANNELS[:12])) for _ in range(net.pick((1, 2, 3)))]
    if net.chance():
        parts.append(net.concat(net.relu(x), net.conv(x, net.pick(CHANNELS[:12]))))
    if net.chance(0.3):
        parts.append(x)
    if net.chance(0.3):
        parts.append(parts[0])
    y = net.concat(*(parts if len(parts) > 1 else [*parts, net.relu(x)]))
    return [net.conv(y, net.pick(CHANNELS[:10]))] if net.chance() else [y]


@op
def reshape(net: Sampler) -> list[Value]:
    """Between two layers, of a graph input, or as graph output."""
    n, c, h, w = net.shape(4000)
    x = net.input(n, c, h, w)
    y = x if net.chance(0.3) else net.conv(x, c)
    z = net.reshape(y, n, *net.pick(((c * h * w, 1, 1), (h, c, w), (1, c, h * w), (w * h, c, 1))))
    return [z if y is not x and net.chance(0.3) else net.relu(z)]


@op
def quantize(net: Sampler) -> list[Value]:
    x = net.quantize(net.input(*net.shape(), dtype="f32"))
    return [net.relu(x)]


@op
def dequantize(net: Sampler) -> list[Value]:
    return [net.dequantize(net.input(*net.shape()))]


@op
def float_to_float(net: Sampler) -> list[Value]:
    x = net.quantize(net.input(*net.shape(8000), dtype="f32"))
    return [net.dequantize(net.random_conv(x))]


# ---- graphs
def random_graph(name: str, chip: Chip, layers: int | None = None) -> Graph:
    """A graph of 5 to 15 layers with branches, residual additions, concats and several outputs."""
    net = Sampler(chip, name)
    n, c, h, w = net.pick((1, 1, 2, 3, 4)), *(net.pick(s) for s in (CHANNELS[:13], SIZES, SIZES))
    floats = net.chance(0.3)
    x = net.input(n, c, h, w, dtype="f32" if floats else "i8")
    values = [net.quantize(x) if floats else x]
    if net.chance(0.3):
        values.append(net.input(n, net.pick(CHANNELS[:13]), h, w))
    count = int(net.rng.integers(5, 16)) if layers is None else layers
    while len(values) < count + 1:
        recent = values[-1] if net.chance(0.6) else net.pick(values)
        values.append(grow(net, recent, values))
    unused = [v for v in values if not v.uses and v.owner is not None and not is_input(v)]
    outputs = unused or [values[-1]]
    inner = [v for v in values if v.uses and not is_input(v)]
    if inner and net.chance(0.4):
        outputs.append(net.pick(inner))
    if floats and net.chance(0.7):
        outputs[0] = net.dequantize(outputs[0])
    elif net.chance(0.3) and outputs[0].type.count < 20_000:
        outputs[0] = net.softmax(net.matrix(outputs[0], 33) if net.chance() else outputs[0])
    return net.done(*outputs)


def is_input(v: Value) -> bool:
    return v.owner is not None and v.owner.op_name() in ("tpu.Input", "tpu.Quantize")


def grow(net: Sampler, x: Value, values: list[Value]) -> Value:
    """One more layer on x; with partners of fitting shape among the values."""
    same = [v for v in values if v.shape == x.shape]
    beside = [v for v in values if (v.shape[0], v.shape[2:]) == (x.shape[0], x.shape[2:])]
    small = x.type.count < 40_000
    often = ("conv", "conv", "conv", "point", "depthwise", "depthwise", "pool", "add", "add")
    seldom = ("concat", "concat", "mul", "unary", "unary", "grouped", "reshape")
    kind = net.pick((*often, *seldom))
    if kind == "add" and (len(same) > 1 or net.chance(0.3)):
        return net.add(x, net.pick(same), relu=net.chance())
    if kind == "mul" and len(same) > 1:
        return net.mul(x, net.pick(same), net.chance())
    if kind == "mul":
        return net.mul(x, net.conv(net.avg_pool(x, x.shape[2:]), x.shape[1]))
    if kind == "concat" and small:
        return net.concat(*(net.pick(beside) for _ in range(net.pick((1, 2, 3)))), x)
    if kind == "depthwise":
        keep = net.chance(0.6)
        k = net.pick((3, 5)) if keep else 2
        pads = (k // 2,) * 4 if keep else (0, 1, 1, 0)
        return net.depthwise(
            x, (k, k), pads=pads, strides=(1, 1) if keep else (2, 2), relu=net.chance()
        )
    if kind == "pool" and min(x.shape[2:]) > 1:
        pool = net.max_pool if net.chance() else net.avg_pool
        if net.chance(0.6):
            return pool(x, (3, 3), (1, 1), (1, 1, 1, 1), relu=net.chance(0.2))
        return pool(x, (2, 2), (2, 2))
    if kind == "unary":
        return net.pick((net.relu, net.leaky_relu, net.prelu, net.requant))(x)
    if kind == "grouped" and x.shape[1] % 2 == 0 and x.shape[1] > 2:
        return net.conv(x, x.shape[1], (3, 3), pads=(1, 1, 1, 1), group=2, relu=net.chance())
    if kind == "reshape" and net.chance(0.4):
        n, c, h, w = x.shape
        return net.reshape(x, *net.pick(((n, c, 1, h * w), (n, c, w, h), (n, c * h, 1, w))))
    if kind == "point":
        return net.conv(x, net.pick(CHANNELS[:13]), relu=net.chance())
    return net.random_conv(x) if net.chance(0.4) else same_conv(net, x)


def same_conv(net: Sampler, x: Value) -> Value:
    """A 3x3 convolution that keeps the map, often the channels too, so that additions find
    partners."""
    oc = x.shape[1] if net.chance() else net.pick(CHANNELS[:13])
    if x.type.count * oc * 9 > MACS:
        oc = 8
    return net.conv(x, oc, (3, 3), pads=(1, 1, 1, 1), relu=net.chance())


# ---- layers too large for one tile
LARGE: dict[str, Build] = {
    "conv_2048_inputs": lambda n: [n.conv(n.input(1, 2048, 7, 7), 64, (3, 3), pads=(1, 1, 1, 1))],
    "conv_130_at_56": lambda n: [n.conv(n.input(1, 130, 56, 56), 40, (3, 3), (2, 2), (0, 1, 1, 0))],
    "conv_512_to_512": lambda n: [n.conv(n.input(1, 512, 7, 7), 512, (3, 3), pads=(1, 1, 1, 1))],
    "point_batch_4": lambda n: [n.conv(n.input(4, 160, 28, 28), 96, relu=True)],
    "conv_first": lambda n: [n.conv(n.input(1, 3, 224, 224), 16, (7, 7), (2, 2), (3, 3, 3, 3))],
    "conv_5000_outputs": lambda n: [n.conv(n.input(1, 16, 3, 3), 5000)],
    "conv_5000_inputs": lambda n: [n.conv(n.input(1, 5000, 3, 3), 17)],
    "conv_partial_sums": lambda n: [n.conv(n.input(2, 3000, 5, 5), 9, (3, 3), pads=(1, 1, 1, 1))],
    "conv_kernel_31": lambda n: [n.conv(n.input(1, 8, 40, 40), 8, (31, 31), pads=(15,) * 4)],
    "conv_4000_columns": lambda n: [n.conv(n.input(1, 20, 5, 4000), 6, (3, 3), pads=(1, 1, 1, 1))],
    "conv_9000_columns": lambda n: [
        n.conv(n.input(1, 3, 1, 9000), 4, (1, 5), (1, 2), (0, 2, 0, 2))
    ],
    "conv_9000_rows": lambda n: [n.conv(n.input(1, 3, 9000, 1), 4, (5, 1), (1, 1), (2, 0, 2, 0))],
    "conv_1_by_2000": lambda n: [n.conv(n.input(3, 33, 1, 2000), 33, (1, 9), pads=(0, 4, 0, 4))],
    "dilated_wide": lambda n: [
        n.conv(n.input(1, 16, 9, 1500), 8, (3, 3), pads=(4,) * 4, dilations=(4, 4))
    ],
    "fully_connected": lambda n: [n.conv(n.input(1, 512, 7, 7), 600, (7, 7))],
    "fully_connected_flat": lambda n: [n.conv(n.input(2, 25088, 1, 1), 100)],
    "depthwise_2048": lambda n: [n.depthwise(n.input(1, 2048, 7, 7), (7, 7), pads=(3, 3, 3, 3))],
    "depthwise_5000": lambda n: [n.depthwise(n.input(1, 5000, 3, 3), (3, 3), pads=(1, 1, 1, 1))],
    "depthwise_wide": lambda n: [n.depthwise(n.input(1, 40, 3, 5000), (3, 3), pads=(1, 1, 1, 1))],
    "depthwise_112": lambda n: [
        n.depthwise(n.input(1, 96, 112, 112), (3, 3), strides=(2, 2), pads=(0, 0, 1, 1))
    ],
    "average_2048": lambda n: [n.avg_pool(n.input(1, 2048, 7, 7), (7, 7))],
    "average_170x170": lambda n: [n.avg_pool(n.input(1, 17, 170, 170), (170, 170))],
    "average_224_as_matrix": lambda n: [n.matrix(n.input(3, 50176, 1, 1), 1, bias=False)],
    "max_of_a_row_of_strips": lambda n: [
        n.max_pool(n.input(1, 5, 224, 224), (15, 224), (15, 1), (0, 0, 1, 0))
    ],
    "max_of_wide_strips": lambda n: [
        n.max_pool(n.input(1, 4, 217, 1500), (15, 1500), (15, 1), (0, 0, 8, 0))
    ],
    "rows_behind_the_last_window": lambda n: [n.max_pool(n.input(1, 4, 59, 4000), (1, 1), (15, 1))],
    "average_windows_as_matrix": lambda n: [n.matrix(n.input(2, 42000, 1, 1), 35, bias=False)],
    "max_of_rows_of_900": lambda n: [
        n.max_pool(n.max_pool(n.input(1, 4, 120, 1000), (1, 900), (1, 10)), (100, 1), (2, 1))
    ],
    "average_not_counted": lambda n: [
        n.avg_pool(n.input(1, 130, 90, 40), (3, 3), (1, 1), (1,) * 4, NO_PADS)
    ],
    "max_112": lambda n: [n.max_pool(n.input(1, 64, 112, 112), (3, 3), (2, 2), (1, 1, 1, 1))],
    "max_1280": lambda n: [n.max_pool(n.input(2, 1280, 7, 7), (7, 7))],
    "float_17000_columns": lambda n: [n.quantize(n.input(1, 5, 2, 17000, dtype="f32"))],
    "add_256": lambda n: [n.add(n.input(1, 256, 56, 56), n.input(1, 256, 56, 56))],
    "add_5000": lambda n: [n.add(n.input(1, 5000, 3, 1), n.input(1, 5000, 3, 1))],
    "mul_2000": lambda n: [n.mul(n.input(1, 2000, 7, 7), n.input(1, 2000, 1, 1))],
    "mul_wide": lambda n: [n.mul(n.input(1, 40, 1, 7000), n.input(1, 40, 1, 7000))],
    "requant_tall": lambda n: [n.requant(n.input(1, 3, 7000, 20))],
    "relu_25088": lambda n: [n.relu(n.input(1, 25088, 1, 1))],
    "leaky_5000_columns": lambda n: [n.leaky_relu(n.input(1, 9, 2, 5000))],
    "prelu_4500": lambda n: [n.prelu(n.input(1, 4500, 2, 2))],
    "concat_4000": lambda n: [n.concat(n.input(1, 4000, 1, 1), n.input(1, 4001, 1, 1))],
    "concat_wide": lambda n: [n.concat(n.input(1, 65, 2, 3000), n.input(1, 3, 2, 3000))],
    "quantize_large": lambda n: [n.relu(n.quantize(n.input(1, 130, 40, 41, dtype="f32")))],
    "quantize_wide": lambda n: [n.relu(n.quantize(n.input(1, 3, 2, 9000, dtype="f32")))],
    "dequantize_4500": lambda n: [n.dequantize(n.input(1, 4500, 1, 1))],
    "dequantize_large": lambda n: [n.dequantize(n.input(1, 130, 40, 41))],
    "dequantize_wide": lambda n: [n.dequantize(n.input(2, 3, 1, 5000))],
    "matrix_4000": lambda n: [n.matrix(n.input(2, 512, 4, 4), 1000)],
    "softmax_1000": lambda n: [n.softmax(n.input(2, 1000, 1, 1))],
    "softmax_21_at_65": lambda n: [n.softmax(n.input(1, 21, 65, 65))],
    "grouped_large": lambda n: [
        n.conv(n.input(1, 256, 28, 28), 256, (3, 3), pads=(1,) * 4, group=8)
    ],
}


def large(name: str, chip: Chip) -> Graph:
    """A single-op network of LARGE."""
    net = Sampler(chip, name)
    return net.done(*LARGE[name](net))


# ---- graphs whose tensors share, rename or reuse memory in unusual ways
ODD: dict[str, Build] = {}


def odd(build: Build) -> Build:
    ODD[build.__name__] = build
    return build


@odd
def more_images(n: Sampler) -> list[Value]:
    """A reshape that makes two images of one, another that goes on to the output."""
    x = n.relu(n.input(1, 8, 4, 4))
    return [n.max_pool(n.reshape(x, 2, 4, 4, 4), (2, 2)), n.reshape(x, 4, 2, 4, 4)]


@odd
def fewer_images(n: Sampler) -> list[Value]:
    return [n.relu(n.reshape(n.relu(n.input(2, 8, 4, 4)), 1, 16, 4, 4))]


@odd
def renamed_beside_concat(n: Sampler) -> list[Value]:
    """The first input of a concat is also read under another shape, with other images."""
    x = n.input(2, 8, 4, 4)
    a = n.relu(x)
    return [n.relu(n.concat(a, n.conv(x, 3))), n.relu(n.reshape(a, 1, 16, 4, 4))]


@odd
def renamed_view(n: Sampler) -> list[Value]:
    """As before with one image, so that the renamed tensor lies in the middle of the concat."""
    x = n.input(1, 8, 4, 4)
    a = n.relu(x)
    y = n.concat(n.conv(x, 3), a)
    return [n.relu(y), n.max_pool(n.reshape(a, 2, 4, 4, 4), (2, 2))]


@odd
def renamed_output_in_concat(n: Sampler) -> list[Value]:
    x = n.input(2, 8, 4, 4)
    a = n.relu(x)
    return [n.relu(n.concat(n.conv(x, 3), a)), n.reshape(a, 2, 4, 2, 16)]


@odd
def concat_in_concat(n: Sampler) -> list[Value]:
    """Both are outputs."""
    x = n.input(2, 8, 4, 4)
    inner = n.concat(n.relu(x), n.conv(x, 3))
    return [inner, n.concat(inner, n.conv(x, 2))]


@odd
def concat_of_renamed(n: Sampler) -> list[Value]:
    x = n.input(2, 8, 4, 4)
    inner = n.concat(n.relu(x), n.conv(x, 3))
    return [n.concat(n.reshape(inner, 2, 11, 2, 8), n.input(2, 1, 2, 8))]


@odd
def concat_of_one_tensor(n: Sampler) -> list[Value]:
    x = n.relu(n.input(3, 5, 4, 4))
    return [n.concat(x, x, x)]


@odd
def input_renamed_to_output(n: Sampler) -> list[Value]:
    """A reshape of the input is an output, next to something computed."""
    x = n.input(1, 16, 4, 4)
    return [n.reshape(x, 2, 8, 4, 4), n.relu(x)]


@odd
def same_shape_output(n: Sampler) -> list[Value]:
    """A reshape that changes nothing but the name."""
    return [n.reshape(n.conv(n.input(2, 7, 3, 3), 5), 2, 5, 3, 3)]


@odd
def group_between_concats(n: Sampler) -> list[Value]:
    x = n.input(2, 4, 5, 5)
    y = n.conv(n.concat(n.relu(x), n.conv(x, 4)), 8, (3, 3), pads=(1, 1, 1, 1), group=4)
    return [n.concat(y, n.conv(x, 3))]


@odd
def channel_multiplier(n: Sampler) -> list[Value]:
    """Grouped convolutions that are nearly depthwise."""
    x = n.input(1, 8, 5, 5)
    return [n.conv(x, 16, (3, 3), group=8), n.conv(n.input(1, 3, 5, 5), 9, (3, 3), group=3)]


@odd
def seven_outputs(n: Sampler) -> list[Value]:
    """More outputs than there are io buffers."""
    x = n.input(2, 8, 3, 3)
    return [n.relu(x), n.conv(x, 3), n.conv(x, 5), n.add(x, x), n.prelu(x), n.requant(x),
            n.reshape(n.conv(x, 7), 2, 1, 7, 9)]  # fmt: skip


@odd
def eight_inputs(n: Sampler) -> list[Value]:
    return [n.concat(*(n.relu(n.input(2, 3, 3, 3)) for _ in range(8)))]


@odd
def quantised_in_concat(n: Sampler) -> list[Value]:
    """The quantised input is a part of a concat; the result goes back to float."""
    x = n.quantize(n.input(2, 5, 6, 7, dtype="f32"))
    return [n.dequantize(n.concat(n.relu(x), n.requant(x)))]


@odd
def windows_in_the_padding(n: Sampler) -> list[Value]:
    """Whole rows and columns of results that see padding only."""
    x = n.input(2, 9, 4, 5)
    narrow, low = n.input(1, 9, 9, 2), n.input(1, 9, 2, 9)
    return [n.conv(x, 7, (2, 2), pads=(4, 3, 5, 4)), n.depthwise(x, (3, 1), pads=(3, 2, 3, 2)),
            n.conv(x, 3, (1, 1), pads=(1, 1, 1, 1)),
            n.conv(narrow, 5, (1, 1), (1, 3), pads=(1, 1, 0, 0)),
            n.conv(n.relu(narrow), 5, (2, 2), (1, 5), pads=(0, 2, 0, 0)),
            n.conv(low, 5, (1, 1), (3, 1), pads=(1, 0, 0, 0)),
            n.conv(low, 5, (3, 3), pads=(40, 20, 17, 16))]  # fmt: skip


def odd_graph(name: str, chip: Chip) -> Graph:
    """A graph of ODD."""
    net = Sampler(chip, name)
    return net.done(*ODD[name](net))
