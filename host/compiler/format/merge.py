"""Several `.cvimodel` files into one over a common weight section (formats/cvimodel.md section 12),
and compression."""

from __future__ import annotations

import copy
from dataclasses import replace

from ..errors import OptionError, UserInputError
from . import lz4
from .cvimodel_tables import STREAM_KINDS, Model, Program, Section, Weight, low_offset


def merge(models: list[Model], names: list[str] | None = None) -> Model:
    """One model with all programs in order (section 12.3); names: how the files are called in
    messages.

    Raises UserInputError when chips differ, streams are of two kinds, or two files want different
    bytes at one place of the weights. build_time is left empty: the writer fills it.
    """
    if not models:
        raise OptionError("nothing to merge: name two or more cvimodel files")
    names = names or [f"{m.name} (file {i})" for i, m in enumerate(models)]
    _check_alike(models, names)
    weights = _overlay(models, names)
    sections = [] if weights is None else [Section("weight", "weight", weights)]
    programs: list[Program] = []
    entries: dict[tuple[str, int, int], Weight] = {}
    for index, model in enumerate(models):
        for section in model.sections:
            if section.kind != "weight":
                name = f"{section.name}_{index}" if section.kind in STREAM_KINDS else section.name
                sections.append(replace(section, name=name, offset=None))
        for program in copy.deepcopy(model.programs):
            for routine in program.routines:
                if routine.kind == "tpu":
                    routine.section = f"{routine.section}_{index}"
            programs.append(program)
        for weight in model.weights:
            entries.setdefault((weight.name, weight.offset, weight.size), weight)
    first = models[0]
    return Model(
        name=first.name,
        chip=first.chip,
        programs=programs,
        sections=sections,
        weights=list(entries.values()),
        target=first.target,
        mlir_version=first.mlir_version,
    )


def _check_alike(models: list[Model], names: list[str]) -> None:
    """One chip, one kind of command sections, nothing encrypted."""
    kinds: dict[str, str] = {}
    for model, name in zip(models, names, strict=True):
        if model.chip != models[0].chip:
            raise UserInputError(
                f"can not merge: {names[0]} is for {models[0].chip}, {name} is for {model.chip}; "
                "compile them for one chip"
            )
        for section in model.sections:
            if section.encrypt:
                raise UserInputError(
                    f"can not merge: section {section.name!r} of {name} is encrypted"
                )
            if section.kind in STREAM_KINDS:
                kinds.setdefault(section.kind, name)
    if len(kinds) > 1:
        raise UserInputError(
            f"can not merge: {kinds['cmdbuf']} has CMDBUF and {kinds['dmabuf']} has DMABUF sections"
        )


def _overlay(models: list[Model], names: list[str]) -> bytes | None:
    """The common weight section, None if no file has one.

    Bytes named by a file's weight_map belong to it and must agree where two files own them; a byte
    that nobody owns keeps a non-zero value of a file unless an owner or an earlier file
    contradicts.
    """
    data = [s.data if (s := m.weight_section()) else None for m in models]
    if all(d is None for d in data):
        return None
    size = max(len(d) for d in data if d is not None)
    out, owner = bytearray(size), bytearray(size)
    for index, model in enumerate(models):
        for weight in model.weights:
            start, end = low_offset(weight.offset), low_offset(weight.offset) + weight.size
            mine = model.weight_bytes(weight)
            taken = owner[start:end]
            if not any(taken):
                out[start:end] = mine
            elif out[start:end] != mine:
                _merge_owned(out, mine, start, taken, f"weight {weight.name!r} of {names[index]}")
            owner[start:end] = b"\1" * (end - start)
    for content in data:
        if content is not None:
            _fill_unowned(out, owner, content)
    return bytes(out)


def _merge_owned(out: bytearray, mine: bytes, start: int, taken: bytearray, where: str) -> None:
    """Like a copy, but bytes that are taken must already be right."""
    for i, value in enumerate(mine):
        if taken[i] and out[start + i] != value:
            raise UserInputError(
                f"can not merge: {where} has other bytes at offset {start + i} of the weights "
                "than the files before it: compile the files in one folder with --merge_weight, "
                "which lets them share constants"
            )
        out[start + i] = value


def _fill_unowned(out: bytearray, owner: bytearray, content: bytes) -> None:
    """Keep what no weight_map names: gaps are short, so bytes are looked at one by one only
    there."""
    position = 0
    while True:
        position = owner.find(b"\0", position, len(content))
        if position < 0:
            return
        end = owner.find(b"\1", position, len(content))
        end = len(content) if end < 0 else end
        gap = content[position:end]
        if gap.count(0) != len(gap):
            have = out[position:end]
            out[position:end] = (
                gap if not any(have) else bytes(h or g for h, g in zip(have, gap, strict=True))
            )
        position = end


def compress(model: Model) -> Model:
    """A copy with all command sections as lz4 blocks; UserInputError if one is compressed already
    or would grow."""
    sections = []
    for section in model.sections:
        if section.kind not in STREAM_KINDS:
            sections.append(section)
            continue
        if section.compress or section.encrypt:
            word = "compressed" if section.compress else "encrypted"
            raise UserInputError(f"section {section.name!r} of {model.name!r} is {word} already")
        block = lz4.compress(section.data)
        if len(block) >= len(section.data):
            raise UserInputError(
                f"section {section.name!r} of {model.name!r} does not shrink: "
                f"{len(section.data)} bytes become {len(block)}; use the file as it is"
            )
        sections.append(
            replace(
                section, data=block, compress=True, decompressed_size=len(section.data), offset=None
            )
        )
    return replace(model, sections=[replace(s, offset=None) for s in sections])
