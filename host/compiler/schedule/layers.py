"""Layers and DDR tensors of a Tpu graph: the scheduler's view of the network.

A Layer is an op that costs TPU work. Ops that only rename memory (Reshape, equal-scale Concat,
Identity) become relations between tensors: an alias has the bytes of its parent under another
shape, a view is a channel range of it. A convolution with groups becomes one layer per group on
channel views.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InternalError
from ..ir import Graph, Op, Value


@dataclass(frozen=True)
class Window:
    """Sliding window of a convolution or pooling: kernel, strides, pads (t, l, b, r), dilations."""

    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Input rows and columns behind one output position."""
        return (self.kernel[0] - 1) * self.dilations[0] + 1, (self.kernel[1] - 1) * self.dilations[
            1
        ] + 1

    def reach(self, out: tuple[int, int], axis: int) -> tuple[int, int]:
        """Input rows (axis 0) or columns (axis 1) behind an interval of the output: it may begin in
        the padding in front and end in that behind."""
        first = out[0] * self.strides[axis] - self.pads[axis]
        return first, first + (out[1] - 1 - out[0]) * self.strides[axis] + self.extent[axis]

    def windows_of_padding(self, axis: int) -> bool:
        """Does the padding of rows (axis 0) or columns (axis 1) take in whole windows?"""
        return max(self.pads[axis], self.pads[axis + 2]) >= self.extent[axis]


POINT = Window()


@dataclass(eq=False)
class Tensor:
    """An activation in DDR. shape is (n, c, h, w); parent/channel_offset: a channel range of
    another tensor;
    parent and alias: the same bytes under another shape."""

    name: str
    shape: tuple[int, int, int, int]
    itemsize: int
    value: Value | None = None
    producer: Layer | None = None
    consumers: list[Layer] = field(default_factory=list)
    parent: Tensor | None = None
    channel_offset: int = 0
    alias: bool = False
    is_input: bool = False
    is_output: bool = False
    renamed: bool = False  # somebody reads it through an alias or a channel view

    @property
    def root(self) -> Tensor:
        return self if self.parent is None else self.parent.root

    @property
    def root_channel(self) -> int | None:
        """The channel of the root at which it begins; None if an alias lies between."""
        if self.parent is None:
            return 0
        above = self.parent.root_channel
        return None if self.alias or above is None else above + self.channel_offset

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.itemsize

    def placement(self) -> tuple[Tensor, int, int]:
        """(root, byte offset in the root, n stride in bytes)."""
        n, c, h, w = self.shape
        if self.parent is None:
            return self, 0, c * h * w * self.itemsize
        root, offset, n_stride = self.parent.placement()
        if self.alias:
            return (
                root,
                offset,
                n_stride if n == self.parent.shape[0] else c * h * w * self.itemsize,
            )
        return root, offset + self.channel_offset * h * w * self.itemsize, n_stride

    def __repr__(self) -> str:
        return f"<{self.name} {self.shape}>"


@dataclass(eq=False)
class Layer:
    """One op (or one group of a grouped convolution). channels: the (first, last) output channels
    it computes of op."""

    kind: str
    op: Op
    name: str
    inputs: list[Tensor]
    output: Tensor
    window: Window = POINT
    group: int = 0
    groups: int = 1
    index: int = -1

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


@dataclass
class LayerGraph:
    """layers in execution order; tensors; what the CPU does before and after the TPU program;
    outputs in order."""

    layers: list[Layer]
    tensors: list[Tensor]
    inputs: list[Tensor]
    outputs: list[Tensor]
    cpu_ops: list[Op]
    cpu_after: list[Op]
    by_value: dict[int, Tensor] = field(default_factory=dict)

    def tensor(self, value: Value) -> Tensor:
        """The tensor that holds a value (several values may be the same bytes under the same
        shape)."""
        return self.by_value[id(value)]


