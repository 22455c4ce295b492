"""Messages and the last-error text (api/cvi_nn.md sections 1, 8)."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import cvi_nn
import numpy as np
import pytest
from cvi_nn._lib import load
from runtime import builder as b

DATA = np.arange(64, dtype=np.int8)


def test_nothing_is_printed_on_stdout(capfd):
    cvi_nn.Model(b.tiny().write()).forward([DATA.reshape(1, 1, 1, 64)])
    with pytest.raises(cvi_nn.CviError):
        cvi_nn.Model(b"nonsense" * 20)
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""
    load().c.CVI_NN_Global_SetLogLevel(4)
    try:
        with pytest.raises(cvi_nn.CviError):
            cvi_nn.Model(b"nonsense" * 20)
    finally:
        load().c.CVI_NN_Global_SetLogLevel(2)
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err.startswith("cviruntime error: not a cvimodel")


@pytest.fixture
def messages() -> Iterator[list[tuple[int, str]]]:
    import ctypes

    seen: list[tuple[int, str]] = []
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p)
    callback = kind(lambda level, text: seen.append((level, text.decode())))
    library = ctypes.CDLL(load().path)
    library.CVI_NN_Global_SetLogCallback(callback)
    yield seen
    library.CVI_NN_Global_SetLogCallback(None)
    load().c.CVI_NN_Global_SetLogLevel(2)


def test_callback_receives_messages_up_to_the_level(messages, capfd):
    for level, expected in ((2, set()), (3, {3}), (6, {3, 6})):
        load().c.CVI_NN_Global_SetLogLevel(level)
        messages.clear()
        cvi_nn.Model(b.tiny().write())
        with pytest.raises(cvi_nn.CviError):
            cvi_nn.Model(b"nonsense" * 20)
        assert {seen for seen, _ in messages} == expected
    assert any("model 'tiny' version 1.4.0" in text for _, text in messages)
    assert capfd.readouterr() == ("", "")


def test_nominal_weights_are_noted(messages):
    """A size that is not that of the shape is no error (formats/cvimodel.md sections 4.2, 13)."""
    load().c.CVI_NN_Global_SetLogLevel(5)
    sections = [b.Section(0, "weight", bytes(64)), b.tiny().sections[1]]
    for size, noted in ((12, 0), (10, 1), (64, 1)):
        messages.clear()
        weights = [b.Weight("w", 0, size, [1, 3, 2, 2], "int8")]
        cvi_nn.Model(b.tiny(sections=sections, weights=weights).write())
        assert [f"weight 'w': {size} bytes, its shape has 12"] * noted == [t for _, t in messages]


def test_every_thread_has_its_own_last_error():
    texts = {}

    def work(name: str) -> None:
        with pytest.raises(cvi_nn.CviError):
            cvi_nn.Model(f"/nowhere/{name}")
        barrier.wait(10)
        texts[name] = load().last_error()

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(f"/nowhere/{name}" in text for name, text in texts.items()) and len(texts) == 4


def test_level_from_the_environment():
    script = "import cvi_nn\ntry: cvi_nn.Model(b'x')\nexcept cvi_nn.CviError: pass\n"
    for level, lines in (("0", 0), ("3", 1)):
        env = {**os.environ, "CVI_NN_LOG": level}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert done.stderr.count("not a cvimodel") == lines and done.stdout == "", level
