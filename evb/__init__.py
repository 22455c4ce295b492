"""Tools for evaluation boards: push, run, console, doctor, bench, and a virtual board.

The Python API is what the command `tpuforge evb` uses:

    board = load_board("duo")                      # a TOML description
    with connect(board) as link:
        push(link, [Item("model.cvimodel", "models/model.cvimodel")])
        result = run(link, ["cvi_sample_model_info", "models/model.cvimodel"], timeout=60)
"""

from .board import Board, load_board, save_board
from .errors import BoardError, BusyError, HostKeyError, LinkError, NoSpaceError
from .items import Item, collect
from .push import push, push_many
from .run import Result, run
from .transport import Link, connect, fingerprint_of

__all__ = [
    "Board", "BoardError", "BusyError", "HostKeyError", "Item", "Link", "LinkError",
    "NoSpaceError", "Result", "collect", "connect", "fingerprint_of", "load_board", "push",
    "push_many", "run", "save_board",
]  # fmt: skip
