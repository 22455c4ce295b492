"""Text of `model_tool --info`, `cvimodel_tool -a dump` and the extract actions (formats/cvimodel.md
section 14)."""

from __future__ import annotations

import hashlib

from .cvimodel_tables import (
    IO_BASES,
    PRIVATE,
    SHARED,
    SYSTEM_MEMORY,
    Model,
    Program,
    Section,
    Tensor,
    low_offset,
    selector,
)

_DIMS = "{:<4} {:<4} {:<4} {:<4} "


def info(model: Model, *, encryption: bool = False) -> str:
    """The whole text of section 14.1. encryption: with the columns ENCRYPT and COMPRESS of
    cvimodel_tool (behind its own two first lines, which are not part of this text)."""
    lines = [*_head(model), "", *_sections(model, encryption), "", *_weights(model)]
    for index, program in enumerate(model.programs):
        lines += ["", f"Program #{index}", *_program(program)]
    return "\n".join(lines) + "\n"


def chip_line(model: Model) -> str:
    """`For <target> chip ONLY`."""
    return f"For {model.target or model.chip} chip ONLY"


def device_bytes(model: Model) -> int:
    """ "Need ION": sections + own regions of all programs + largest shared region + io tensors,
    dense."""
    total = sum(len(s.data) for s in model.sections)
    total += sum(p.neuron_size + p.private_gmem for p in model.programs)
    total += max((p.shared_gmem for p in model.programs), default=0)
    tensors = (t for p in model.programs for t in p.tensors)
    return total + sum(t.dense_bytes for t in tensors if selector(t.offset) in IO_BASES)


def _head(model: Model) -> list[str]:
    lines = [] if model.mlir_version is None else [f"Mlir Version: {model.mlir_version}"]
    lines.append("Cvimodel Version: " + ".".join(map(str, model.version)))
    lines.append(f"{model.name} Build at {model.build_time}")
    if model.target is not None:
        lines.append(chip_line(model))
    lines.append(f"CviModel Need ION Memory Size: ({device_bytes(model) / (1 << 20):.2f} MB)")
    return lines


def _sections(model: Model, encryption: bool) -> list[str]:
    columns = f"{'ENCRYPT':<12}{'COMPRESS':<12}" if encryption else ""
    lines = [
        "Sections:",
        f"{'ID':<3}  {'TYPE':<10}{'NAME':<25}{'SIZE':<12}{'OFFSET':<12}{columns}MD5",
    ]
    position = 0
    for index, section in enumerate(model.sections):
        offset = position if section.offset is None else section.offset
        position = offset + len(section.data)
        columns = f"{section.encrypt!s:<12}{section.compress!s:<12}" if encryption else ""
        digest = hashlib.md5(section.contents()).hexdigest()
        lines.append(
            f"{index:03d}  {section.kind:<10}{section.name:<25}{len(section.data):<12}{offset:<12}"
            f"{columns}{digest}"
        )
    return lines


def _weights(model: Model) -> list[str]:
    lines = [
        "WeightMap:",
        f"{'ID':<3}  {'OFFSET':<10}{'SIZE':<10}{'TYPE':<8}{_DIMS.format(*'NCHW')}NAME",
    ]
    for index, weight in enumerate(model.weights):
        lines.append(
            f"{index:03d}  {_low(weight.offset):<10}{weight.size:<10}{weight.dtype.word:<8}"
            f"{_DIMS.format(*weight.shape)}{weight.name}"
        )
    return lines


def _program(program: Program) -> list[str]:
    def field(label: str, value: object) -> str:
        return f"    {label:<12}: {value}"

    lines = [field("batch_num", program.batch_num)]
    if program.neuron_size:
        lines.append(field("neuron_size", program.neuron_size))
    else:
        lines.append(field("private_gmem_size", program.private_gmem))
        lines.append(field("shared_gmem_size", program.shared_gmem))
    lines.append(field("inputs", ",".join(program.inputs)))
    lines.append(field("outputs", ",".join(program.outputs)))
    lines.append(f"    {'routines':<12}:")
    for index, routine in enumerate(program.routines):
        label, what = (
            ("section", routine.section)
            if routine.kind == "tpu"
            else ("function", routine.function)
        )
        lines.append(f"     #{index:02d}  {routine.kind}")
        lines.append(f"        {'inputs':<8}: {','.join(routine.inputs)}")
        lines.append(f"        {'outputs':<8}: {','.join(routine.outputs)}")
        lines.append(f"        {label:<8}: {what}")
    return [*lines, "", *_tensors(program)]


