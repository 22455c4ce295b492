"""Files: what loads, what is refused and with which code (api/cvi_nn.md section 9.1,
formats/cvimodel.md sections 2, 3, 6, 8, 10, 13)."""

import struct
from collections.abc import Callable
from typing import Any

import cvi_nn
import numpy as np
import pytest
from runtime import builder as b

DATA = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)
lz4_block = pytest.importorskip("lz4.block")


def run(data: bytes, x: np.ndarray = DATA) -> np.ndarray:
    model = cvi_nn.Model(data)
    return model.forward([x])[model.outputs[0].name]


def refused(data: bytes, name: str, text: str = "") -> None:
    """Loading (with tensors) or one run ends with this code; the message contains `text`."""
    with pytest.raises(cvi_nn.CviError) as error:
        run(data)
    assert (error.value.name, text in error.value.text) == (name, True), str(error.value)


def tiny_with(change: Callable[[b.Model, b.Program], Any], **kw: Any) -> bytes:
    model = b.tiny(**kw)
    change(model, model.programs[0])
    return model.write()


# ---- the worked example ----


def test_worked_example_of_the_specification():
    """The command bytes, address codes and layout of section 15 (the order of the tables inside the
    FlatBuffer is the builder's business)."""
    data = b.tiny().write()
    assert (
        data[:8] == b"CviModel" and data[12:14] == b"\1\4" and data[30:46] == b"cv181x" + bytes(10)
    )
    words = struct.unpack("<16I", data[-64:])
    assert words[:4] == (0x10481, 0x28, 0, 0x430000) and words[7] == 64 and words[13] == 1
    assert data[-72:-64] == bytes([0xA7, 0x40, 2, 0, 0, 0, 0, 0])
    assert (run(data) == DATA).all()


def test_header_fields_that_do_not_matter():
    data = bytearray(b.tiny().write())
    data[14:30] = bytes(16)
    data[46:48] = b"AA"
    data[40] = 7  # behind the NUL of the chip
    assert (run(bytes(data) + b"trailing") == DATA).all()


@pytest.mark.parametrize("version", [(1, 0, 0), (1, 1, 9), (1, 2, 0), (1, 4, 255)])
def test_versions_that_load(version):
    assert (run(b.tiny(version=version).write()) == DATA).all()


@pytest.mark.parametrize("version", [(1, 5, 0), (2, 0, 0), (0, 9, 0), (2, 5, 0)])
def test_versions_that_are_refused(version):
    refused(b.tiny(version=version).write(), "INVALID_ARG", "this runtime reads 1.0 to 1.4")


def test_header_of_version_1_0_is_for_cv183x():
    data = b.tiny("cv183x", header_version=(1, 0)).write()
    assert cvi_nn.Model(data).target == "cv183x" and (run(data) == DATA).all()


@pytest.mark.parametrize("absent", ["target", "mlir_version", "build_time", "weights"])
def test_optional_fields(absent):
    assert (run(b.tiny(**{absent: None}).write()) == DATA).all()


@pytest.mark.parametrize("absent", ["version", "name", "programs", "sections"])
def test_required_fields_of_the_model(absent):
    refused(b.tiny(**{absent: None}).write(), "DATA_ERR", f"'{absent}' is missing")


@pytest.mark.parametrize("absent", ["inputs", "outputs", "tensors", "routines"])
def test_required_fields_of_a_program(absent):
    data = tiny_with(lambda m, p: setattr(p, absent, None))
    refused(data, "DATA_ERR", "programs[0]")


@pytest.mark.parametrize("absent", ["name", "shape"])
def test_required_fields_of_a_tensor(absent):
    data = tiny_with(lambda m, p: setattr(p.tensors[1], absent, None))
    refused(data, "DATA_ERR", "programs[0].tensor_map[1]")


# ---- not a cvimodel ----


def test_every_truncation_is_an_error():
    data = b.tiny().write()
    for size in range(len(data)):
        with pytest.raises(cvi_nn.CviError) as error:
            cvi_nn.Model(data[:size])
        assert error.value.name in ("INVALID_ARG", "DATA_ERR")


def test_magic_and_chip():
    refused(b"X" + b.tiny().write()[1:], "INVALID_ARG", "CviModel")
    data = bytearray(b.tiny().write())
    data[30:36] = b"bm1684"
    refused(bytes(data), "INVALID_ARG", "bm1684")


def test_commands_of_another_chip():
    data = bytearray(b.tiny("cv182x").write())
    data[30:36] = b"cv181x"
    refused(bytes(data), "DATA_ERR", "section 'run'")


