"""The TDMA word of all CV18xx chips: hw/cv18xx-tdma.md section 1."""

from typing import ClassVar

from ..word import Field, Word


class Tdma(Word):
    """512 bits: Field(low bit, high bit, reset value, meaning). Sections are those of hw/cv18xx-
    tdma.md.

    Four quantities are split in two fields; encoding also takes them whole (see `joined`).

    """

    size = 64
    joined: ClassVar[dict[str, tuple[str, str]]] = {
        "src_base_addr": ("src_base_addr_low", "src_base_addr_high"),
        "dst_base_addr": ("dst_base_addr_low", "dst_base_addr_high"),
        "src_c_stride": ("src_c_stride_low", "src_c_stride_high"),
        "dst_c_stride": ("dst_c_stride_low", "dst_c_stride_high"),
    }

    vld = Field(0, 0, 0, "write 1")
    compress_en = Field(1, 1, 0, "section 6")
    eod = Field(2, 2, 0, "last command of a dma-buffer segment")
    intp_en = Field(3, 3, 0, "interrupt (last of segment)")
    bar_en = Field(4, 4, 0, "1: wait on wait_id_tpu")
    check_bf16_value = Field(5, 5, 0, "write 0")
    trans_dir = Field(6, 7, 0, "0 DDR->local, 1 local->DDR, 2 DDR->DDR, 3 local->local")
    rsv00 = Field(8, 9, 0, "reserved")
    trans_fmt = Field(10, 10, 0, "0 tensor, 1 byte copy")
    transpose_md = Field(11, 12, 0, "0 n/c, 1 HWC 3 channels, 2 HWC 4 channels, 3 c/w")
    rsv01 = Field(13, 13, 0, "reserved")
    intra_cmd_paral = Field(14, 14, 0, "write 0")
    outstanding_en = Field(15, 15, 0, "write 0")
    cmd_id = Field(16, 31, 0, "own id")
    spec_func = Field(32, 34, 0, "0 copy, 1 transpose, 4 fill")
    dst_fmt = Field(35, 36, 1, "1: one byte, 2: bf16")
    src_fmt = Field(37, 38, 1, "1: one byte, 2: bf16")
    cmprs_fmt = Field(39, 39, 0, "section 6")
    sys_dtype = Field(40, 40, 0, "1 matrix (section 4.6)")
    rsv2_1 = Field(41, 44, 0, "reserved")
    int8_sign = Field(45, 45, 0, "8-bit side is signed (conversions)")
    compress_zero_guard = Field(46, 46, 0, "section 6")
    int8_rnd_mode = Field(47, 47, 0, "section 5.2")
    wait_id_tpu = Field(48, 63, 0, "start when TIU id >= this")
    wait_id_other_tdma = Field(64, 79, 0, "write 0")
    wait_id_sdma = Field(80, 95, 0, "write 0")
    const_val = Field(96, 111, 0, "fill value")
    src_base_reg_sel = Field(112, 114, 0, "base register of the source")
    mv_lut_idx = Field(115, 115, 0, "section 5.3")
    dst_base_reg_sel = Field(116, 118, 0, "base register of the destination")
    mv_lut_base = Field(119, 119, 0, "section 5.3")
    rsv4_5 = Field(120, 127, 0, "reserved")
    dst_h_stride = Field(128, 143, 1, "bytes")
    dst_c_stride_low = Field(144, 159, 1, "bytes, low 16 bits")
    dst_n_stride = Field(160, 191, 1, "bytes")
    src_h_stride = Field(192, 207, 1, "bytes")
    src_c_stride_low = Field(208, 223, 1, "bytes, low 16 bits")
    src_n_stride = Field(224, 255, 1, "bytes")
    dst_c = Field(256, 271, 1, "shape")
    src_c = Field(272, 287, 1, "shape")
    dst_w = Field(288, 303, 1, "shape")
    dst_h = Field(304, 319, 1, "shape")
    src_w = Field(320, 335, 1, "shape")
    src_h = Field(336, 351, 1, "shape")
    dst_base_addr_low = Field(352, 383, 0, "address bits 31..0")
    src_base_addr_low = Field(384, 415, 0, "address bits 31..0")
    src_n = Field(416, 431, 1, "shape")
    dst_base_addr_high = Field(432, 439, 0, "address bits 39..32")
    src_base_addr_high = Field(440, 447, 0, "address bits 39..32")
    src_c_stride_high = Field(448, 463, 0, "high 16 bits")
    dst_c_stride_high = Field(464, 479, 0, "high 16 bits")
    compress_bias0 = Field(480, 487, 0, "section 6")
    compress_bias1 = Field(488, 495, 0, "section 6")
    layer_ID = Field(496, 511, 0, "free (layer number)")
