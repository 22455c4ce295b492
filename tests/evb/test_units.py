"""The parts of the board tools that need no board."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tpuforge.compiler.errors import OptionError, UserInputError
from tpuforge.evb.board import Board, board_toml, load_board, save_board
from tpuforge.evb.cpio import Cpio
from tpuforge.evb.deploy import sample_command
from tpuforge.evb.errors import BoardError, LinkError
from tpuforge.evb.items import collect, sha256
from tpuforge.evb.push import remote_path
from tpuforge.evb.qemu import Machine, command
from tpuforge.evb.sdk import ENVS, board_items
from tpuforge.evb.secret import password_of

d = sys.modules["tpuforge.evb.doctor"]  # the package has the function of this name
BOARD = Board("duo", host="192.168.42.1", chip="cv181x", target="riscv64-musl", password="prompt")


def test_description_round_trip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TPUFORGE_BOARDS", str(tmp_path / "b"))
    board = replace(BOARD, serial='/dev/tty"x', host_key="SHA256:" + "a" * 43, simulator=True)
    assert save_board(board) == tmp_path / "b/duo.toml"
    assert load_board("duo") == load_board(str(tmp_path / "b/duo.toml")) == board
    assert "port" not in board_toml(board)


@pytest.mark.parametrize(
    "text",
    [
        'host = "h"\nchip = "cv999x"', 'host = "h"\nport = "22"', 'host = "h"\nport = true',
        'host = "h"\npassword = "milkv"', 'host = "h"\nhost_key = "SHA256:x"', 'chip = "cv181x"',
        'host = "h"\ncolour = "red"', 'host = "h"\nfolder = "relative"', "host = ",
    ],
)  # fmt: skip
def test_wrong_descriptions(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises((OptionError, UserInputError)) as e:
        load_board(str(tmp_path / "x.toml"))
    assert "milkv" not in str(e.value)


def test_where_passwords_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVB_SECRET", "s")
    (tmp_path / "p").write_text("f\n")
    assert password_of(replace(BOARD, password="env:EVB_SECRET")) == "s"
    assert password_of(replace(BOARD, password=f"file:{tmp_path}/p")) == "f"
    assert password_of(replace(BOARD, password="none")) == ""
    monkeypatch.setattr("sys.stdin", (tmp_path / "p").open())
    with pytest.raises(UserInputError, match="no terminal"):
        password_of(BOARD)
    sys.stdin.close()


class SSHException(Exception):
    """Stands for paramiko's, which is an extra."""


class RefusingTransport:
    """Refuses the first commands, then takes them; ends with the command `last`."""

    def __init__(self, refusals: int, last: int = -1):
        self.refusals, self.last, self.started, self.active = refusals, last, 0, True

    def open_session(self, timeout: float) -> RefusingTransport:
        return self

    def exec_command(self, command: str) -> None:
        self.started += 1
        self.active = self.started != self.last
        if not self.active or self.started <= self.refusals:
            raise SSHException("Channel closed.")

    def is_active(self) -> bool:
        return self.active

    def close(self) -> None:
        self.active = False


