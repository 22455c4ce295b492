"""Merging by weight_map overlay and compression (formats/cvimodel.md sections 10 and 12)."""

from __future__ import annotations

import pytest
from format.sample import copy_stream, full, tiny
from tpuforge.compiler.errors import OptionError, UserInputError
from tpuforge.compiler.format.cvimodel import (
    DType,
    Model,
    Section,
    Weight,
    address,
    read,
    write,
)
from tpuforge.compiler.format.merge import compress, merge


def model_with(weights: list[tuple[str, int, bytes]], size: int = 0) -> Model:
    """The tiny model with constants (name, offset, bytes) in a weight section of at least
    `size`."""
    model = tiny()
    end = max([size, *(o + len(d) for _, o, d in weights)])
    section = bytearray(end)
    for name, offset, data in weights:
        section[offset : offset + len(data)] = data
        model.weights.append(
            Weight(name, address(1, offset), len(data), (len(data), 1, 1, 1), DType.INT8)
        )
    model.sections[0].data = bytes(section)
    return model


def weights_of(model: Model) -> bytes:
    return model.sections[0].data


def test_two_batch_sizes_share_everything():
    one, four = model_with([("a", 0, b"abcd")]), model_with([("a", 0, b"abcd")])
    four.programs[0].batch_num = 4
    merged = merge([one, four])
    assert [(s.kind, s.name) for s in merged.sections] == [
        ("weight", "weight"), ("cmdbuf", "run_0"), ("cmdbuf", "run_1"),
    ]  # fmt: skip
    assert [p.routines[0].section for p in merged.programs] == ["run_0", "run_1"]
    assert [p.batch_num for p in merged.programs] == [0, 4]
    assert [w.name for w in merged.weights] == ["a"] and weights_of(merged) == b"abcd"
    assert one.programs[0].routines[0].section == "run"
    assert read(write(merged), verify=True).programs == merged.programs


def test_holes_are_filled_by_their_owner():
    """Places of other models are zero in a file: neither order nor length matters."""
    left = model_with([("a", 0, b"abcd"), ("b", 16, b"efgh")])
    right = model_with([("b2", 16, b"efgh"), ("c", 32, b"ijkl")])
    expected = b"abcd" + bytes(12) + b"efgh" + bytes(12) + b"ijkl"
    for files in ([left, right], [right, left]):
        merged = merge(files)
        assert weights_of(merged) == expected
        assert {w.name for w in merged.weights} == {"a", "b", "b2", "c"}


def test_zero_owned_by_one_file_is_not_a_hole():
    """A constant of zeros belongs to its file: another file's other bytes there contradict."""
    with pytest.raises(UserInputError, match=r"weight 'b' of right .*offset 2 of the weights"):
        merge([model_with([("a", 0, bytes(4))]), model_with([("b", 2, b"xy")])], ["left", "right"])


def test_overlapping_constants_that_agree():
    merged = merge([model_with([("a", 0, b"abcdef")]), model_with([("b", 4, b"efgh")])])
    assert weights_of(merged) == b"abcdefgh"


def test_bytes_that_no_map_names_are_kept():
    bare = tiny()
    bare.sections[0].data = b"raw weights without a map"
    merged = merge([bare, model_with([("z", 32, b"zz")])])
    assert weights_of(merged) == b"raw weights without a map" + bytes(7) + b"zz"
    owner = model_with([("w", 4, b"W")])
    assert weights_of(merge([bare, owner]))[:12] == b"raw Weights "


def test_other_sections_and_texts_come_along():
    first, second = full(), full()
    second.name, second.mlir_version = "second", "x"
    for model in first, second:
        model.sections[2].encrypt = False
    merged = merge([first, second])
    assert (merged.name, merged.mlir_version, merged.version) == ("full", None, (1, 4, 0))
    assert [p.batch_num for p in merged.programs] == [1, 2, 1, 2]
    assert [s.name for s in merged.sections] == [
        "weight", "run_0", "custom", "later", "run_1", "custom", "later",
    ]  # fmt: skip


def test_files_that_do_not_belong_together():
    with pytest.raises(UserInputError, match=r"x is for cv181x, y is for cv183x"):
        merge([tiny(), tiny("cv183x")], ["x", "y"])
    dma = tiny()
    dma.sections[1].kind = "dmabuf"
    with pytest.raises(UserInputError, match="x has CMDBUF and y has DMABUF"):
        merge([tiny(), dma], ["x", "y"])
    secret = tiny()
    secret.sections[1].encrypt = True
    with pytest.raises(UserInputError, match="section 'run' of y is encrypted"):
        merge([tiny(), secret], ["x", "y"])
    with pytest.raises(OptionError):
        merge([])


def test_no_weights_at_all():
    bare = tiny()
    del bare.sections[0]
    assert [s.name for s in merge([bare, bare]).sections] == ["run_0", "run_1"]


def test_compress():
    model = tiny()
    model.sections[1].data = copy_stream("cv181x") * 40
    small = compress(model)
    section = small.sections[1]
    assert section.compress and section.decompressed_size == 72 * 40 and len(section.data) < 200
    assert section.contents() == model.sections[1].data
    assert read(write(small), verify=True) == small
    with pytest.raises(UserInputError, match="'run' of 'tiny' is compressed already"):
        compress(small)
    model.sections.append(Section("cmdbuf", "noise", bytes(range(200))))
    with pytest.raises(UserInputError, match="'noise' of 'tiny' does not shrink: 200 bytes"):
        compress(model)
