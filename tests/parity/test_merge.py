"""Merged files on the vendor's runtime (formats/cvimodel.md section 12): every program gives what
its own file gives.
"""

from __future__ import annotations

import numpy as np
import pytest
from format.sample import copy_stream, tiny
from tpuforge.compiler.format.cvimodel import (
    DType,
    Model,
    Program,
    Routine,
    Section,
    Tensor,
    Weight,
    address,
    read,
    write,
)
from tpuforge.compiler.format.merge import compress, merge
from tpuforge.compiler.format.weight_map import WeightMap, assign_weights

pytestmark = pytest.mark.parity

CHIPS = ("cv183x", "cv182x", "cv181x", "cv180x")


def constant_model(chip: str, constants: list[bytes], table: WeightMap) -> tuple[Model, WeightMap]:
    """A program that copies the last of its constants (64 bytes each) to "out"; "in" is ignored."""
    items = [(f"w{i}_{data[0]}", data) for i, data in enumerate(constants)]
    offsets, section, table = assign_weights(items, table)
    last = items[-1][0]
    tensors = [Tensor(n, address(b), DType.INT8, (1, 1, 1, 64)) for n, b in (("in", 3), ("out", 4))]
    model = Model(
        name="constant",
        chip=chip,
        programs=[Program(["in"], ["out"], tensors, [Routine("tpu", ["in"], ["out"], "run")])],
        sections=[
            Section("weight", "weight", section),
            Section("cmdbuf", "run", copy_stream(chip, 64, base=1, offset=offsets[last])),
        ],
        weights=[
            Weight(n, address(1, o), 64, (1, 1, 1, 64), DType.INT8) for n, o in offsets.items()
        ],
    )
    return model, table


@pytest.mark.parametrize("chip", CHIPS)
def test_networks_that_share_a_part_of_their_weights(oracle, chip):
    generator = np.random.default_rng(4)
    one, two, three = (generator.integers(1, 128, 64, np.int8).tobytes() for _ in range(3))
    left, table = constant_model(chip, [one, two], WeightMap())
    right, table = constant_model(chip, [two, three], table)
    assert right.sections[0].data == bytes(64) + two + three
    silent = {"in": np.zeros(64, np.int8)}
    for files, expected in ([left, right], [two, three]), ([right, left], [three, two]):
        merged = merge(files)
        assert merged.sections[0].data == one + two + three
        data = write(merged)
        for program, content in enumerate(expected):
            outputs = oracle.vendor_run(data, silent, program=program)
            assert outputs["out"].tobytes() == content
    assert oracle.vendor_run(write(left), silent)["out"].tobytes() == two
    assert oracle.vendor_run(write(right), silent)["out"].tobytes() == three


def test_merged_and_compressed_network(oracle, vendor_dir):
    """A vendor network twice in one file, commands compressed: both programs give the stored
    bytes.
    """
    model = read((vendor_dir / "tiny_resnet_cv181x.cvimodel").read_bytes())
    merged = merge([model, model])
    assert merged.sections[0].data == model.sections[0].data and len(merged.weights) == 20
    with np.load(vendor_dir / "tiny_resnet_in.npz") as arrays:
        inputs = dict(arrays)
    with np.load(vendor_dir / "tiny_resnet_cv181x_out.npz") as arrays:
        expected = dict(arrays)
    for data in write(merged), write(compress(merged)):
        for program in (0, 1):
            outputs = oracle.vendor_run(data, inputs, program=program)
            assert {k: v.tobytes() for k, v in outputs.items()} == {
                k: v.tobytes() for k, v in expected.items()
            }


def test_a_third_file_of_another_network(oracle):
    merged = merge([tiny(), constant_model("cv181x", [bytes(range(64))], WeightMap())[0]])
    values = np.arange(64, dtype=np.int8)[::-1]
    data = write(merged)
    assert oracle.vendor_run(data, {"in": values})["out"].tobytes() == values.tobytes()
    assert oracle.vendor_run(data, {"in": values}, program=1)["out"].tobytes() == bytes(range(64))
