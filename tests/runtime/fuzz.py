"""Coverage-guided fuzzing of the runtime with libFuzzer (issue 4 point 3): model files, command
streams, CPU functions. Needs clang with its runtime libraries (Debian: clang libclang-rt-14-dev).

    python tests/runtime/fuzz.py [--seconds 600] [--build DIR] [file commands cpu]

Prints the totals per harness; ends with 1 and the input's path when one finds something.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from runtime import builder as b  # noqa: E402
from runtime import detection_cases  # noqa: E402, F401  (fills CASES)
from runtime.cpu_cases import CASES, Case  # noqa: E402

HARNESSES = ("file", "commands", "cpu")
SHARED = Path(os.environ.get("TPUFORGE_SHARED", HERE.parents[2] / "shared"))
LARGEST = {"file": 100_000, "commands": 20_000, "cpu": 2_000}
CHIPS = b.CHIPS


@dataclass
class Totals:
    harness: str
    runs: int
    coverage: int
    corpus: int
    finding: Path | None
    log: str


# ---- seeds ----


def dma_buffer(chip: str) -> bytes:
    """One TDMA copy as a dma buffer (hw/cv18xx-driver.md section 5)."""
    body = bytearray(b.copy_command(chip, (2, 0), (2, 64), 64)[8:])
    body[0] |= 0x1C
    words = [0x18350000 if chip == "cv183x" else 0x18220000, 512 + 64, 1, 0, 1, 0]
    words[0] |= 0xB5B5
    head = np.array(words, "<u4").tobytes().ljust(128, b"\0")
    descriptor = np.array([2, 0, 1, 0, 512], "<u4").tobytes()
    return (head + descriptor).ljust(512, b"\0") + bytes(body)


def vendor_models() -> list[Path]:
    return sorted((SHARED / "zoo" / "vendor").glob("tiny_*.cvimodel"))


def streams() -> Iterable[tuple[str, bytes]]:
    """(chip, commands) of the vendor's compiler, cut into pieces of a few commands."""
    for path in vendor_models():
        data, chip = path.read_bytes(), path.stem.rsplit("_", 1)[1]
        at = data.find(bytes([b.MAGIC[chip], 112, 0, 0, 0, 0, 0, 0]))
        piece = b""
        while 0 <= at < len(data) - 8 and data[at] == b.MAGIC[chip]:
            end = at + 8 + data[at + 1]
            piece, at = piece + data[at:end], end
            if len(piece) > 1500:
                yield chip, piece
                piece = b""


def cpu_seed(case: Case) -> bytes:
    name = case.function.encode()
    out = bytes([len(name)]) + name + bytes([len(case.inputs), len(case.expected)])
    kinds = [a.dtype.name for a in (*case.inputs, *case.expected)]
    names = {"float32": "fp32", "uint16": "bf16"}
    for array, kind in zip((*case.inputs, *case.expected), kinds, strict=True):
        dims = [min(d, 255) for d in (*array.shape, 1, 1, 1, 1)[:4]]
        out += bytes([b.DTYPES.index(names.get(kind, kind)), *dims])
    return out + b.cpu_args(**case.arguments)


def seeds(harness: str) -> Iterable[bytes]:
    if harness == "file":
        for chip in CHIPS:
            yield b.tiny(chip).write() + b"\0"
            model = b.tiny(chip)
            model.sections[1] = b.Section(4, "run", dma_buffer(chip))
            yield model.write() + b"\1"
        for make in CASES.values():
            from runtime.test_cpu_op import model_of

            data = model_of(make(np.random.default_rng(0)))
            if len(data) < 8000:
                yield data + b"\2"
        yield from (path.read_bytes() + b"\3" for path in vendor_models())
    elif harness == "commands":
        for i, chip in enumerate(CHIPS):
            yield bytes([i]) + b.copy_command(chip, (2, 0), (3, 0), 64)
            yield bytes([i | 4]) + dma_buffer(chip)
        yield from (bytes([CHIPS.index(chip)]) + data for chip, data in streams())
    else:
        yield from (cpu_seed(make(np.random.default_rng(0))) for make in CASES.values())


