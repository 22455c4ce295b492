"""docs/runtime.md says where every public function is tested: every function of the headers is in
its table, and every test that is named there exists and uses the function."""

import fnmatch
import re
from pathlib import Path

from runtime.test_abi import declared

TESTS = Path(__file__).resolve().parents[1]
DOCUMENT = TESTS.parent / "docs" / "runtime.md"
BINDING = TESTS.parent / "device" / "cvi_nn"
PROGRAMS = TESTS / "runtime" / "c"


def rows() -> list[tuple[list[str], list[str]]]:
    """(names, tests) of every row of the tables."""
    chapter = DOCUMENT.read_text().split("## Where each function is tested")[1]
    found = []
    for line in chapter.splitlines():
        if line.startswith("| ") and not line.startswith(("| functions", "| what")):
            names, tests = line.strip("| ").split(" | ")
            found.append((re.findall(r"`(\w+)`", names), re.findall(r"`([^`]+\.py[^`]*)`", tests)))
    return found


def file_of(test: str) -> Path:
    name = test.split("::")[0]
    return TESTS.parent / name if name.startswith("tests/") else TESTS / "runtime" / name


def test_every_function_is_in_one_row():
    named = [name for names, _ in rows() for name in names if name.startswith("CVI_")]
    assert sorted(named) == sorted(declared())


def test_every_test_exists():
    for _, tests in rows():
        assert tests
        for test in tests:
            text = file_of(test).read_text()
            functions = re.findall(r"^def (test_\w+)", text, re.MULTILINE)
            _, _, pattern = test.partition("::")
            assert fnmatch.filter(functions, pattern or "test_*"), test


def test_every_function_is_used_by_its_tests():
    """In the file of a test itself, or through the binding that a test of cvi_nn drives."""
    binding = "".join(path.read_text() for path in BINDING.glob("[a-z]*.py"))
    for names, tests in rows():
        text = "".join(file_of(test).read_text() for test in tests)
        if any(test.startswith("tests/cvi_nn/") for test in tests) or "cvi_nn.Model(" in text:
            text += binding
        for name in names:
            if name.startswith("CVI_"):
                assert re.search(rf"\b{name}\b", text), name