def _tensors(program: Program) -> list[str]:
    head = (
        f"{'ID':<3}  {'OFFSET':<12}{'TYPE':<6}{_DIMS.format(*'NCHW')}{'QSCALE':<10} {'MEM':<7} NAME"
    )
    lines = [f"    {'tensor_map':<12}:", f"        {head}"]
    overridden = _quantiser_scales(program)
    for index, tensor in enumerate(program.tensors):
        qscale = overridden.get(tensor.name, tensor.qscale)
        shown = f"{qscale:.6f}" if 0.000001 < qscale <= 400 else "-"
        lines.append(
            f"        {index:03d}  {_low(tensor.offset):<12}{tensor.dtype.word:<6}"
            f"{_DIMS.format(*tensor.shape)}{shown:<10} {memory(program, tensor):<7} {tensor.name}"
        )
    return lines


def _quantiser_scales(program: Program) -> dict[str, float]:
    """128 / threshold for the output of a `quant` routine from NONE to INT8 (section 7.1)."""
    scales = {}
    for routine in program.routines:
        args = routine.args
        threshold = args.get("threshold")
        if routine.function != "quant" or args.get("from") != "NONE" or args.get("to") != "INT8":
            continue
        if isinstance(threshold, float) and threshold and routine.outputs:
            scales[routine.outputs[0]] = 128.0 / threshold
    return scales


def memory(program: Program, tensor: Tensor) -> str:
    """Where a tensor lies: shared, private, io_mem; `   -` for memory of the CPU."""
    base = selector(tensor.offset)
    if tensor.offset == SYSTEM_MEMORY:
        return "   -"
    if base in IO_BASES:
        return "io_mem"
    return "private" if base == PRIVATE or (base == SHARED and program.neuron_size) else "shared"


def _low(code: int) -> int:
    """Low 32 bits of an address code as a signed number: -1 stays -1."""
    low = code & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def extract(model: Model) -> tuple[str, dict[str, bytes]]:
    """(text, file name -> bytes) of the extract actions (section 14.2).

    Command sections come out decompressed. Two programs whose files would have the same name get
    their index in it.
    """
    lines: list[str] = []
    files: dict[str, bytes] = {}
    base = _file_name(model.name)
    for index, program in enumerate(model.programs):
        if program.neuron_size:
            lines.append(f"neuron_size: {program.neuron_size}")
        else:
            lines += [
                f"private_mem_size: {program.private_gmem}",
                f"shared_gmem_size: {program.shared_gmem}",
            ]
        for routine in program.routines:
            if routine.kind != "tpu":
                continue
            section = model.section(routine.section)
            name = f"{base}_program_{program.batch_num}_{_stream_name(section)}.bin"
            if name in files:
                name = f"{base}_program_{program.batch_num}_{index}_{_stream_name(section)}.bin"
            files[name] = section.contents()
            lines += _routine_table(program, routine.section, routine.inputs, routine.outputs)
            lines.append(f"store section to {name}")
    weight = model.weight_section()
    if weight is not None:
        files[f"{base}_weight.bin"] = weight.contents()
        lines.append(f"store section to {base}_weight.bin")
    return "\n".join(lines) + "\n", files


def _stream_name(section: Section) -> str:
    return f"{section.kind}_{_file_name(section.name)}"


def _file_name(text: str) -> str:
    """A name from a file that nobody can trust: no folders, no control characters."""
    return "".join(c if c.isprintable() and c not in "/\\" else "_" for c in text)


def _routine_table(
    program: Program, section: str, inputs: list[str], outputs: list[str]
) -> list[str]:
    def row(*cells: object) -> str:
        return "  {:<6} {:<4} {:<4} {:<4} {:<4} {:<5} {:<7} {}".format(*cells)

    tensors = {t.name: t for t in program.tensors}
    lines = [f"routine #{section}", row("", "n", "c", "h", "w", "dtype", "offset", "name")]
    for label, names in ("[IN ]", inputs), ("[OUT]", outputs):
        for tensor in (tensors[n] for n in names):
            offset = -1 if tensor.offset == SYSTEM_MEMORY else low_offset(tensor.offset)
            lines.append(row(label, *tensor.shape, tensor.dtype.word, offset, tensor.name))
    return lines
