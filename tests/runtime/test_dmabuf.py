"""Dma buffers (hw/cv18xx-driver.md section 5) of real networks: an independent converter, its files
on our runtime and, for the chips whose simulator takes them, on the vendor's."""

import dataclasses
import struct
import subprocess
from pathlib import Path

import cvi_nn
import numpy as np
import pytest
from tpuforge.compiler.format import cvimodel


def packets(stream: bytes) -> list[tuple[bool, bytearray]]:
    out, pos = [], 0
    while pos < len(stream):
        length, engine = stream[pos + 1], stream[pos + 2] & 15
        out.append((engine == 2, bytearray(stream[pos + 8 : pos + 8 + length])))
        pos += 8 + length
    return out


def al(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def command_id(chip: str, is_tdma: bool, body: bytearray) -> int:
    if is_tdma:
        return struct.unpack_from("<H", body, 2)[0]
    if chip == "cv183x":
        return struct.unpack_from("<I", body)[0] >> 3 & 0xFFFF
    return struct.unpack_from("<H", body, 4)[0]


def convert(chip: str, stream: bytes) -> bytes:
    """Section 5.3, step by step."""
    segments: list[list[tuple[bool, bytearray]]] = [[]]
    all_packets = packets(stream)
    for i, (is_tdma, body) in enumerate(all_packets):
        segments[-1].append((is_tdma, body))
        if command_id(chip, is_tdma, body) == 0xFFFF and i + 1 < len(all_packets):
            segments.append([])
    tiu_off = al(128 + 224 * len(segments), 256)
    tiu_area, tdma_area, descriptors = b"", b"", []
    for segment in segments:
        tius = [body for is_tdma, body in segment if not is_tdma]
        tdmas = [body for is_tdma, body in segment if is_tdma]
        descriptors.append((len(tius), len(tdmas), len(tiu_area), len(tdma_area)))
        if tius:
            tius[-1][0] |= 2
            tius[-1][4 if chip == "cv183x" else 0] |= 0x10
            for body in tius:
                for beat in range(7):
                    body[16 * beat + 15] |= beat << 4
                body[:16], body[96:] = body[96:], body[:16]
            tiu_area += b"".join(bytes(b) for b in tius) + bytes(128)
            tiu_area += bytes(-len(tiu_area) % 256)
        for body in tdmas:
            body[0] |= 0x10
        if tdmas:
            tdmas[-1][0] |= 12
        tdma_area += b"".join(bytes(b) for b in tdmas)
    tdma_off = al(tiu_off + len(tiu_area), 64)
    counts = [sum(d[i] for d in descriptors) for i in (0, 1)]
    magic = 0x1835 if chip == "cv183x" else 0x1822
    out = struct.pack("<HH5I", 0xB5B5, magic, tdma_off + len(tdma_area), len(segments), *counts, 0)
    out = out.ljust(128, b"\0")
    for tius, tdmas, tiu_at, tdma_at in descriptors:
        words = (
            2,
            tius,
            tdmas,
            tiu_off + tiu_at if tius else 0,
            tdma_off + tdma_at if tdmas else 0,
        )
        out += (struct.pack("<5I", *words) + bytes(8) + b"layer_end").ljust(224, b"\0")
    return (out.ljust(tiu_off, b"\0") + tiu_area).ljust(tdma_off, b"\0") + tdma_area


def with_dmabufs(path: Path) -> bytes:
    model = cvimodel.load(path)
    model.sections = [
        dataclasses.replace(s, kind="dmabuf", data=convert(model.chip, s.data))
        if s.kind == "cmdbuf"
        else s
        for s in model.sections
    ]
    return cvimodel.write(model)


NAMES = [
    f"tiny_{n}_{c}"
    for n in ("mobilenet", "resnet")
    for c in ("cv183x", "cv182x", "cv181x", "cv180x")
]


def data_of(vendor_dir: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    network = name.rsplit("_", 1)[0]
    x = np.load(vendor_dir / f"{network}_in.npz")["input"]
    return x, np.load(vendor_dir / f"{name}_out.npz")["output_Gemm_f32"]


@pytest.mark.parametrize("name", NAMES)
def test_networks_as_dma_buffers(vendor_dir, name):
    x, expected = data_of(vendor_dir, name)
    model = cvi_nn.Model(with_dmabufs(vendor_dir / f"{name}.cvimodel"))
    assert model.forward([x])["output_Gemm_f32"].tobytes() == expected.tobytes()


@pytest.mark.parity
@pytest.mark.parametrize("name", ["tiny_mobilenet_cv183x", "tiny_resnet_cv182x"])
def test_the_vendor_runs_them(oracle, vendor_dir, name):
    """Its simulator refuses dma buffers of cv181x and cv180x (formats/cvimodel.md section 10)."""
    x, expected = data_of(vendor_dir, name)
    out = oracle.vendor_run(with_dmabufs(vendor_dir / f"{name}.cvimodel"), {"input": x})
    assert out["output_Gemm_f32"].tobytes() == expected.tobytes()


@pytest.mark.model
@pytest.mark.parametrize("name", [*NAMES, "mobilenet_v2_cv183x", "mobilenet_v2_cv180x"])
def test_our_converter_in_c(c_program, vendor_dir, tmp_path, name):
    """The same bytes as the Python one; and back: the same commands per engine."""
    program = c_program("convert", "address,undefined")
    model = cvimodel.load(vendor_dir / f"{name}.cvimodel")
    for section in model.sections:
        if section.kind != "cmdbuf":
            continue
        (tmp_path / "stream").write_bytes(section.data)
        subprocess.run(
            [program, model.chip, "todma", tmp_path / "stream", tmp_path / "dma"], check=True
        )
        assert (tmp_path / "dma").read_bytes() == convert(model.chip, section.data)
        subprocess.run(
            [program, model.chip, "tostream", tmp_path / "dma", tmp_path / "back"], check=True
        )
        before, after = packets(section.data), packets((tmp_path / "back").read_bytes())
        for engine in (False, True):
            old = [body for is_tdma, body in before if is_tdma == engine]
            new = [body for is_tdma, body in after if is_tdma == engine]
            for body in old:  # what a dma buffer does not keep
                if engine:
                    body[0] = (body[0] | 0x10) & ~12
                elif model.chip != "cv183x":
                    for beat in range(7):
                        body[16 * beat + 15] |= beat << 4
            assert old == new
