"""One push at a time into a folder of a board.

The lock is a folder `.tpuforge.lock` (mkdir is atomic everywhere) held by a small shell process on
the board that lives as long as its connection: when the connection ends, its input ends, and it
removes the lock. A lock whose process or whose boot is gone is taken over.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from .errors import BusyError
from .transport import Link, quote

#: $1 folder. Prints LOCKED and what stands in the lock's file `owner`, or BUSY and the number of
#: the process that holds the lock
HOLDER = """\
L=$1/.tpuforge.lock; b=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
if ! mkdir "$L" 2>/dev/null; then
  p= ob=; i=0
  while [ -z "$p" ] && [ -d "$L" ] && [ $i -lt 3 ]; do
    read p ob < "$L/owner" 2>/dev/null || { i=$((i+1)); sleep 1; }
  done
  if [ -n "$p" ] && [ "$ob" = "$b" ] && kill -0 "$p" 2>/dev/null; then echo "BUSY $p"; exit 75; fi
  rm -rf "$L"; mkdir "$L" 2>/dev/null || { echo "BUSY ?"; exit 75; }
fi
o="$$ $b"; exec 3<&0
end() { kill $c 2>/dev/null; [ "$(cat "$L/owner")" = "$o" ] && rm -rf "$L"; }
trap end EXIT; trap 'exit 1' HUP INT TERM PIPE
echo "$o" > "$L/owner"; echo "LOCKED $o"
cat <&3 > /dev/null & c=$!
wait $c
"""

#: $1 process that holds a lock: ends it
EVICT = """\
kill $1; i=0
while kill -0 $1 2>/dev/null && [ $i -lt 10 ]; do sleep 1; i=$((i+1)); done
kill -9 $1 2>/dev/null
"""


@contextlib.contextmanager
def locked(link: Link, folder: str, wait: float = 0, take_over: bool = False) -> Iterator[str]:
    """Hold the lock of `folder` (it must exist); what stands in its file `owner` as long as it is
    ours.

    wait: seconds to wait for another push to finish. take_over: end the process of the other push.
    BusyError: another push holds it.
    """
    end = time.monotonic() + wait
    while True:
        channel = link.channel(f"sh -c {quote(HOLDER)} lock {quote(folder)}", "locking the folder")
        with link.guard("locking the folder"):
            channel.settimeout(link.board.alive_timeout * 2)
            words = _line(channel).split()
            if words[:1] == ["LOCKED"]:
                break
            channel.recv_exit_status()  # or the next channel is ended: see Link.channel
        channel.close()
        holder = words[1] if len(words) > 1 else "?"
        if take_over and holder.isdigit():
            link.execute(f"sh -c {quote(EVICT)} evict {holder}")
            take_over = False
        elif time.monotonic() >= end:
            raise BusyError(
                f"{link.board.name}: another push into {folder} is running (process {holder} on "
                "the board); nothing was changed. --wait SECONDS waits for it, --take-over ends it"
            )
        else:
            time.sleep(1)
    try:
        yield " ".join(words[1:])
    finally:
        with contextlib.suppress(Exception):
            channel.shutdown_write()
            channel.recv_exit_status()


def _line(channel: object) -> str:
    """The first line that the process prints; empty when it ends without one."""
    text = b""
    while not text.endswith(b"\n"):
        part = channel.recv(1)  # type: ignore[attr-defined]
        if not part:
            break
        text += part
    return text.decode(errors="replace").strip()
