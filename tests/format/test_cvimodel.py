"""Reader and writer: round trips, the layout of the file, section 15's example bytes, rules of
section 13."""

from __future__ import annotations

import hashlib
import struct

import pytest
from format.sample import copy_stream, full, tiny
from tpuforge.compiler.errors import UserInputError
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.format.cvimodel import (
    DType,
    Floats,
    Ints,
    Routine,
    Section,
    Tensor,
    Weight,
    address,
    low_offset,
    read,
    selector,
    write,
)
from tpuforge.compiler.format.flat import FlatBuffer

NETWORKS = (
    "tiny_resnet_cv183x", "tiny_mobilenet_cv182x", "mobilenet_v2_cv181x", "squeezenet1_1_cv180x",
)  # fmt: skip


@pytest.mark.parametrize("base", NETWORKS)
def test_vendor_files_round_trip(vendor_dir, base):
    data = (vendor_dir / f"{base}.cvimodel").read_bytes()
    model = read(data, verify=True)
    assert model.warnings == []
    again = write(model)
    assert read(again, verify=True) == model
    assert write(read(again)) == again
    assert again != data and len(again) <= len(data)


def test_every_field_round_trips():
    model = full()
    back = read(write(model), verify=True)
    assert back == model
    args = back.programs[0].routines[1].args
    assert [type(args[k]) for k in ("flag", "int", "scale", "to")] == [bool, int, float, str]
    assert isinstance(args["none"], Floats) and isinstance(args["nothing"], Ints)


def test_header_and_packing():
    """Magic, sizes, version, MD5 of all behind the header, chip, padding; sections without gaps."""
    data = write(full())
    body = struct.unpack_from("<I", data, 8)[0]
    assert data[:8] == b"CviModel" and data[12:14] == b"\1\4" and data[46:48] == b"Cv"
    assert data[14:30] == hashlib.md5(data[48:]).digest()
    assert data[30:46] == b"cv181x".ljust(16, b"\0")
    assert data[48 + body :] == b"".join(s.data for s in full().sections)
    assert [s.offset for s in read(data).sections] == [0, 24, 240, 244]
    assert body % 4 == 0


def test_the_worked_example_of_the_specification():
    """The words and the packet header of section 15; the body's layout is the builder's
    business."""
    data = write(tiny())
    stream = data[-72:]
    assert stream[:8].hex() == "a740020000000000"
    assert stream[8:12].hex() == "81040100" and stream[8 + 28 : 8 + 32].hex() == "40000000"
    assert struct.unpack_from("<I", data, 8)[0] == len(data) - 48 - 72


def test_writing_is_deterministic():
    assert write(full()) == write(full())
    late = full()
    late.build_time = "2025-01-01 00:00:00"
    assert write(late) != write(full())


