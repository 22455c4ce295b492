"""Graphs for the tests of the text form."""

from __future__ import annotations

import numpy as np
from tpuforge.compiler import top
from tpuforge.compiler.ir import (
    OPS,
    Graph,
    Op,
    TensorType,
    bool_,
    bytes_,
    float_,
    floats,
    int_,
    ints,
    register,
    str_,
)

if "test.Split" not in OPS:

    @register
    class Split(Op):
        """An operation with several results and every kind of attribute."""

        dialect = "test"
        operand_names = ("x", "table?", "rest*")
        number = int_(default=7)
        ratio = float_(default=0.1)
        flag = bool_(default=True)
        text = str_(default="")
        numbers = ints(default=())
        ratios = floats(default=())
        raw = bytes_(default=b"")
        maybe = int_(default=None)

        def infer(self) -> list[TensorType]:
            return [r.type for r in self.results]


def chain(count: int) -> Graph:
    """`count` operations: convolutions, every fifth an addition."""
    g = Graph("chain", state="TOP_F32", chip="ALL", platform="ONNX")
    x = g.add(top.Input, [], "input", types=[TensorType((1, 8, 8, 8))], do_preprocess=True)
    w, b = np.zeros((8, 8, 3, 3), np.float32), np.zeros(8, np.float32)
    for i in range(1, count):
        if i % 5 == 4:
            x = g.add(top.Add, [x, x], f"add_{i}_Add", do_relu=True)
            continue
        consts = [g.const(f"conv_{i}.weight", w), g.const(f"conv_{i}.bias", b)]
        attrs = dict(kernel_shape=(3, 3), pads=(1, 1, 1, 1), do_relu=True)
        x = g.add(top.Conv, [x, *consts], f"relu_{i}_Relu", **attrs)
    g.outputs = [x]
    return g


def odd() -> Graph:
    """Everything the text form must carry: odd names and numbers, all types, several results."""
    split = OPS["test.Split"]
    g = Graph(
        'odd "net" 1', state="TPU_INT8", numbers=(1, 2), ratio=1e-30, flag=False, text='a\\b"c\n'
    )
    types = [
        TensorType((1, 3, 8, 8), "i8", 0.1 / 3),
        TensorType((2,), "u8", 5e-324),
        TensorType((), "f32"),
        TensorType((4, 1), "bf16"),
        TensorType((5,), "i64"),
    ]
    x = g.add(top.Input, [], "x/日本.1:0", types=[TensorType((1, 3, 8, 8))])
    table = g.const("table", np.arange(4, dtype=np.int16))
    wide = g.const("wide", np.array([[0x3F80], [0x7FC0]], np.uint16), "bf16")
    op = split(
        [x, table, x, wide],
        [f'r{i}"\\' for i in range(5)],
        types,
        number=-3,
        ratio=1e-05,
        flag=False,
        text='tab\t"quote" é \\ \x00',
        numbers=(1, -2),
        raw=b"\x00\xff\n",
        ratios=(1.0, -0.0, 1e300, float("inf"), float("-inf"), 1 / 3),
    )
    g.ops.append(op)
    last = split([op.results[1], None], ["last"], [TensorType((7,), "i32")], maybe=5)
    g.ops.append(last)
    g.outputs = [op.results[0], last.results[0], op.results[4]]
    return g
