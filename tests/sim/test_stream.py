"""Packets, ids, ranges: what a stream may look like, and what the error says."""

from __future__ import annotations

import numpy as np
import pytest
from sim.compare import byte_copy
from sim.simlib import Program, Sim, SimError, compiler, kernel_name
from tpuforge.compiler.chip import CHIPS, Chip
from tpuforge.compiler.isa.cv18xx.stream import encode_tdma, encode_tiu, packet

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler")
CHIP = CHIPS["cv181x"]


def copy_command(chip: Chip, id: int, wait: int, **more: int) -> bytes:
    """TIU copy of lane bytes 0..15 to 64..79."""
    f = {"cmd_en": 1, "cmd_id_en": 1, "cmd_id_tpu": id, "cmd_id_gdma": wait, "tsk_typ": 3,
         "tsk_eu_typ": 10, "tsk_opd_num": 1, "opt_opd2_seg": 1, "opt_res_shift": 0,
         "opt_shift_typ": 0, "opt_relu_typ": 0, "opt_opd1_sign": 0, "opt_opd2_sign": 0,
         "opt_rshift_typ": 0, "res0_addr": 64, "short_res0_str": 3, "short_opd0_str": 3,
         "res0_n_str": 16, "res0_c_str": 16, "res0_h_str": 16, "opd0_h_str": 16}  # fmt: skip
    return packet(chip, "tiu", encode_tiu(chip.generation, f | more))


def refused(chip: str, stream: bytes, code: str, text: str) -> None:
    with pytest.raises(SimError) as error:
        Program(chip, stream)
    assert error.value.code == code and text in error.value.text, str(error.value)


def test_copy_through_local_memory() -> None:
    for name, chip in CHIPS.items():
        memory = np.arange(200, dtype=np.uint8)
        stream = (byte_copy(chip, 0, 0, 0, 16, 1, 0) + copy_command(chip, 1, 1) +
                  byte_copy(chip, 1, 64, 100, 16, 2, 1))  # fmt: skip
        Sim(name).run(stream, {0: memory})
        assert (memory[100:116] == np.arange(16)).all()
        assert (memory[116:] == np.arange(116, 200)).all()


def test_local_memory_persists_between_runs() -> None:
    sim, memory = Sim("cv180x"), np.arange(64, dtype=np.uint8)
    sim.run(byte_copy(CHIPS["cv180x"], 0, 7, 0, 32, 1, 0), {0: memory})
    assert (sim.lmem[0, 7:39] == np.arange(32)).all() and not sim.lmem[0, 39:].any()


def test_order_of_engines() -> None:
    """The load waits for the TIU command although it comes first in the stream."""
    sim, memory = Sim("cv181x"), np.full(64, 9, np.uint8)
    sim.lmem[0, :16] = 5
    sim.run(byte_copy(CHIP, 0, 0, 0, 16, 1, 1) + copy_command(CHIP, 1, 0), {0: memory})
    assert (sim.lmem[0, 64:80] == 5).all() and (sim.lmem[0, :16] == 9).all()


def test_wait_for_an_id_in_a_gap() -> None:
    memory = np.zeros(64, np.uint8)
    Sim("cv181x").run(byte_copy(CHIP, 0, 0, 0, 16, 9, 0) + copy_command(CHIP, 1, 4), {0: memory})


def test_deadlock() -> None:
    refused("cv181x", byte_copy(CHIP, 0, 0, 0, 16, 1, 1) + copy_command(CHIP, 1, 1), "DEADLOCK",
            "command 1 (TIU): waits for id 1 of the TDMA, which has finished 0")  # fmt: skip


def test_ids_must_increase() -> None:
    one = byte_copy(CHIP, 0, 0, 0, 16, 3, 0)
    refused("cv181x", one + one, "BAD_STREAM", "id 3 follows id 3")


def test_packets() -> None:
    good = copy_command(CHIP, 1, 0)
    Program("cv181x", good)
    Program("cv181x", b"")
    Program("cv181x", bytes([0xA7, 224, 1, 0, 0, 0, 0, 0]) + bytes(224) + good)  # CPU marker
    Program("cv181x", bytes([0xA7, 0, 0, 0, 112, 0, 0, 0]) + good[8:])  # long length
    refused("cv181x", good[:-1], "BAD_STREAM", "cut off")
    refused("cv181x", good + b"\0", "BAD_STREAM", "stray")
    refused("cv182x", good, "BAD_STREAM", "magic 0xa7, cv182x needs 0xa6")
    refused("cv181x", bytes([0xA7, 64]) + good[2:], "BAD_STREAM", "engine 0 with 64 bytes")
    refused("cv181x", bytes([0xA7, 112, 3]) + good[3:], "BAD_STREAM", "engine 3")
    refused("cv99", good, "UNSUPPORTED", "unknown chip")


def test_field_errors() -> None:
    refused("cv181x", copy_command(CHIP, 1, 0, res0_addr=8 * 32768), "RANGE", "res0_addr")
    refused("cv181x", copy_command(CHIP, 1, 0, res0_addr=32760), "RANGE", "ends at byte 32776")
    refused("cv181x", copy_command(CHIP, 1, 0, opd0_c=2), "BAD_STREAM", "opd0_c = 2")
    refused("cv181x", copy_command(CHIP, 1, 0, tsk_typ=4), "UNSUPPORTED", "tsk_typ = 4")
    refused("cv181x", copy_command(CHIP, 1, 0, cmd_en=0), "BAD_STREAM", "cmd_en")


def test_regions() -> None:
    load = byte_copy(CHIP, 0, 0, 100, 50, 1, 0)
    with pytest.raises(SimError, match=r"command 0 \(TDMA\): access up to byte 150 of region 0"):
        Sim("cv181x").run(load, {0: np.zeros(149, np.uint8)})
    with pytest.raises(SimError, match="RANGE"):
        Sim("cv181x").run(load, {})
    readonly = np.zeros(150, np.uint8)
    readonly.flags.writeable = False
    Sim("cv181x").run(load, {0: readonly})
    with pytest.raises(SimError, match="read-only"):
        Sim("cv181x").run(byte_copy(CHIP, 1, 0, 100, 50, 1, 0), {0: readonly})
    with pytest.raises(SimError, match="program for cv181x, simulator of cv182x"):
        Sim("cv182x").run(Program("cv181x", load), {0: readonly})


def test_ddr_start_of_generation_a() -> None:
    chip = CHIPS["cv183x"]
    f = {"vld": 1, "bar_en": 1, "cmd_id": 1, "trans_fmt": 1, "src_n_stride": 16}
    refused("cv183x", packet(chip, "tdma", encode_tdma(f)), "RANGE", "DDR starts at 0x100000000")


def test_huge_shapes_are_refused() -> None:
    f = {"cmd_id": 1, "bar_en": 1, "spec_func": 4, "src_n": 65535, "dst_c": 65535, "dst_h": 65535,
         "dst_w": 65535, "trans_dir": 1, "dst_n_stride": 0, "dst_c_stride_low": 0}  # fmt: skip
    refused("cv181x", packet(CHIP, "tdma", encode_tdma(f)), "UNSUPPORTED", "too large")


def test_kernel_name() -> None:
    assert kernel_name() in ("scalar", "avx2", "avx512vnni")
