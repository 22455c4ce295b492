"""Input: where data enters the graph, with the preprocessing that makes it (cli.md section 10)."""

from __future__ import annotations

from ..ir import TensorType, bool_, float_, floats, ints, register, str_
from .base import OnnxBuilder, TopOp


@register
class Input(TopOp):
    """A graph input. do_preprocess: it is an image, and the attributes below say how it is made
    from a file.

    folded: the arithmetic of the old dialect, y = x * scale - mean * scale (cli.md section 10.4);
    else y = (x - mean) * scale. crop: "center", or "right" (bottom-right corner, old dialect).
    """

    operand_names = ()
    do_preprocess = bool_(default=False)
    channel_format = str_(default="nchw")
    keep_aspect_ratio = bool_(default=False)
    keep_ratio_mode = str_(default="letterbox")
    mean = floats(default=(0.0, 0.0, 0.0))
    scale = floats(default=(1.0, 1.0, 1.0))
    pad_type = str_(default="center")
    pad_value = float_(default=0.0)
    pixel_format = str_(default="bgr")
    resize_dims = ints(default=())
    yuv_type = str_(default="")
    folded = bool_(default=False)
    crop = str_(default="center")

    def infer(self) -> list[TensorType]:
        return [self.results[0].type]  # the type is given, never inferred

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        """Graph inputs are declared by the exporter."""
