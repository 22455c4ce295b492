"""The description of one board: a TOML file.

    host = "192.168.42.1"
    port = 22                       # default
    user = "root"                   # default
    password = "prompt"             # "prompt", "env:NAME", "file:PATH" or "none" (empty password)
    key = "~/.ssh/id_ed25519"       # instead of a password
    host_key = "SHA256:..."         # pinned; `tpuforge evb pin NAME` shows and stores it
    serial = "/dev/ttyUSB0"         # or socket://host:port, or a pseudo terminal
    baud = 115200                   # default
    chip = "cv181x"
    target = "riscv64-musl"         # aarch64, armhf, riscv64-musl
    folder = "/mnt/data/tpuforge"   # where pushed files go
    simulator = false               # true: no TPU is expected, the simulator runs the models

The password itself never stands in the file, on a command line or in a log.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..compiler.chip import CHIPS
from ..compiler.errors import OptionError, UserInputError
from ..compiler.fileio import write_text
from .paths import boards_folder

TARGETS = ("aarch64", "armhf", "riscv64-musl", "host")
PASSWORD_FORMS = '"prompt", "env:NAME", "file:PATH" or "none"'


@dataclass(frozen=True)
class Board:
    """One board. `name` is the name of its file; every other field is a key of the TOML file."""

    name: str
    host: str = ""
    port: int = 22
    user: str = "root"
    password: str = ""
    key: str = ""
    host_key: str = ""
    serial: str = ""
    baud: int = 115200
    chip: str = "cv181x"
    target: str = "aarch64"
    folder: str = "/mnt/data/tpuforge"
    simulator: bool = False
    alive_timeout: float = 20.0

    def __post_init__(self) -> None:
        where = f"board {self.name!r}"
        if self.chip not in CHIPS:
            raise OptionError(f"{where}: chip {self.chip!r} is none of {', '.join(CHIPS)}")
        if self.target not in TARGETS:
            raise OptionError(f"{where}: target {self.target!r} is none of {', '.join(TARGETS)}")
        if not 0 < self.port < 65536:
            raise OptionError(f"{where}: port {self.port} is not within 1..65535")
        if not re.fullmatch(r"(prompt|none|env:.+|file:.+)?", self.password):
            raise OptionError(f"{where}: password must be {PASSWORD_FORMS}, never the text itself")
        if self.host_key and not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", self.host_key):
            raise OptionError(f"{where}: host_key must be SHA256: and 43 characters, as in ssh")
        if not self.folder.startswith("/") or "\n" in self.folder:
            raise OptionError(f"{where}: folder {self.folder!r} is not an absolute path")
        if not self.host and not self.serial:
            raise OptionError(f"{where}: it needs a host (SSH), or at least a serial port")

    def address(self) -> str:
        return f"{self.user}@{self.host}:{self.port}" if self.host else self.serial


def board_path(name: str) -> Path:
    """The file of a board: a path if it ends in .toml, else NAME.toml in the boards folder."""
    return Path(name) if name.endswith(".toml") else boards_folder() / f"{name}.toml"


def board_names() -> list[str]:
    """The names in the boards folder."""
    return sorted(p.stem for p in boards_folder().glob("*.toml"))


def load_board(name: str) -> Board:
    """Read a description. UserInputError: no such file, not TOML; OptionError: a wrong value."""
    path = board_path(name)
    if not path.is_file():
        known = ", ".join(board_names()) or "none yet"
        raise UserInputError(
            f"{path}: no such board description (known boards: {known}); write one, "
            "`tpuforge evb new NAME --host ADDRESS` does"
        )
    values = _read_toml(path)
    fields = {f.name: f for f in dataclasses.fields(Board) if f.name != "name"}
    for key, value in values.items():
        if key not in fields:
            raise OptionError(f"{path}: unknown key {key!r}; known are {', '.join(fields)}")
        default = fields[key].default
        wanted = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, wanted) or (isinstance(value, bool) != (wanted is bool)):
            raise OptionError(f"{path}: {key} = {value!r} is not of type {type(default).__name__}")
    return Board(path.stem, **values)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        try:
            import tomli as tomllib
        except ImportError:
            raise UserInputError(
                f"{path}: Python 3.10 needs `pip install 'tpuforge[evb]'` to read TOML"
            ) from None
    try:
        return dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UserInputError(f"{path}: not a TOML file: {e}") from None


def board_toml(board: Board) -> str:
    """The file of a board: every field that differs from its default, and host and chip."""
    lines = []
    for field in dataclasses.fields(Board):
        value = getattr(board, field.name)
        if field.name == "name" or (value == field.default and field.name != "chip"):
            continue
        text = str(value).lower() if isinstance(value, bool) else json.dumps(value)
        lines.append(f"{field.name} = {text}")
    return "\n".join(lines) + "\n"


def save_board(board: Board) -> Path:
    """Write the description into the boards folder; its path."""
    path = board_path(board.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_text(path, board_toml(board))
