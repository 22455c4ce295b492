"""Graph inputs and the two conversions between float32 and int8."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import TensorType, bool_, float_, floats, ints, register, str_
from . import arith
from .base import TpuOp, i8


@register
class Input(TpuOp):
    """A graph input, f32 or i8 (shape and type are given with `types=`). The preprocessing
    attributes of top.Input are carried through to the file; they compute nothing here."""

    channel_format = str_(default="nchw")
    do_preprocess = bool_(default=False)
    keep_aspect_ratio = bool_(default=False)
    keep_ratio_mode = str_(default="letterbox")
    mean = floats(default=())
    scale = floats(default=())
    pad_type = str_(default="center")
    pad_value = float_(default=0.0)
    pixel_format = str_(default="rgb")
    resize_dims = ints(default=())
    yuv_type = str_(default="")
    folded = bool_(default=False)
    crop = str_(default="center")

    def infer(self) -> list[TensorType]:
        self.require(False, "the type of a graph input must be given")
        return []

    def verify(self) -> None:
        self.require(
            self.results[0].type.dtype in ("f32", "i8"), f"input type is {self.results[0].type}"
        )


@register
class Quantize(TpuOp):
    """f32 -> i8. inv_scale = f32(127 / threshold), scale of the result = threshold / 127.

    engine "cpu": clamp(round_half_away(f32(x * inv_scale)), -128, 127), the routine `quant`
    engine "tpu": the same but for one of about 150,000 numbers (arith.quantise_f32_tpu)
    """

    operand_names = ("x",)
    inv_scale = float_()
    engine = str_(default="cpu")

    def infer(self) -> list[TensorType]:
        x = self.operands[0]
        assert x is not None
        self.require(self.engine in ("cpu", "tpu"), f"engine is {self.engine!r}")
        return [i8(x.shape, 1.0 / self.inv_scale)]

    def reference(self, x: Any) -> NDArray[np.int8]:
        if self.engine == "cpu":
            return arith.quantise_f32(x, self.inv_scale)
        return arith.quantise_f32_tpu(x, self.inv_scale)


@register
class Dequantize(TpuOp):
    """i8 -> f32: f32(q) * f32(scale), one float32 product; engine "cpu" (the runtime's routine
    `quant`) or "tpu", where the scale has 16 significant bits and the product is exact."""

    operand_names = ("x",)
    scale = float_()
    engine = str_(default="tpu")

    def infer(self) -> list[TensorType]:
        x = self.operands[0]
        assert x is not None
        short = arith.significant(self.scale, 16) == self.scale
        self.require(short or self.engine == "cpu", f"scale is {self.scale!r}")
        return [TensorType(x.shape, "f32")]

    def reference(self, x: Any) -> NDArray[np.float32]:
        return np.asarray(x, np.float32) * np.float32(self.scale)
