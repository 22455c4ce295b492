"""10,000 damaged cvimodels through the runtime under AddressSanitizer and UBSan (issue 3 "Bad
input"). `make fuzz` runs more: TPUFORGE_MUTANTS is the number, TPUFORGE_MUTANTS_SEED the seed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import lz4.block
import numpy as np
import pytest
from net_cases import random_graph, single
from runtime import builder as b
from runtime import detection_cases, mutants  # noqa: F401  (detection_cases fills CASES)
from runtime.cpu_cases import CASES
from runtime.test_cpu_op import model_of
from tpuforge.compiler.calibrate.table import read_table
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.emit.cv18xx import compile_graph
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.frontend import transform_graph
from tpuforge.compiler.lower import lower
from tpuforge.compiler.passes import merge_pointwise

pytestmark = pytest.mark.model

COUNT = int(os.environ.get("TPUFORGE_MUTANTS", "10000"))
SEED = int(os.environ.get("TPUFORGE_MUTANTS_SEED", "1"))
ENV = {
    **os.environ,
    "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
KINDS = ("conv", "depthwise", "avg_pool", "add", "leaky_relu", "quantize")
CPU_FUNCTIONS = ("ssd", "yolo_v3", "topk", "deform_conv2d", "retinaface")


@pytest.fixture(scope="module")
def corpus(shared_dir: Path, vendor_dir: Path) -> dict[str, bytes]:
    """Files of the vendor's compiler, of ours, and hand-made ones, all chips."""
    files: dict[str, bytes] = {}
    for name in ("tiny_resnet", "tiny_mobilenet"):
        table = read_table(vendor_dir / f"{name}_cali_table")
        for chip in CHIPS.values():
            stored = vendor_dir / f"{name}_{chip.name}.cvimodel"
            files[f"vendor's {stored.stem}"] = stored.read_bytes()
            graph = transform_graph(shared_dir / "zoo" / f"{name}.onnx", name=name)
            merge_pointwise.merge_missing(graph, table.keys())
            compiled = compile_graph(lower(graph, table, chip), chip)
            files[f"our {stored.stem}"] = cvimodel.write(compiled.model)
    for i, (chip, kind) in enumerate((c, k) for c in CHIPS.values() for k in KINDS):
        graph = single(kind, i, chip)
        files[f"{kind} {chip.name}"] = cvimodel.write(compile_graph(graph, chip).model)
    for chip in CHIPS.values():
        graph = random_graph("mutants", chip, layers=6)
        model = compile_graph(graph, chip).model
        for section in model.sections:
            if section.kind == "cmdbuf":
                section.decompressed_size, section.compress = len(section.data), True
                section.data = lz4.block.compress(section.data, store_size=False)
        files[f"graph {chip.name}"] = cvimodel.write(model)
        files[f"hand-made {chip.name}"] = b.tiny(chip.name).write()
    for name in CPU_FUNCTIONS:
        files[f"cpu {name}"] = model_of(CASES[name](np.random.default_rng(0)))
    return files


def test_damaged_models(
    c_program: Callable[..., Path], corpus: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """No finding, hang or crash; and the damage reaches deep: most ways leave files that run."""
    program = c_program("feed", "address,undefined")
    sound = (mutants.Mutant(i, n, "none", corpus[n]) for i, n in enumerate(sorted(corpus)))
    totals = mutants.feed(program, sound, ENV)
    assert totals.codes == {0: len(corpus)}, totals
    try:
        totals = mutants.feed(program, (mutants.mutant(corpus, SEED, i) for i in range(COUNT)), ENV)
    except mutants.Finding as finding:
        kept = Path(tempfile.gettempdir(), f"finding_{SEED}_{finding.args[1]}.cvimodel")
        kept.write_bytes(mutants.mutant(corpus, SEED, finding.args[1]).data)
        pytest.fail(f"{finding.args[0]}\nthe file is {kept}")
    with capfd.disabled():
        print(f"\n{totals}")
    assert totals.files.total() == COUNT and len(totals.files) == len(mutants.WAYS)
    for way, files in totals.files.items():
        assert 0 < totals.ran[way] < files, f"{way}: {totals.ran[way]} of {files} ran"
