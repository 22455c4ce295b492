"""libFuzzer over the runtime, TPUFORGE_FUZZ_SECONDS (60) each; `make fuzz` runs them longer."""

import os
from pathlib import Path

import pytest
from runtime import fuzz

pytestmark = pytest.mark.model


def test_fuzzing_finds_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    clang = fuzz.compiler()
    if not clang:
        pytest.skip("needs clang with libFuzzer (Debian: clang libclang-rt-14-dev)")
    seconds = int(os.environ.get("TPUFORGE_FUZZ_SECONDS", "60"))
    for t in fuzz.fuzz(tmp_path, clang, seconds, fuzz.HARNESSES):
        with capfd.disabled():
            print(f"\n{t.harness}: {t.runs} runs, coverage {t.coverage}, corpus {t.corpus}")
        assert t.finding is None, t.log[-4000:]
        assert t.runs > 100 and t.coverage > 300