def test_a_board_that_refuses_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is asked again; a lost connection is not."""
    t = sys.modules["tpuforge.evb.transport"]
    monkeypatch.setattr(t, "_paramiko", lambda: SimpleNamespace(SSHException=SSHException))
    monkeypatch.setattr(t, "START_PAUSE_S", 0.0)
    for refusals, last, error, started in (
        (2, -1, None, 3), (3, -1, BoardError, 3), (9, 2, LinkError, 2),
    ):  # fmt: skip
        transport = RefusingTransport(refusals, last)
        with t.Link(BOARD, transport) as link:
            if error is None:
                assert link.channel("true") is transport
            else:
                with pytest.raises(error) as e:
                    link.channel("true")
                assert type(e.value) is error and "Channel closed." in str(e.value)
        assert transport.started == started


def test_places_on_the_board() -> None:
    assert remote_path(BOARD, "a/./b") == "/mnt/data/tpuforge/a/b"
    assert remote_path(BOARD, "/tmp/x") == "/tmp/x"
    for place in ("../x", "a/../../x"):
        with pytest.raises(BoardError):
            remote_path(BOARD, place)


def test_collect(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_text("x")
    (tmp_path / "d/g").write_text("y")
    (tmp_path / "d/g").chmod(0o755)
    items = collect([tmp_path / "d"], "to/")
    assert [(i.remote, i.mode) for i in items] == [("to/d/e/f", 0o644), ("to/d/g", 0o755)]
    assert sha256(items[0].local, 0) == sha256(Path("/dev/null"))
    with pytest.raises(UserInputError, match="two files"):
        collect([tmp_path / "d/g", tmp_path / "d/g"])
    with pytest.raises(UserInputError, match="no such"):
        collect([tmp_path / "absent"])


def test_cpio_is_what_cpio_writes(tmp_path: Path) -> None:
    archive = Cpio()
    archive.file("a/b/file", b"hello", 0o755)
    archive.symlink("a/link", "b/file")
    assert "a/b" in archive and "a/c" not in archive
    data = bytes(archive)
    assert data.count(b"070701") == 5 and len(data) % 4 == 0 and data.count(b"TRAILER!!!") == 1
    assert b"000081ED" in data and b"0000A1FF" in data and b"b/file" in data


def test_the_guest_reaches_nothing(tmp_path: Path) -> None:
    words = command(Machine(Path("k"), Path("i"), Path("d,1"), 4022, 4023))
    net = words[words.index("-netdev") + 1]
    assert "restrict=on" in net and "hostfwd=tcp:127.0.0.1:4022-" in net
    assert "file=d,,1" in words[words.index("-drive") + 1]


def test_sample_commands() -> None:
    words = sample_command("classifier", "m", "i", options=["--rgb"])
    assert words == ["cvi_sample_classifier", "m", "i", "samples/data/synset_words.txt", "--rgb"]
    assert sample_command("model_info", "m") == ["cvi_sample_model_info", "m"]
    for wrong in (("classifier", "m"), ("detector", "m")):
        with pytest.raises(OptionError):
            sample_command(*wrong)


def test_what_a_board_gets_of_an_sdk(tmp_path: Path) -> None:
    for name in ("lib/a.so", "lib/a.a", "bin/x", "samples/bin/y", "samples/src/z.c", "include/h",
                 "samples/run_a.sh", "samples/data/l", "envs_tpu_sdk.sh", "cmake/c",
                 "version"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {i.remote for i in board_items(tmp_path)} == {
        "lib/a.so", "bin/x", "samples/bin/y", "samples/run_a.sh", "samples/data/l",
        "envs_tpu_sdk.sh", "version",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shell", "cwd", "env"),
    [
        ("sh", "{sdk}", {}), ("bash", "/", {}), ("sh", "/", {"TPU_SDK_PATH": "{sdk}"}),
        ("sh", "/", {"TPU_ROOT": "{sdk}"}), ("bash", "/", {"TPU_ROOT": "/elsewhere"}),
    ],
)  # fmt: skip
def test_envs_script(tmp_path: Path, shell: str, cwd: str, env: dict[str, str]) -> None:
    """Safe under set -u; bash finds it from anywhere, sh by the two variables."""
    (tmp_path / "envs_tpu_sdk.sh").write_text(ENVS)
    script = (
        f"set -eu; . {tmp_path}/envs_tpu_sdk.sh; "
        'echo "$LD_LIBRARY_PATH $TPU_ROOT $TPU_SDK_PATH ${PATH%%:/usr*}"'
    )
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, cwd=cwd.format(sdk=tmp_path),
        env={"PATH": "/usr/bin:/bin", **{k: v.format(sdk=tmp_path) for k, v in env.items()}},
    )  # fmt: skip
    places = f"{tmp_path}/lib {tmp_path} {tmp_path} {tmp_path}/bin:{tmp_path}/samples/bin\n"
    assert (done.stdout, done.stderr) == (places, "")


def test_envs_script_elsewhere(tmp_path: Path) -> None:
    """A shell that can not find the folder says so and changes nothing."""
    (tmp_path / "envs_tpu_sdk.sh").write_text(ENVS)
    script = f'set -u; . {tmp_path}/envs_tpu_sdk.sh || echo "failed $PATH ${{TPU_ROOT:-none}}"'
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, cwd="/", env={"PATH": "/usr/bin"}
    )
    assert done.stdout == "failed /usr/bin none\n" and "TPU_SDK_PATH" in done.stderr


def test_findings_from_facts() -> None:
    board = replace(BOARD, chip="cv181x", target="armhf")
    facts = {"machine": "armv7l", "model": "Cvitek. CV182X ASIC", "node_tpu": "denied",
             "memory_kb": "1000", "tool_df": "yes", "sftp": "no", "runtime": "a" * 64,
             "runtime_sha": "b" * 64}  # fmt: skip
    assert d._machine(board, facts)[0].level == d.OK
    assert "static" in d._loader(board, facts)[0].fix
    assert "cv182x" in d._chip(board, facts)[0].fix
    assert [f.level for f in d._nodes(board, facts)] == [d.FAIL, d.FAIL]
    assert d._memory(board, facts)[0].level == d.WARN
    tools = d._tools(board, facts)
    assert [f.level for f in tools] == [d.FAIL, d.WARN, d.WARN, d.OK]
    assert d._runtime(board, facts)[0].level == d.WARN
    known = {**facts, "runtime_sha": "", "version": "tpuforge 1.2.3 armhf"}
    (good,) = d._runtime(board, known)
    assert good.level == d.OK and "tpuforge 1.2.3 armhf" in good.text
    (other,) = d._runtime(replace(board, target="aarch64"), known)
    assert other.level == d.FAIL and "--target aarch64" in other.fix
    assert d._machine(replace(board, target="aarch64"), facts)[0].fix.startswith("set target")
