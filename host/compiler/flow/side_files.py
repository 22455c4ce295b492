"""What deploy leaves beside the model file (cli.md section 5.5; docs/files.md is the list)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..fileio import write_bytes, write_text
from ..format import cvimodel
from ..format.dump import memory
from ..format.weight_map import WeightMap, overlaid, parse, rekeyed, render
from ..ir.text import to_text, write
from .console import Console
from .deployed import Deployed, failed_name
from .layer_groups import layer_groups, search_options

WEIGHT_MAP, WEIGHT_BYTES, NEURON_MAP = "_weight_map.csv", "_weight.bin", "_neuron_map.csv"


def read_weight_map(folder: Path, chip: str, console: Console) -> WeightMap:
    """The places of the constants of the files made before in this folder for this chip; none
    without a map. `_weight.bin`, if it is there, says what really lies in them."""
    path, stored = folder / WEIGHT_MAP, folder / WEIGHT_BYTES
    if not path.is_file():
        return WeightMap()
    known = parse(path.read_text(errors="replace"), str(path))
    if known.chip not in ("", chip):
        console.say(f"note: {path} is of {known.chip}: a new one is begun")
        return WeightMap()
    return rekeyed(known, stored.read_bytes(), str(stored)) if stored.is_file() else known


def write_quantised(result: Deployed, console: Console) -> None:
    """<prefix>_tpu.mlir with its weights; old: the same graph as <name>_quantized.mlir."""
    path = result.beside(f"{result.prefix}_tpu.mlir")
    weights = result.beside(f"{result.prefix}_tpu_weight.npz")
    write(result.graph, path, weights)
    result.files += [path, weights]
    console.say(f"Mlir file generated:{path}")
    if result.old:
        result.write_text(f"{result.name}_quantized.mlir", path.read_text())


def write_compiled(
    result: Deployed, options: Mapping[str, Any], known: WeightMap | None, console: Console
) -> None:
    """The model file and everything that says what is in it. options: of the compiler, for the
    record; known: the weight map it began with."""
    model = result.compiled.model
    path = cvimodel.save(model, result.path)
    failed_name(path).unlink(missing_ok=True)
    result.files.append(path)
    _write_weights(result, known)
    result.write_text(f"{path.stem}_tensor_info.txt", tensor_info(model))
    base = f"{result.name}_{result.chip.name}_int8.layer_group"
    result.write_text(f"{base}_config.json", search_options(result.chip, options))
    result.write_text(f"{base}_cache.json", layer_groups(result.compiled.program))
    if result.old:
        result.write_text(NEURON_MAP, neuron_map(model))
    text = final_text(result)
    final = result.write_text(f"{result.prefix}_final.mlir", text)
    console.say(f"Mlir file generated:{final}")
    _write_folder(result, text, console)
    console.say(f"Saving {path}")


def _write_weights(result: Deployed, known: WeightMap | None) -> None:
    """The weight map; old: with the bytes of all its constants in _weight.bin, which is kept up to
    date wherever there is one; new: the constants of this file as an .npz."""
    model = result.compiled.model
    section = model.weight_section()
    data = section.data if section is not None else b""
    result.write_text(WEIGHT_MAP, render(result.compiled.weight_map))
    stored = result.beside(WEIGHT_BYTES)
    if result.old or stored.is_file():
        places = [(cvimodel.low_offset(w.offset), w.size) for w in model.weights]
        before = stored.read_bytes() if known and known.entries and stored.is_file() else b""
        result.files.append(write_bytes(stored, overlaid(data, places, before)))
    if not result.old:
        arrays = {w.name: np.frombuffer(model.weight_bytes(w), np.int8) for w in model.weights}
        name = f"{result.name}_tpu_addressed_{result.chip.name}_int8_sym_weight.npz"
        result.write_arrays(result.beside(name), arrays)


def _write_folder(result: Deployed, final: str, console: Console) -> None:
    """The folder <model>/ with final.mlir and the list of files, for scripts that look there."""
    folder = result.path.with_suffix("")
    if folder.exists() and not folder.is_dir():
        console.say(f"note: {folder} is a file: the folder of that name is left out")
        return
    folder.mkdir(exist_ok=True)
    result.files.append(write_text(folder / "final.mlir", final))
    facts = {
        "version": result.compiled.model.mlir_version,
        "chip": result.chip.name,
        "quantize": "INT8",
        "files": sorted(f.name for f in result.files if f.parent == result.path.parent),
    }
    result.write_text(f"{folder.name}/ref_files.json", json.dumps(facts, indent=1) + "\n")


# ---- their text
def final_text(result: Deployed) -> str:
    """The quantised graph once more, followed by where the compiled file keeps its tensors."""
    rows = [
        f"//   {t.name} {t.offset:#x} {t.dtype.word} {list(t.shape)}"
        for p in result.compiled.model.programs
        for t in p.tensors
    ]
    notes = [
        f"// {result.path.name}: tensors in memory (address code, type, shape); the others stay "
        "in local memory",
        *rows,
    ]
    text = to_text(result.graph, f"{result.prefix}_tpu_weight.npz").rstrip("\n")
    return "\n".join([text, *notes]) + "\n"


def tensor_info(model: cvimodel.Model) -> str:
    """The diagnostic list of section 15.5: one row per tensor of the file that lies in DDR."""
    columns = (
        "layer_id, tensor_name, inGroup, ignore, gaddr, g_shape, lg_idx_slice, laddr, qtype, "
        "qscale. "
    )
    lines = []
    for number, program in enumerate(model.programs, 1):
        lines.append(f"Cmdbuf{number}: {columns}")
        for index, t in enumerate(program.tensors):
            shape = ",".join(str(d) for d in t.shape)
            row = (index, t.name, "false", "false", t.offset, shape, "x", "x", t.dtype.word)
            lines.append(" ".join(map(str, (*row, f"{t.qscale:.6f}"))))
    return "\n".join(lines) + "\n"


def neuron_map(model: cvimodel.Model) -> str:
    """The activations of the file in memory, in order of address: `name,0x<offset, 8 hex
    digits>,<bytes>,<n>x<c>x<h>x<w>,<type>,<memory>`, memory: shared, private or io_mem, in which
    the offset counts."""
    rows = []
    for program in model.programs:
        for t in sorted(program.tensors, key=lambda t: (t.offset, t.name)):
            shape = "x".join(map(str, t.shape))
            offset = cvimodel.low_offset(t.offset)
            where = memory(program, t)
            rows.append(f"{t.name},{offset:#010x},{t.dense_bytes},{shape},{t.dtype.word},{where}")
    return "".join(f"{row}\n" for row in rows)
