"""Graph inputs and outputs (hw/cv18xx-quant.md section 3).

in    f32 -> i8: Quantize, inv_scale = f32(127 / threshold); the CPU routine where the runtime of
          the chip has one, else a recipe on the TPU that rounds alike. With quant_input the graph
          input is int8 and nothing is converted.
out   i8 -> f32: q * f32(threshold / 127), exact; by the CPU where the runtime of the chip can. On
          the TPU the scale has 16 significant bits (it differs by 7.6e-6 at most), so that every
          product is exact. With quant_output the graph output is int8.
"""

from __future__ import annotations

from ... import tpu
from ...errors import UnsupportedError
from ...ir import TensorType, Value
from ...tpu.arith import significant
from .context import Context, shape4


def lower_inputs(ctx: Context, quant_input: bool) -> None:
    """One tpu.Input per top.Input, and a Quantize behind it."""
    for v in ctx.top.inputs:
        assert v.owner is not None
        scale = ctx.scale(v)
        known = {k: x for k, x in v.owner.attrs.items() if k in tpu.Input.declared}
        type = tpu.i8(shape4(v.shape), scale) if quant_input else TensorType(shape4(v.shape), "f32")
        x = ctx.graph.add(tpu.Input, [], v.name, types=[type], **known)
        if not quant_input:
            engine = "cpu" if ctx.chip.has_cpu_routines else "tpu"
            _require_range(ctx, v, scale)
            x = ctx.add(
                tpu.Quantize, [x], f"{v.name}_si8", scale, inv_scale=1.0 / scale, engine=engine
            )
        ctx.values[v] = x


def lower_outputs(ctx: Context, quant_output: bool) -> None:
    """Declare the graph outputs; float ones are named NAME_f32."""
    for v in ctx.top.outputs:
        y = ctx.get(v)
        if not quant_output and y.type.dtype == "i8":
            name = f"{v.name}_f32"
            known = next((r for r in ctx.graph.values() if r.name == name), None)
            engine = "cpu" if ctx.chip.has_cpu_routines else "tpu"
            assert y.type.scale is not None
            _require_range(ctx, v, y.type.scale)
            scale = y.type.scale if engine == "cpu" else significant(y.type.scale, 16)
            y = known or ctx.graph.add(tpu.Dequantize, [y], name, scale=scale, engine=engine)
        ctx.graph.outputs.append(y)


def _require_range(ctx: Context, v: Value, scale: float) -> None:
    """UnsupportedError if the conversion on the TPU could leave the range of its bf16 numbers."""
    if not ctx.chip.has_cpu_routines and not 2.0**-50 < scale < 2.0**50:
        raise UnsupportedError(
            f"{v.name} has the threshold {127 * scale:g}; {ctx.chip.name} converts floats on the "
            "TPU, with thresholds from 1.2e-13 to 1.4e17. Scale the model's input or weights, or "
            "use int8 there (--quant_input, --quant_output)"
        )