# ---- inconsistent content ----

CHANGES = {
    "no program": (lambda m, p: setattr(m, "programs", []), "'programs' is empty"),
    "unknown input": (lambda m, p: setattr(p, "inputs", ["x"]), "input_tensors[0]: no tensor 'x'"),
    "unknown output": (lambda m, p: setattr(p, "outputs", ["x"]), "no tensor 'x'"),
    "routine tensor": (lambda m, p: setattr(p.routines[0], "inputs", ["x"]), "routines[0]"),
    "no section": (lambda m, p: setattr(p.routines[0], "section", "x"), "no command section 'x'"),
    "wrong section": (
        lambda m, p: setattr(p.routines[0], "section", "weight"),
        "has type 0, not 1",
    ),
    "routine type": (lambda m, p: setattr(p.routines[0], "kind", 2), "type is 2"),
    "cpu routine": (lambda m, p: setattr(p.routines[0], "kind", 1), "'cpu_routine' is missing"),
    "dtype": (lambda m, p: setattr(p.tensors[0], "dtype", 8), "'dtype' is 8"),
    "five dims": (lambda m, p: setattr(p.tensors[0], "shape", [1, 1, 1, 64, 2]), "more than 4"),
    "negative dim": (lambda m, p: setattr(p.tensors[0], "shape", [1, 1, -1, 64]), "dim[2] is -1"),
    "huge dims": (lambda m, p: setattr(p.tensors[0], "shape", [65536, 65536, 1, 1]), "2 GiB"),
    "duplicate": (lambda m, p: setattr(p.tensors[0], "name", "in"), "used twice"),
    "weight region": (lambda m, p: setattr(p.tensors[0], "offset", b.io(1)), "selector"),
    "io not at 0": (lambda m, p: setattr(p.tensors[0], "offset", b.io(4, 16)), "starts at 16"),
    "high bits": (lambda m, p: setattr(p.tensors[0], "offset", 1 << 50), "selector"),
    "outside private": (lambda m, p: setattr(p.tensors[0], "offset", b.io(2)), "leave region 2"),
    "outside shared": (lambda m, p: setattr(p.tensors[0], "offset", b.io(0)), "leave region 0"),
    "aligned": (lambda m, p: setattr(p.tensors[0], "aligned", True), "without pixel_format"),
    "section range": (lambda m, p: setattr(m.sections[1], "size", 73), "73 bytes at 0"),
    "section offset": (
        lambda m, p: setattr(m.sections[1], "offset", 0xFFFFFFF0),
        "behind the body",
    ),
    "cut stream": (lambda m, p: setattr(m.sections[1], "data", m.sections[1].data[:-1]), "'run'"),
    "weight range": (
        lambda m, p: setattr(m, "weights", [b.Weight("w", 0, 1, [1])]),
        "weight_map[0]",
    ),
    "weight base": (
        lambda m, p: setattr(m, "weights", [b.Weight("w", 0, 0, [0], base=2)]),
        "weight_map[0]",
    ),
    "commands leave": (lambda m, p: setattr(p.tensors[1], "shape", [1, 1, 1, 63]), "section 'run'"),
    "bad lz4": (lambda m, p: setattr(m.sections[1], "decompressed", 72), "lz4"),
    "decompressed 0": (lambda m, p: setattr(m.sections[1], "compress", True), "decompressed_size"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_inconsistent_content(what):
    change, text = CHANGES[what]
    refused(tiny_with(change), "DATA_ERR", text)


def test_features_we_do_not_have():
    data = tiny_with(lambda m, p: setattr(m.sections[1], "encrypt", True))
    refused(data, "UNSUPPORT", "encrypted")
    data = tiny_with(lambda m, p: setattr(p.tensors[0], "pixel_format", "XYZ"))
    refused(data, "UNSUPPORT", "pixel_format 'XYZ'")
    routine = b.Routine(["in"], ["out"], function="mine")
    data = tiny_with(
        lambda m, p: (
            setattr(p, "routines", [routine]),
            m.sections.append(b.Section(2, "custom", b"\x7fELF")),
        )
    )
    refused(data, "UNSUPPORT", "'mine'")


def test_unknown_cpu_function():
    routine = b.Routine(["in"], ["out"], function="nonsense")
    refused(tiny_with(lambda m, p: setattr(p, "routines", [routine])), "DATA_ERR", "nonsense")


def test_missing_and_mistyped_cpu_arguments():
    for arguments, text in (
        ({}, "'from'"),
        ({"from": "FP32", "to": "INT8"}, "'threshold'"),
        ({"from": "FP32", "to": "INT8", "scale": 2}, "'scale' is not a float"),
    ):
        x = np.zeros((1, 1, 1, 64), np.float32)
        refused(b.cpu_model("quant", arguments, [x], [(x.shape, "int8")]), "DATA_ERR", text)
    routine = b.Routine(["in"], ["out"], function="quant", args=b"garbage!garbage!")
    refused(tiny_with(lambda m, p: setattr(p, "routines", [routine])), "DATA_ERR")


# ---- what else loads ----


def test_gaps_order_and_unknown_sections():
    def change(m: b.Model, p: b.Program) -> None:
        m.sections = [
            b.Section(9, "later", b"??"),
            *m.sections,
            b.Section(3, "custom", b"\x7fELF"),
            b.Section(1, "run", b"second of that name", size=0),
        ]

    assert (run(tiny_with(change)) == DATA).all()


def test_shapes_of_other_ranks():
    def change(m: b.Model, p: b.Program) -> None:
        p.tensors[0].shape, p.tensors[1].shape = [64], [1, 1, 1, 64, 1, 1]

    model = cvi_nn.Model(tiny_with(change))
    assert model.outputs[0].shape == (64, 1, 1, 1) and model.inputs[0].shape == (1, 1, 1, 64)
    empty = b.Program(["x"], ["x"], [b.Tensor("x", [1, 0, 3, 4])])
    assert (
        cvi_nn.Model(b.Model([empty]).write()).forward([np.zeros((1, 0, 3, 4), np.int8)])["x"].size
        == 0
    )


def test_program_without_inputs_routines_outputs():
    program = b.Program([], [], [b.Tensor("x", [1])])
    model = cvi_nn.Model(b.Model([program]).write())
    assert model.inputs == () and model.forward() == {}


def test_views_in_an_io_buffer_and_private_memory():
    """in (k 3) -> private at 128 -> second half of out's buffer (k 4)."""
    stream = b.copy_command("cv181x", (3, 0), (2, 128), 32, 1)
    stream += b.copy_command("cv181x", (2, 128), (4, 32), 32, 2)
    tensors = [
        b.Tensor("whole", [64], offset=b.io(4)),
        b.Tensor("in", [32], offset=b.io(3)),
        b.Tensor("middle", [32], offset=b.io(2, 128)),
        b.Tensor("half", [32], offset=b.io(4, 32)),
    ]
    program = b.Program(
        ["in"],
        ["half", "middle", "whole"],
        tensors,
        [b.Routine(["in"], ["half"], section="s")],
        private=160,
    )
    model = cvi_nn.Model(b.Model([program], [b.Section(1, "s", stream)]).write())
    x = np.arange(32, dtype=np.int8).reshape(32, 1, 1, 1)
    out = model.forward([x])
    assert (out["half"] == x).all() and (out["middle"] == x).all()
    assert (out["whole"][32:] == x).all() and not out["whole"][:32].any()


def test_old_program_with_one_neuron_region():
    """neuron_size > 0: bases 0 and 2 are the same memory (section 6.1)."""
    stream = b.copy_command("cv183x", (0, 0), (2, 64), 64, 1)
    tensors = [b.Tensor("in", [64], offset=b.io(0)), b.Tensor("out", [64], offset=b.io(0, 64))]
    program = b.Program(
        ["in"], ["out"], tensors, [b.Routine(["in"], ["out"], section="s")], neuron_size=128
    )
    model = b.Model(
        [program],
        [b.Section(1, "s", stream)],
        chip="cv183x",
        version=(1, 0, 0),
        header_version=(1, 0),
    )
    x = np.arange(64, dtype=np.int8).reshape(64, 1, 1, 1)
    assert (run(model.write(), x) == x).all()


def test_constants_reach_commands_and_are_read_only():
    weights = bytes(range(100, 164))
    tensors = [b.Tensor("out", [64], offset=b.io(4))]
    entries = [b.Weight("w", 0, 64, [64])]

    def model(src: tuple[int, int], dst: tuple[int, int]) -> bytes:
        sections = [
            b.Section(1, "s", b.copy_command("cv181x", src, dst, 64)),
            b.Section(0, "weight", weights),
        ]
        program = b.Program([], ["out"], tensors, [b.Routine([], ["out"], section="s")])
        return b.Model([program], sections, entries).write()

    out = cvi_nn.Model(model((1, 0), (4, 0))).forward()["out"]
    assert out.tobytes() == weights
    with pytest.raises(cvi_nn.CviError):
        cvi_nn.Model(model((4, 0), (1, 0))).forward()


def test_compressed_commands():
    def change(m: b.Model, p: b.Program) -> None:
        stream = b"".join(b.copy_command("cv181x", (3, 0), (4, 0), 64, i) for i in range(1, 100))
        packed = lz4_block.compress(stream, store_size=False)
        assert len(packed) < len(stream) / 2
        m.sections[1] = b.Section(1, "run", packed, decompressed=len(stream))

    assert (run(tiny_with(change)) == DATA).all()
    refused(
        tiny_with(lambda m, p: (change(m, p), setattr(m.sections[1], "decompressed", 7127))),
        "DATA_ERR",
        "lz4",
    )


def dmabuf(chip: str, commands: list[bytes]) -> bytes:
    """A dma buffer of TDMA packets in one segment (hw/cv18xx-driver.md section 5)."""
    bodies = [bytearray(c[8:]) for c in commands]
    for body in bodies:
        body[0] |= 0x10
    bodies[-1][0] |= 12
    start = 512
    header = struct.pack(
        "<HH5I",
        0xB5B5,
        0x1835 if chip == "cv183x" else 0x1822,
        start + 64 * len(bodies),
        1,
        0,
        len(bodies),
        0,
    ).ljust(128, b"\0")
    desc = struct.pack("<7I", 2, 0, len(bodies), 0, start, 0, 0) + b"layer_end"
    return (header + desc.ljust(224, b"\0")).ljust(start, b"\0") + b"".join(bodies)


@pytest.mark.parametrize("chip", b.CHIPS)
@pytest.mark.parametrize("packed", [False, True])
def test_dma_buffer_sections(chip, packed):
    def change(m: b.Model, p: b.Program) -> None:
        data = dmabuf(
            chip,
            [
                b.copy_command(chip, (3, 0), (4, 32), 32, 1),
                b.copy_command(chip, (3, 32), (4, 0), 32, 2),
            ],
        )
        stored = lz4_block.compress(data, store_size=False) if packed else data
        m.sections[1] = b.Section(4, "run", stored, decompressed=len(data) if packed else None)
        p.routines[0].dmabuf, p.routines[0].section = "run", None

    swapped = np.concatenate([DATA[..., 32:], DATA[..., :32]], axis=-1)
    assert (run(tiny_with(change, chip=chip)) == swapped).all()


def test_damaged_dma_buffers():
    good = dmabuf("cv181x", [b.copy_command("cv181x", (3, 0), (4, 0), 64)])
    for at, value in ((0, 0), (4, 0xFF), (8, 0xFF), (16, 0xFF), (128, 9), (136, 0xFF), (144, 0xFF)):
        data = bytearray(good)
        data[at : at + 4] = bytes([value] * 4)

        def change(m: b.Model, p: b.Program, data: bytes = bytes(data)) -> None:
            m.sections[1] = b.Section(4, "run", data)
            p.routines[0].dmabuf, p.routines[0].section = "run", None

        refused(tiny_with(change), "DATA_ERR")


# ---- image tensors ----

# chip, format, shape, bytes: formats/cvimodel.md section 7.3 with its measured values
ALIGNED = [
    ("cv181x", "RGB_PLANAR", [1, 3, 20, 24], 3840),
    ("cv183x", "RGB_PLANAR", [1, 3, 20, 24], 12288),
    ("cv181x", "YUV420_PLANAR", [1, 3, 20, 24], 3840),
    ("cv183x", "YUV420_PLANAR", [1, 3, 20, 24], 12288),
    ("cv181x", "YUV_NV21", [1, 3, 20, 24], 1920),
    ("cv183x", "YUV_NV12", [1, 3, 20, 24], 8192),
    ("cv181x", "RGB_PACKED", [1, 20, 24, 3], 2560),
    ("cv182x", "GRAYSCALE", [2, 1, 20, 24], 2560),
    ("cv180x", "RGBA_PLANAR", [2, 4, 5, 65], 2 * 4 * 640),
]


@pytest.mark.parametrize(("chip", "pixels", "shape", "size"), ALIGNED)
def test_aligned_sizes(chip, pixels, shape, size):
    tensor = b.Tensor("x", shape, "uint8", b.io(3), pixel_format=pixels, aligned=True)
    data = b.Model([b.Program(["x"], ["x"], [tensor])], chip=chip).write()
    model = cvi_nn.Model(data)
    assert model.inputs[0].nbytes == size and model.inputs[0].pixel_format == pixels
    assert (model.forward([np.full(size, 3, np.uint8)])["x"] == 3).all()
    tensor.size = 12345
    model = cvi_nn.Model(b.Model([b.Program(["x"], ["x"], [tensor])], chip=chip).write())
    assert model.inputs[0].nbytes == 12345


# ---- quant ----


def test_quant_conversions_are_exact():
    rng = np.random.default_rng(1)
    x = np.concatenate(
        [
            rng.normal(0, 60, 500),
            [
                0.5,
                -0.5,
                1.5,
                -1.5,
                2.5,
                126.5,
                127.5,
                -128.5,
                1e30,
                -1e30,
                np.inf,
                -np.inf,
                np.nan,
                0.49999997,
                -0.0,
            ],
        ]
    ).astype(np.float32)

    def half_away(v: np.ndarray) -> np.ndarray:
        v = np.where(np.isnan(v), 0, np.clip(v.astype(np.float64), -1000, 1000))
        return np.clip(np.sign(v) * np.floor(np.abs(v) + 0.5), -128, 127).astype(np.int8)

    for arguments, s in (
        ({"scale": 1.0}, 1.0),
        ({"threshold": 64.0}, 2.0),
        ({"scale": 0.7384}, np.float32(0.7384)),
    ):
        data = b.cpu_model(
            "quant", {"from": "FP32", "to": "INT8", **arguments}, [x], [((len(x),), "int8")]
        )
        assert (run(data, x).ravel() == half_away(x * np.float32(s))).all()
    q = np.arange(-128, 128, dtype=np.int8)
    for arguments, s in (({"scale": 0.3}, 0.3), ({"threshold": 3.0}, 3 / 128)):
        data = b.cpu_model(
            "quant", {"from": "INT8", "to": "NONE", **arguments}, [q], [((256,), "fp32")]
        )
        assert (run(data, q).ravel() == q * np.float32(s)).all()
    bits = rng.integers(0, 65536, 300).astype(np.uint16)
    data = b.cpu_model(
        "quant",
        {"from": "BF16", "to": "NONE", "scale": 1.0},
        [bits],
        [((300,), "fp32")],
        dtypes=["bf16"],
    )
    assert run(data, bits).tobytes() == (bits.astype(np.uint32) << 16).tobytes()
    finite = x[np.isfinite(x)]
    data = b.cpu_model(
        "quant", {"from": "NONE", "to": "BF16", "scale": 1.0}, [finite], [((len(finite),), "bf16")]
    )
    expected = (finite * np.float32(1.001957)).view(np.uint32) >> 16
    assert (run(data, finite).ravel() == expected).all()


def test_quant_from_none_sets_the_scale_of_its_output():
    x = np.ones(4, np.float32)
    arguments = {"from": "NONE", "to": "INT8", "threshold": 32.0}
    assert (
        cvi_nn.Model(b.cpu_model("quant", arguments, [x], [((4,), "int8")])).outputs[0].qscale
        == 4.0
    )


def test_quant_into_private_memory_before_commands():
    """fp32 input in an io buffer, int8 in private memory, copied out by a command."""
    x = np.linspace(-2, 2, 64, dtype=np.float32).reshape(1, 1, 1, 64)
    tensors = [
        b.Tensor("x", [1, 1, 1, 64], "fp32", b.io(3)),
        b.Tensor("q", [1, 1, 1, 64], offset=b.io(2)),
        b.Tensor("y", [1, 1, 1, 64], offset=b.io(4)),
    ]
    routines = [
        b.Routine(
            ["x"],
            ["q"],
            function="quant",
            args=b.cpu_args(**{"from": "FP32", "to": "INT8", "scale": 50.0}),
        ),
        b.Routine(["q"], ["y"], section="s"),
    ]
    program = b.Program(["x"], ["y"], tensors, routines, private=64)
    stream = b.copy_command("cv181x", (2, 0), (4, 0), 64)
    model = cvi_nn.Model(b.Model([program], [b.Section(1, "s", stream)]).write())
    expected = np.sign(x) * np.floor(np.abs(x * np.float32(50)) + 0.5)
    assert (model.forward([x])["y"] == expected).all()
    memory = cvi_nn.Context().alloc(256)  # the CPU routine reads the caller's device memory
    memory.view(np.float32)[:] = x.ravel() / 2
    model.inputs[0].bind(memory)
    expected = np.sign(x) * np.floor(np.abs(x / 2 * np.float32(50)) + 0.5)
    assert (model.forward()["y"] == expected).all()
