"""Is a Model consistent in itself? (formats/cvimodel.md section 13; the tables themselves are the
reader's)

Raises UserInputError that names table, element and value. The work is linear in the size of the
model, so that a hostile file can not make it long.
"""

from __future__ import annotations

from collections.abc import Collection

from ..chip import CHIPS
from ..errors import UserInputError
from .cvimodel_tables import (
    STREAM_KINDS,
    SYSTEM_MEMORY,
    WEIGHT,
    Model,
    Program,
    Section,
    low_offset,
    selector,
)

_BODY_BYTES = {0: 112, 1: 224, 2: 64}  # engine -> bytes of a packet's body (section 11)


def check_consistent(model: Model) -> None:
    """Names resolve and are unique, constants and tensors lie in their regions. What is only odd
    goes to `model.warnings`."""
    _check_weights(model)
    constants = {w.name for w in model.weights}
    kinds: dict[str, str] = {}
    for section in model.sections:
        kinds.setdefault(section.name, section.kind)
    for index, program in enumerate(model.programs):
        _check_program(program, constants, kinds, f"Model.programs[{index}]")


def check_contents(model: Model) -> None:
    """Decompresses every section; a command section must be a row of whole packets of the model's
    chip.
    """
    for index, section in enumerate(model.sections):
        data = section.contents()
        if section.kind == "cmdbuf" and not section.encrypt:
            _check_packets(section, data, model.chip, f"Model.sections[{index}]")


def _check_weights(model: Model) -> None:
    """Constants lie in the weight section; a size that is not that of the shape is worth a
    warning.
    """
    section = model.weight_section()
    room = len(section.data) if section else 0
    for index, weight in enumerate(model.weights):
        start = low_offset(weight.offset)
        if start + weight.size > room:
            raise UserInputError(
                f"Model.weight_map[{index}].offset: {start} + size {weight.size} of "
                f"{weight.name!r} leaves the weight section of {room} bytes"
            )
        count = weight.dtype.itemsize
        for dim in weight.shape:
            count *= dim
        if weight.size != count:
            model.warnings.append(
                f"weight {weight.name!r}: {weight.size} bytes stored, {count} by its shape "
                f"{list(weight.shape)}"
            )


def _check_program(
    program: Program, constants: set[str], kinds: dict[str, str], where: str
) -> None:
    names: set[str] = set()
    for index, tensor in enumerate(program.tensors):
        if tensor.name in names:
            raise UserInputError(
                f"{where}.tensor_map[{index}].name: {tensor.name!r} is there twice"
            )
        names.add(tensor.name)
    _check_addresses(program, where)
    readable = names | constants
    _check_names(program.inputs, names, f"{where}.input_tensors")
    _check_names(program.outputs, names, f"{where}.output_tensors")
    for index, routine in enumerate(program.routines):
        place = f"{where}.routines[{index}]"
        known = readable if routine.kind == "cpu" else names
        _check_names(routine.inputs, known, f"{place}.in_tensors")
        _check_names(routine.outputs, names, f"{place}.out_tensors")
        kind = kinds.get(routine.section, "absent")
        if routine.kind == "tpu" and kind not in STREAM_KINDS:
            raise UserInputError(
                f"{place}.tpu_routine: section {routine.section!r} is {kind}, not a command section"
            )


def _check_names(used: list[str], known: Collection[str], where: str) -> None:
    for index, name in enumerate(used):
        if name not in known:
            raise UserInputError(f"{where}[{index}]: no tensor {name!r} in the program")


def _check_addresses(program: Program, where: str) -> None:
    """low offset + bytes <= size of the region (section 6); the first tensor of an io buffer is at
    its begin.
    """
    if program.neuron_size:
        room = {0: program.neuron_size, 2: program.neuron_size}
    else:
        room = {0: program.shared_gmem, 2: program.private_gmem}
    for index, tensor in enumerate(program.tensors):
        if tensor.offset == SYSTEM_MEMORY:
            continue
        place = f"{where}.tensor_map[{index}].offset"
        base, start = selector(tensor.offset), low_offset(tensor.offset)
        if tensor.offset < 0 or tensor.offset >> 43 or base == WEIGHT:
            raise UserInputError(
                f"{place}: {tensor.offset:#x} of {tensor.name!r} is no address of an activation"
            )
        if base not in room:
            if start:
                raise UserInputError(
                    f"{place}: {tensor.name!r} begins io buffer {base} at {start} instead of 0"
                )
            room[base] = tensor.buffer_bytes
        if start + tensor.buffer_bytes > room[base]:
            raise UserInputError(
                f"{place}: {start} + {tensor.buffer_bytes} bytes of {tensor.name!r} leave region "
                f"{base} of {room[base]} bytes"
            )


def _check_packets(section: Section, data: bytes, chip: str, where: str) -> None:
    """Magic, engine and length of every packet; the last one ends with the section."""
    magic, pos = CHIPS[chip].magic, 0
    while pos < len(data):
        if pos + 8 > len(data) or data[pos] != magic or data[pos + 2] not in _BODY_BYTES:
            raise UserInputError(
                f"{where}: byte {pos} of {section.name!r} does not begin a packet of {chip}"
            )
        length = data[pos + 1] or int.from_bytes(data[pos + 4 : pos + 8], "little")
        if length != _BODY_BYTES[data[pos + 2]] or pos + 8 + length > len(data):
            raise UserInputError(
                f"{where}: packet at byte {pos} of {section.name!r} has a body of {length} bytes"
            )
        pos += 8 + length
