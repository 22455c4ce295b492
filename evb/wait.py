"""boot-wait: until the board answers on its SSH port."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from .board import Board
from .errors import LinkError
from .transport import need_host


def wait_for_ssh(
    board: Board, timeout: float = 120, alive: Callable[[], bool] = lambda: True
) -> float:
    """Seconds until an SSH server greets on host:port. LinkError after `timeout` seconds.

    alive: whether waiting makes sense at all (a virtual board whose process ended does not boot).
    """
    need_host(board)
    begin = time.monotonic()
    reason = "no answer"
    while time.monotonic() - begin < timeout:
        if not alive():
            raise LinkError(f"{board.name}: the machine ended while booting")
        try:
            with socket.create_connection((board.host, board.port), timeout=2) as s:
                s.settimeout(2)
                if s.recv(4) == b"SSH-":
                    return time.monotonic() - begin
                reason = "the port answers, but not with SSH"
        except OSError as e:
            reason = str(e) or type(e).__name__
        time.sleep(0.1)
    raise LinkError(
        f"{board.name}: no SSH at {board.host}:{board.port} within {timeout:.0f} s ({reason}); "
        "check power, cable and address, or look at `tpuforge evb console`"
    )
