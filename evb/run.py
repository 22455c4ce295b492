"""Run a command on a board: output as it comes, exit code, and an end to what hangs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .errors import BoardError
from .transport import Link, pump, quote

#: $1 folder, $2 command. Prints the number of the process group, then becomes the command. The
#: shell is started by setsid as the leader of a group of its own, so that the command and all its
#: children can be ended together.
LEADER = (
    'echo "$$"; cd "$1" 2>/dev/null; [ -r ./envs_tpu_sdk.sh ] && . ./envs_tpu_sdk.sh; eval "$2"'
)
GRACE_S = 2.0


@dataclass(frozen=True)
class Result:
    """code: the command's exit code, 128 + number when a signal ended it. seconds: on our clock."""

    code: int
    out: bytes
    err: bytes
    seconds: float
    timed_out: bool = False

    def text(self) -> str:
        return self.out.decode(errors="replace")


def run(
    link: Link,
    command: Sequence[str] | str,
    timeout: float | None = None,
    out: Callable[[bytes], None] | None = None,
    err: Callable[[bytes], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Result:
    """Run `command` in the board's folder, with the environment of the SDK if it is there.

    A list of words is quoted; a string is a line for the board's shell. `timeout` seconds after its
    start the whole process group gets SIGTERM, then SIGKILL, and `timed_out` is set. Output goes to
    `out` and `err` as it comes and, without them, into the result. LinkError: connection lost.
    """
    line = command if isinstance(command, str) else " ".join(quote(w) for w in command)
    sets = "".join(f"export {k}={quote(v)}; " for k, v in (environment or {}).items())
    words = f"{quote(LEADER)} run {quote(link.board.folder)} {quote(sets + line)}"
    # the second command keeps the shell from replacing itself: setsid must not be a group leader
    wrapped = (
        f"if command -v setsid >/dev/null; then setsid sh -c {words}; else sh -c {words}; fi; "
    )
    begin = time.monotonic()
    channel = link.channel(wrapped + "exit $?")
    filtered = _FirstLine(out)
    errors: list[bytes] = []

    def expired() -> bool:
        """Counted from the start of the command: a busy board may take a while to get there."""
        began = filtered.began
        return timeout is not None and began is not None and time.monotonic() > began + timeout

    doing = f"running {line[:60]}"
    try:
        with link.guard(doing):
            pump(channel, filtered, err or errors.append, expired)
            code = channel.recv_exit_status()
            if code == -1:
                raise EOFError
    except TimeoutError:
        _end_group(link, filtered.first)
        with contextlib.suppress(TimeoutError), link.guard(doing):
            grace = time.monotonic() + GRACE_S
            pump(channel, filtered, err or errors.append, lambda: time.monotonic() > grace)
        channel.close()
        seconds = time.monotonic() - begin
        return Result(124, filtered.rest(), b"".join(errors), seconds, timed_out=True)
    except KeyboardInterrupt:
        _end_group(link, filtered.first)
        raise
    return Result(code, filtered.rest(), b"".join(errors), time.monotonic() - begin)


class _FirstLine:
    """Keeps the first line (the process group) and hands the rest on, or collects it."""

    def __init__(self, out: Callable[[bytes], None] | None):
        self.out = out
        self.first = ""
        self.began: float | None = None
        self._head: bytes | None = b""
        self._kept: list[bytes] = []

    def __call__(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            if b"\n" not in self._head:
                return
            line, _, data = self._head.partition(b"\n")
            self.first, self._head = line.decode(errors="replace").strip(), None
            self.began = time.monotonic()
        if data:
            (self.out or self._kept.append)(data)

    def rest(self) -> bytes:
        return b"".join(self._kept)


#: $1 the leader, $2 seconds of patience. Ends its process group; on a board without setsid the
#: leader has none, then the leader and all its descendants
ENDER = """\
kids() {
  for d in /proc/[0-9]*; do
    p=$(sed -n 's/^PPid:[^0-9]*//p' $d/status 2>/dev/null)
    [ "$p" = "$1" ] && echo ${d#/proc/} && kids ${d#/proc/}
  done
}
alive() { for p in $all; do kill -0 $p 2>/dev/null && return; done; return 1; }
if kill -0 -$1 2>/dev/null; then all=-$1; else all="$1 $(kids $1)"; fi
kill -TERM $all 2>/dev/null
i=0; while alive && [ $i -lt $2 ]; do sleep 1; i=$((i+1)); done
for p in $all; do kill -KILL $p 2>/dev/null; done; true
"""


def _end_group(link: Link, group: str) -> None:
    """SIGTERM to the command and its children, SIGKILL to what is left after GRACE_S seconds."""
    if not group.isdigit():
        raise BoardError(f"{link.board.name}: the command did not start; it may still be running")
    link.execute(f"sh -c {quote(ENDER)} end {group} {int(GRACE_S)}")
