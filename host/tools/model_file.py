"""What `model_tool` and `cvimodel_tool` share: files in, files out, the lines about them."""

from __future__ import annotations

import hashlib
import sys

from ..compiler.errors import OptionError, UnsupportedError
from ..compiler.fileio import existing_file, write_bytes
from ..compiler.format import cvimodel, dump
from ..compiler.format.cvimodel_tables import SECTION_KINDS
from . import common

BMODEL_MAGIC = b"\xee\xaa\x55\xff"
_SHOWN_WARNINGS = 3


def load(path: str, *, verify: bool = False) -> cvimodel.Model:
    """The model; warnings go to stderr. UnsupportedError for a bmodel, UserInputError otherwise."""
    with existing_file(path, "a .cvimodel").open("rb") as file:
        if file.read(4) == BMODEL_MAGIC:
            raise UnsupportedError(
                f"{path} is a .bmodel (for a BM168x chip); this version reads .cvimodel files only"
            )
    model = cvimodel.load(path, verify=verify)
    for warning in model.warnings[:_SHOWN_WARNINGS]:
        print(f"warning: {path}: {warning}", file=sys.stderr)
    if len(model.warnings) > _SHOWN_WARNINGS:
        more = len(model.warnings) - _SHOWN_WARNINGS
        print(f"warning: {path}: {more} more warnings of this kind", file=sys.stderr)
    return model


def required_output(path: str | None) -> str:
    """The value of -o; OptionError without it."""
    if not path:
        raise OptionError("-o FILE is missing: where shall the result go?")
    return path


def extract(model: cvimodel.Model) -> None:
    """Write the streams and the weights into the current folder and say so (section 14.2)."""
    text, files = dump.extract(model)
    for name, data in files.items():
        write_bytes(name, data)
    common.say(text.rstrip("\n"))


def store(model: cvimodel.Model, output: str, *, checksums: bool = False) -> None:
    """Write a merged file with the vendor's lines about it (section 14.3)."""
    data = cvimodel.write(model)
    for section in model.sections:
        number = (
            SECTION_KINDS.index(section.kind)
            if section.kind in SECTION_KINDS
            else section.kind.removeprefix("type")
        )
        digest = f" md5:{hashlib.md5(section.contents()).hexdigest()}" if checksums else ""
        common.say(f"add section, name:{section.name} type:{number}{digest}")
    write_bytes(output, data)
    common.say(f"store cvimodel to {output}")