#: Tpu op -> kind of layer; kinds whose op has a window
KINDS = {
    "tpu.Conv": "conv",
    "tpu.MaxPool": "maxpool",
    "tpu.AvgPool": "avgpool",
    "tpu.Add": "add",
    "tpu.Requant": "requant",
    "tpu.Relu": "relu",
    "tpu.LeakyRelu": "leaky_relu",
    "tpu.PRelu": "prelu",
    "tpu.Mul": "mul",
    "tpu.Concat": "concat",
    "tpu.Quantize": "quantize",
    "tpu.Dequantize": "dequantize",
    "tpu.Softmax": "softmax",
}


def shape4(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The 4-D form of a shape: missing dimensions are 1 on the right."""
    if len(shape) > 4:
        raise InternalError(f"shape {shape} has more than 4 dimensions")
    return (*shape, *([1] * (4 - len(shape))))  # type: ignore[return-value]


def _window(op: Op) -> Window:
    a = op.attrs
    return Window(
        tuple(a["kernel_shape"]),
        tuple(a["strides"]),
        tuple(a["pads"]),
        tuple(a.get("dilations", (1, 1))),
    )


class _Builder:
    def __init__(self, graph: Graph, lanes: int) -> None:
        self.lanes = lanes
        self.outputs = {id(v) for v in graph.outputs}
        self.tensors: dict[int, Tensor] = {}
        self.layers: list[Layer] = []
        self.all: list[Tensor] = []
        self.cpu_ops: list[Op] = []
        self.cpu_after: list[Op] = []

    def tensor(self, value: Value) -> Tensor:
        t = self.tensors.get(id(value))
        if t is None:
            t = Tensor(value.name, shape4(value.shape), value.type.itemsize, value)
            self.tensors[id(value)] = t
            self.all.append(t)
        return t

    def layer(
        self,
        kind: str,
        op: Op,
        name: str,
        inputs: list[Tensor],
        output: Tensor,
        window: Window = POINT,
        **more: Any,
    ) -> None:
        layer = Layer(kind, op, name, inputs, output, window, index=len(self.layers), **more)
        for t in dict.fromkeys(inputs):
            t.consumers.append(layer)
        if output.producer is None:
            output.producer = layer
        self.layers.append(layer)

    def view(self, parent: Tensor, name: str, channel: int, channels: int) -> Tensor:
        n, _, h, w = parent.shape
        t = Tensor(
            name, (n, channels, h, w), parent.itemsize, parent=parent, channel_offset=channel
        )
        self.all.append(t)
        return t

    # ---- per op
    def add(self, op: Op) -> None:
        name = op.op_name()
        if name == "tpu.Input":
            self.tensor(op.results[0]).is_input = True
        elif name == "tpu.Reshape":
            self.reshape(op)
        elif name == "tpu.Quantize" and op.attrs["engine"] == "cpu":
            self.cpu_ops.append(op)
            self.tensor(op.results[0]).is_input = True
        elif name == "tpu.Dequantize" and op.attrs["engine"] == "cpu":
            self.cpu_after.append(op)
            self.tensor(next(op.inputs())).is_output = True
            self.tensor(op.results[0])
        elif name == "tpu.Conv":
            self.conv(op)
        elif name == "tpu.Dequantize":
            self.dequantize(op)
        elif name == "tpu.MatMul":
            self.layer(
                "fc", op, op.name, [self.flat(next(op.inputs()))], self.tensor(op.results[0])
            )
        elif name in KINDS:
            kind = KINDS[name]
            window = _window(op) if kind in ("maxpool", "avgpool") else POINT
            self.layer(
                kind,
                op,
                op.name,
                [self.tensor(v) for v in op.inputs()],
                self.tensor(op.results[0]),
                window,
            )
        else:
            raise InternalError(f"the scheduler does not know {name}")

    def reshape(self, op: Op) -> None:
        x = self.tensor(next(op.inputs()))
        shape = shape4(op.results[0].shape)
        if shape == x.shape and id(op.results[0]) not in self.outputs:
            self.tensors[id(op.results[0])] = x
            return
        t = self.tensor(op.results[0])
        t.parent, t.alias = x, True
        x.renamed = True

    def flat(self, value: Value) -> Tensor:
        """The rows of a matrix: the tensor itself or its alias of shape (n, k, 1, 1)."""
        x = self.tensor(value)
        return self.alias(x, (x.shape[0], x.shape[1] * x.shape[2] * x.shape[3], 1, 1))

    def alias(self, x: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
        """The same bytes under another shape."""
        if x.shape == shape:
            return x
        x.renamed = True
        t = Tensor(
            f"{x.name}.{'x'.join(map(str, shape[1:]))}", shape, x.itemsize, parent=x, alias=True
        )
        self.all.append(t)
        return t

    def dequantize(self, op: Op) -> None:
        """Behind a matrix, which goes through DDR anyway, as a picture that fills lanes and
        execution units."""
        x, y = self.tensor(next(op.inputs())), self.tensor(op.results[0])
        if x.producer is not None and x.producer.kind == "fc":
            shape = spread_shape(x.shape, self.lanes)
            x, y = self.alias(x, shape), self.alias(y, shape)
        self.layer("dequantize", op, op.name, [x], y)

    def conv(self, op: Op) -> None:
        x, y, groups = self.tensor(next(op.inputs())), self.tensor(op.results[0]), op.attrs["group"]
        ic, oc = x.shape[1], y.shape[1]
        window = _window(op)
        if groups == 1:
            self.layer("conv", op, op.name, [x], y, window)
        elif groups == ic and groups == oc:
            self.layer("depthwise", op, op.name, [x], y, window)
        else:
            x.renamed = True
            for g in range(groups):
                xg = self.view(x, f"{x.name}.{op.name}.in{g}", g * (ic // groups), ic // groups)
                yg = self.view(y, f"{y.name}.group{g}", g * (oc // groups), oc // groups)
                self.layer(
                    "conv", op, f"{op.name}.group{g}", [xg], yg, window, group=g, groups=groups
                )


def spread_shape(shape: tuple[int, int, int, int], lanes: int) -> tuple[int, int, int, int]:
    """(n, c, 1, w) with as many elements and the least steps of `lanes` channels x 16 columns."""
    count = shape[1] * shape[2] * shape[3]
    widths = [w for w in range(1, count + 1) if count % w == 0]
    w = min(widths, key=lambda w: (-(-(count // w) // lanes) * -(-w // 16), w))
    return shape[0], count // w, 1, w


def build_layers(graph: Graph, lanes: int = 8) -> LayerGraph:
    """The layers of a Tpu graph. Equal-scale Concat stays a layer of kind "concat"; its inputs
    become views of its output where that is possible (one concat each, no graph input, no alias),
    so that it costs nothing in DDR."""
    b = _Builder(graph, lanes)
    for op in graph.ops:
        b.add(op)
    outputs = []
    for v in graph.outputs:
        t = b.tensor(v)
        t.is_output = True
        outputs.append(t)
    dense = {
        _unaliased(t)
        for t in b.all
        if t.alias and t.parent and (t.is_output or t.shape[0] != t.parent.shape[0])
    }
    for layer in b.layers:
        if layer.kind == "concat":
            _place_concat(layer, dense)
    inputs = [t for t in b.all if t.is_input]
    return LayerGraph(b.layers, b.all, inputs, outputs, b.cpu_ops, b.cpu_after, b.tensors)


def _unaliased(t: Tensor) -> Tensor:
    """The tensor whose bytes an alias renames."""
    return _unaliased(t.parent) if t.alias and t.parent is not None else t


def _place_concat(layer: Layer, dense: set[Tensor]) -> None:
    """Make the inputs of a concat views of its output; not those of `dense`, whose images must lie
    one behind the other."""
    offset = 0
    for x in layer.inputs:
        free = (
            x.parent is None and not x.is_input and not x.is_output and layer.inputs.count(x) == 1
        )
        only = sum(c.kind == "concat" for c in x.consumers) == 1
        if free and only and x not in dense and x.shape[2:] == layer.output.shape[2:]:
            x.parent, x.channel_offset = layer.output, offset
        offset += x.shape[1]


def is_placed(layer: Layer) -> bool:
    """A concat all of whose inputs already lie in its output."""
    return layer.kind == "concat" and all(
        x.parent is layer.output and not x.alias for x in layer.inputs
    )