# ---- running ----


def compiler() -> str | None:
    """A clang whose libFuzzer links."""
    clang = shutil.which("clang")
    if not clang or not shutil.which("cmake"):
        return None
    test = "int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }"
    command = [clang, "-fsanitize=fuzzer,address", "-x", "c", "-", "-o", os.devnull]
    done = subprocess.run(command, input=test, text=True, capture_output=True, check=False)
    return clang if done.returncode == 0 else None


def build(folder: Path, clang: str) -> None:
    options = ["-DTPU_SANITIZE=fuzzer-no-link,address,undefined", f"-DCMAKE_C_COMPILER={clang}"]
    options += ["-DCMAKE_BUILD_TYPE=RelWithDebInfo"]
    subprocess.run(
        ["cmake", "-S", HERE / "c", "-B", folder, *options], check=True, capture_output=True
    )
    targets = [f"fuzz_{name}" for name in HARNESSES]
    command = ["cmake", "--build", folder, "-j", "2", "--target", *targets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])


def start(folder: Path, harness: str, seconds: int) -> subprocess.Popen:
    corpus, findings = folder / f"corpus_{harness}", folder / f"findings_{harness}"
    corpus.mkdir(exist_ok=True)
    findings.mkdir(exist_ok=True)
    for i, data in enumerate(seeds(harness)):
        (corpus / f"seed{i:03}").write_bytes(data)
    with (folder / f"log_{harness}").open("wb") as log:
        limits = [f"-max_len={LARGEST[harness]}", "-rss_limit_mb=6000", "-malloc_limit_mb=0"]
        limits += [f"-max_total_time={seconds}", "-timeout=30", "-report_slow_units=30", "-seed=1"]
        places = ["-print_final_stats=1", f"-artifact_prefix={findings}/", corpus]
        return subprocess.Popen(
            [folder / f"fuzz_{harness}", *limits, *places],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "ASAN_OPTIONS": "allocator_may_return_null=1:max_allocation_size_mb=1000",
                "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
                "CVI_NN_BACKEND": "simulator",
            },
        )


def totals(folder: Path, harness: str, code: int) -> Totals:
    log = (folder / f"log_{harness}").read_text(errors="replace")

    def last(pattern: str) -> int:
        return int([0, *re.findall(pattern, log)][-1])

    found = sorted((folder / f"findings_{harness}").iterdir())
    finding = found[-1] if found else None
    if code and not finding:
        finding = folder / f"log_{harness}"
    return Totals(
        harness,
        last(r"number_of_executed_units: (\d+)"),
        last(r"cov: (\d+)"),
        last(r"corp: (\d+)/"),
        finding,
        log,
    )


def fuzz(folder: Path, clang: str, seconds: int, names: Iterable[str]) -> list[Totals]:
    """Build, run all harnesses at once, `seconds` each."""
    folder.mkdir(parents=True, exist_ok=True)
    build(folder, clang)
    running = [(name, start(folder, name, seconds)) for name in names]
    return [totals(folder, name, process.wait()) for name, process in running]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[], help="harnesses (default: all)")
    parser.add_argument("--seconds", type=int, default=600, help="per harness (600)")
    parser.add_argument("--build", type=Path, default=HERE.parents[1] / "build" / "fuzz")
    options = parser.parse_args()
    clang = compiler()
    if not clang:
        print("fuzz: needs cmake and clang (Debian: clang libclang-rt-14-dev)", file=sys.stderr)
        return 2
    bad = 0
    for t in fuzz(options.build, clang, options.seconds, options.names or HARNESSES):
        print(f"{t.harness}: {t.runs} runs, coverage {t.coverage}, corpus {t.corpus}", flush=True)
        if t.finding:
            print(f"{t.harness}: FOUND {t.finding}\n{t.log[-4000:]}")
            bad = 1
    return bad


if __name__ == "__main__":
    raise SystemExit(main())