def test_build_time_from_the_environment(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86399")
    model = tiny()
    model.build_time = ""
    assert read(write(model)).build_time == "1970-01-01 23:59:59"


def test_old_header_without_a_chip():
    """Version 1.0: 32 bytes, always cv183x (section 2)."""
    model = tiny("cv183x")
    model.version = (1, 0, 0)
    data = write(model)
    assert len(data) == len(write(tiny("cv183x"))) - 16 and data[30:32] == b"Cv"
    assert read(data, verify=True) == model


def test_address_codes():
    assert address(3) == 0x0000030000000000 and address(2, 64) == 0x20000000040
    assert (selector(address(7, 5)), low_offset(address(7, 5))) == (7, 5)
    assert selector(-1) == -1


def test_sizes_are_filled_in():
    assert Tensor("t", -1, DType.BF16, (2, 3, 4, 5)).size == 240
    assert Tensor("t", -1, DType.BF16, (2, 3, 4, 5), size=0).size == 0


def test_shapes_of_foreign_files():
    """Fewer than four dims are padded with 1, more are accepted if the rest is 1 (section 13)."""
    three = tiny()
    three.programs[0].tensors[0].shape = (1, 1, 64, 1)
    data = write(three)
    dims = struct.pack("<I4q", 4, 1, 1, 64, 1)
    assert data.count(dims) == 1
    assert read(data.replace(dims, struct.pack("<I4q", 3, 1, 1, 64, 1))).programs == (
        three.programs
    )


def test_gaps_between_sections_are_fine():
    """Section.offset is what counts; the writer packs again."""
    model = tiny()
    model.sections[0].data = bytes(8)
    data = bytearray(write(model))
    size = struct.unpack_from("<I", data, 8)[0]
    table = FlatBuffer(bytes(data[48 : 48 + size]), "Model").root().tables(7, "sections")[1]
    struct.pack_into("<I", data, 48 + table._field(3, 4, 4, "offset"), 24)
    data[48 + size + 8 : 48 + size + 8] = b"\xee" * 16
    back = read(bytes(data))
    assert back.sections[1].data == copy_stream("cv181x") and back.sections[1].offset == 24
    assert read(write(back)).sections[1].offset == 8


def broken(change) -> bytes:
    model = full()
    change(model)
    return write(model)


def first(model):
    return model.programs[0]


CASES = {
    "version": (lambda m: setattr(m, "version", (1, 5, 0)), r"Model\.version: 1\.5\.0"),
    "newer major": (lambda m: setattr(m, "version", (2, 0, 0)), r"Model\.version: 2\.0\.0"),
    "chip": (lambda m: setattr(m, "chip", "cv999x"), r"header\.chip: 'cv999x'"),
    "no program": (lambda m: m.programs.clear(), r"Model\.programs: is empty"),
    "duplicate name": (
        lambda m: setattr(first(m).tensors[2], "name", "a"),
        r"programs\[0\]\.tensor_map\[2\]\.name: 'a' is there twice",
    ),
    "unknown input": (
        lambda m: first(m).inputs.append("zzz"),
        r"input_tensors\[1\]: no tensor 'zzz'",
    ),
    "unknown in routine": (
        lambda m: first(m).routines[1].outputs.append("w0"),
        r"routines\[1\]\.out_tensors\[1\]: no tensor 'w0'",
    ),
    "weight in tpu routine": (
        lambda m: first(m).routines[0].inputs.append("w0"),
        r"routines\[0\]\.in_tensors\[1\]: no tensor 'w0'",
    ),
    "no section": (
        lambda m: setattr(first(m).routines[0], "section", "gone"),
        r"section 'gone' is absent",
    ),
    "wrong section": (
        lambda m: setattr(first(m).routines[0], "section", "custom"),
        r"section 'custom' is x86_64",
    ),
    "weight region": (
        lambda m: setattr(first(m).tensors[1], "offset", address(1, 0)),
        r"tensor_map\[1\]\.offset: 0x10000000000 of 'a' is no address",
    ),
    "high bits": (
        lambda m: setattr(first(m).tensors[1], "offset", 1 << 43),
        r"is no address of an activation",
    ),
    "region": (
        lambda m: setattr(first(m), "private_gmem", 64),
        r"32 \+ 72 bytes of 'a' leave region 2 of 64",
    ),
    "io at 0": (
        lambda m: setattr(first(m).tensors[1], "offset", address(5, 16)),
        r"'a' begins io buffer 5 at 16 instead of 0",
    ),
    "io view": (
        lambda m: setattr(first(m).tensors[1], "offset", address(3, 250)),
        r"250 \+ 72 bytes of 'a' leave region 3 of 256",
    ),
    "neuron": (
        lambda m: setattr(m.programs[1], "neuron_size", 40),
        r"programs\[1\].*leave region 0 of 40",
    ),
    "shape": (
        lambda m: setattr(first(m).tensors[0], "shape", (1, -1, 2, 2)),
        r"tensor_map\[0\]\.shape\.dim: \[1, -1, 2, 2\]",
    ),
    "huge": (
        lambda m: first(m).tensors.append(
            Tensor("h", -1, DType.FP32, (1, 1 << 15, 1 << 14, 1), size=1)
        ),
        r"tensor_map\[4\]\.shape: .* is 2 GiB or more",
    ),
    "weight place": (
        lambda m: setattr(m.weights[1], "size", 9),
        r"weight_map\[1\]\.offset: 16 \+ size 9 of 'w1' leaves the weight section of 24",
    ),
    "weight selector": (
        lambda m: setattr(m.weights[0], "offset", 0),
        r"weight_map\[0\]\.offset: 0x0 of 'w0'",
    ),
    "compress": (
        lambda m: setattr(m.sections[1], "compress", True),
        r"sections\[1\]\.decompressed_size: 0 of 'run'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_inconsistent_models_are_named(case):
    change, message = CASES[case]
    with pytest.raises(UserInputError, match=message):
        read(broken(change))


def test_checksum_is_a_warning_unless_asked():
    data = bytearray(write(tiny()))
    data[20] ^= 1
    assert "checksum" in read(bytes(data)).warnings[0]
    with pytest.raises(UserInputError, match=r"header\.md5"):
        read(bytes(data), verify=True)


def test_nominal_weight_size_is_a_warning():
    model = full()
    model.weights.append(Weight("w2", address(1, 0), 4, (3, 1, 1, 1), DType.INT8))
    assert read(write(model), verify=True).warnings == [
        "weight 'w2': 4 bytes stored, 3 by its shape [3, 1, 1, 1]"
    ]


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, 0xA6, "byte 0 of 'run' does not begin a packet of cv181x"),
        (72 + 2, 3, "byte 72 of 'run' does not begin a packet"),
        (72 + 1, 65, "packet at byte 72 of 'run' has a body of 65 bytes"),
        (144 + 2, 0, "packet at byte 144 of 'run' has a body of 64 bytes"),
    ],
)
def test_packets_are_checked_on_demand(position, value, message):
    model = full()
    stream = bytearray(model.sections[1].data)
    stream[position] = value
    model.sections[1].data = bytes(stream)
    data = write(model)
    assert read(data) == model
    with pytest.raises(UserInputError, match=message):
        read(data, verify=True)


def test_dmabuf_routines_name_their_section():
    model = tiny()
    model.sections[1].kind = "dmabuf"
    assert read(write(model)) == model


def test_load_and_save(tmp_path):
    path = tmp_path / "m.cvimodel"
    assert cvimodel.load(cvimodel.save(full(), path)) == full()
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserInputError, match=r"m\.cvimodel: header\.body_size: .* is it cut"):
        cvimodel.load(path)
    with pytest.raises(UserInputError, match="no such file"):
        cvimodel.load(tmp_path / "gone")


def test_cpu_only_and_empty_programs():
    """Programs without routines or inputs are legal for us (section 8)."""
    model = tiny()
    program = model.programs[0]
    program.inputs, program.outputs, program.routines = [], [], []
    model.sections = [Section("weight", "weight")]
    assert read(write(model)) == model
    program.routines = [Routine("cpu", ["in"], ["out"], function="softmax", args={"axis": 1})]
    assert read(write(model)) == model
