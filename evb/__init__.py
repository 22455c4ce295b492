"""Tools for evaluation boards: push, run, console, doctor, bench, and a virtual board.

The Python API is what the command `tpuforge evb` uses:

    board = load_board("duo")                      # a TOML description
    with connect(board) as link:
        push(link, collect(["model.cvimodel"], "models"))
        result = run(link, ["cvi_sample_model_info", "models/model.cvimodel"], timeout=60)
        pull(link, ["out.npz"], Path("."))

`bench`, `deploy` and `doctor` are the verbs of these names, `Console` the serial port,
`wait_for_ssh` boot-wait, `virtual.up`, `virtual.down` and `virtual.status` the virtual board.
"""

from . import virtual
from .bench import Bench, bench
from .board import Board, load_board, save_board
from .console import Console
from .deploy import deploy
from .doctor import Finding, doctor
from .errors import BoardError, BusyError, HostKeyError, LinkError, NoSpaceError
from .items import Item, collect
from .pull import pull
from .push import push, push_many
from .run import Result, run
from .transport import Link, connect, fingerprint_of
from .wait import wait_for_ssh

__all__ = [
    "Bench", "Board", "BoardError", "BusyError", "Console", "Finding", "HostKeyError", "Item",
    "Link", "LinkError", "NoSpaceError", "Result", "bench", "collect", "connect", "deploy",
    "doctor", "fingerprint_of", "load_board", "pull", "push", "push_many", "run", "save_board",
    "virtual", "wait_for_ssh",
]  # fmt: skip
