"""What is right and wrong with a board: one finding per line, each with its fix.

All facts come from one shell script, so that a board with little more than a shell can be examined.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .board import Board
from .errors import BoardError, HostKeyError
from .transport import Link, connect, quote

OK, WARN, FAIL = "ok", "warn", "fail"
LOADERS = {"aarch64": "/lib/ld-linux-aarch64.so.1", "armhf": "/lib/ld-linux-armhf.so.3"}
MACHINES = {
    "aarch64": ("aarch64",), "armhf": ("armv7l", "armv8l", "aarch64"), "riscv64-musl": ("riscv64",),
}  # fmt: skip
NEEDED_TOOLS = {
    "sha256sum": "push compares and checks files with it",
    "df": "push checks the free space with it",
    "setsid": "run ends all children of a command that hangs with it",
    "base64": "files over a serial console need it",
}
MEMORY_KB, DISK_KB = 32 * 1024, 32 * 1024

#: prints lines `key value`; $1 is the folder of the board
PROBE = """\
echo "machine $(uname -m)"; echo "kernel $(uname -r)"
echo "model $(tr -d '\\000' < /proc/device-tree/model 2>/dev/null)"
for t in sha256sum df setsid base64; do
  command -v $t > /dev/null 2>&1 && echo "tool_$t yes" || echo "tool_$t no"
done
for f in /lib/ld-linux-aarch64.so.1 /lib/ld-linux-armhf.so.3; do
  [ -e $f ] && echo "loader_$f yes" || echo "loader_$f no"
done
for f in ${TPU_DEV:-/dev/cvi-tpu0} /dev/ion; do
  s=denied; [ -r $f ] && [ -w $f ] && s=yes; [ -e $f ] || s=no
  case $f in /dev/ion) echo "node_ion $s";; *) echo "node_tpu $s";; esac
done
for f in /sys/kernel/debug/ion/*carveout*/summary; do
  [ -r "$f" ] && echo "ion_bytes $(sed -n 's/.*size:\\([0-9]*\\).*/\\1/p' "$f" | head -n 1)" &&
    echo "ion_used $(sed -n 's/.*used:\\([0-9]*\\).*/\\1/p' "$f" | head -n 1)"
done
while read k v u; do case $k in MemAvailable:) echo "memory_kb $v";; esac; done < /proc/meminfo
d=$1; while [ ! -d "$d" ]; do d=$(dirname "$d"); done
echo "place $d"; echo "disk $(df -Pk "$d" 2>/dev/null | tail -n 1)"
t=$d/.tpuforge.$$; w=no; (: > "$t") 2>/dev/null && w=yes && rm -f "$t"; echo "writable $w"
r=$1/lib/libcviruntime.so; [ -f "$r" ] && echo "runtime $(sha256sum < "$r" | cut -c1-64)"
v=$1/version; [ -f "$v" ] && echo "version $(head -n 1 "$v")"
"""


@dataclass(frozen=True)
class Finding:
    """level: ok, warn (works with less) or fail. fix: what to do, empty for ok."""

    name: str
    level: str
    text: str
    fix: str = ""

    def line(self) -> str:
        return f"{self.level:4s}  {self.name:10s} {self.text}" + (f"; {self.fix}" * bool(self.fix))


Facts = dict[str, str]


def doctor(board: Board, runtime_sha: str = "", timeout: float = 20) -> list[Finding]:
    """Examine a board. runtime_sha: hash of the library that would be pushed, to compare.

    Never raises for what is wrong with the board: that is a finding.
    """
    try:
        with connect(board, timeout) as link:
            return [
                Finding("ssh", OK, f"{board.address()}, host key {board.host_key[:18]}..."),
                *examine(link, runtime_sha),
            ]
    except HostKeyError as e:
        return [Finding("host key", FAIL, _short(e, board))]
    except BoardError as e:
        return [Finding("ssh", FAIL, _short(e, board))]


def _short(e: Exception, board: Board) -> str:
    return str(e).removeprefix(f"{board.name}: ")


def examine(link: Link, runtime_sha: str = "") -> list[Finding]:
    """The findings of an open connection."""
    words = f"sh -c {quote(PROBE)} probe {quote(link.board.folder)}"
    text = link.execute(words, doing="examining the board").text()
    facts = dict(line.partition(" ")[::2] for line in text.splitlines())
    facts["sftp"] = "yes" if link.sftp() is not None else "no"
    facts["runtime_sha"] = runtime_sha
    checks: tuple[Callable[[Board, Facts], list[Finding]], ...] = (
        _machine, _loader, _chip, _nodes, _ion, _memory, _disk, _tools, _runtime,
    )  # fmt: skip
    return [finding for check in checks for finding in check(link.board, facts)]


def _machine(board: Board, f: Facts) -> list[Finding]:
    machine = f.get("machine", "?")
    if board.target in MACHINES and machine not in MACHINES[board.target]:
        fits = [t for t, names in MACHINES.items() if machine in names]
        fix = f"set target = {fits[0]!r} in the board's description" if fits else "no target fits"
        return [Finding("arch", FAIL, f"{machine} does not run {board.target} programs", fix)]
    return [Finding("arch", OK, f"{machine}, Linux {f.get('kernel', '?')}, target {board.target}")]


def _loader(board: Board, f: Facts) -> list[Finding]:
    loader = LOADERS.get(board.target)
    if not loader:
        return [Finding("libc", OK, "static programs need no C library on the board")]
    if f.get(f"loader_{loader}") == "yes":
        return [Finding("libc", OK, f"{loader} is there")]
    other = [t for t, p in LOADERS.items() if f.get(f"loader_{p}") == "yes"]
    if other:
        fix = f"the board has the loader of {other[0]}: set target = {other[0]!r}"
    else:
        fix = "a board with musl or uClibc needs a static target"
    return [Finding("libc", FAIL, f"{loader} is missing: programs fail with `not found`", fix)]


def _chip(board: Board, f: Facts) -> list[Finding]:
    model = f.get("model", "")
    if board.simulator:
        return [Finding("chip", OK, f"{model or 'unknown'}: models for {board.chip} are simulated")]
    digits = re.search(r"cv18(\d)", model.lower())
    if not digits:
        fix = f"make sure that it is a {board.chip}" if not model else "check `chip`"
        return [Finding("chip", WARN, f"the device tree says {model or 'nothing'!r}", fix)]
    if digits[1] != board.chip[4]:
        fix = f"set chip = 'cv18{digits[1]}x' in the board's description"
        return [Finding("chip", FAIL, f"the board is {model!r}, not {board.chip}", fix)]
    return [Finding("chip", OK, model)]


def _nodes(board: Board, f: Facts) -> list[Finding]:
    found = []
    for key, node, module in (("tpu", "/dev/cvi-tpu0", "cvi_tpu"), ("ion", "/dev/ion", "ion")):
        state = f.get(f"node_{key}", "no")
        if state == "yes":
            found.append(Finding("driver", OK, f"{node} is there"))
        elif state == "denied":
            fix = "log in as root, or give this user rights on it"
            found.append(Finding("driver", FAIL, f"{node} may not be opened", fix))
        elif board.simulator:
            found.append(Finding("driver", OK, f"no {node}: the simulator runs the models"))
        else:
            fix = f"load its kernel module ({module}; `lsmod`, `dmesg | grep -i tpu`)"
            found.append(Finding("driver", FAIL, f"{node} is missing", fix))
    return found


def _ion(board: Board, f: Facts) -> list[Finding]:
    if board.simulator or f.get("node_ion") != "yes":
        return []
    size, used = f.get("ion_bytes", ""), f.get("ion_used", "")
    if size.isdigit():
        rest = f", {int(used) / 1e6:.1f} MB in use" if used.isdigit() else ""
        return [Finding("ion", OK, f"{int(size) / 1e6:.1f} MB of memory for the TPU{rest}")]
    fix = "`mount -t debugfs none /sys/kernel/debug` on the board shows it"
    return [Finding("ion", WARN, "size of the ION memory unknown", fix)]


def _memory(board: Board, f: Facts) -> list[Finding]:
    kb = int(f.get("memory_kb") or 0)
    if kb < MEMORY_KB:
        return [Finding("memory", WARN, f"{kb / 1024:.0f} MB available", "end other programs")]
    return [Finding("memory", OK, f"{kb / 1024:.0f} MB available")]


def _disk(board: Board, f: Facts) -> list[Finding]:
    found = []
    if f.get("writable") != "yes":
        fix = "mount it writable, or set `folder` to another place"
        found.append(Finding("disk", FAIL, f"{f.get('place', '?')} is not writable", fix))
    row = f.get("disk", "").rsplit(None, 5)
    if len(row) == 6 and row[3].isdigit():
        text = f"{int(row[3]) / 1024:.0f} MB free on {row[5]} for {board.folder}"
        fix = "remove files, or set `folder` to a larger file system"
        low = int(row[3]) < DISK_KB
        found.append(Finding("disk", WARN, text, fix) if low else Finding("disk", OK, text))
    return found


def _tools(board: Board, f: Facts) -> list[Finding]:
    found = []
    for tool, use in NEEDED_TOOLS.items():
        if f.get(f"tool_{tool}") != "yes":
            level = FAIL if tool == "sha256sum" else WARN
            fix = "enable it in the board's busybox"
            found.append(Finding("tools", level, f"no {tool}: {use}", fix))
    if f["sftp"] == "no":
        found.append(Finding("sftp", OK, "no sftp server: files go through `cat`"))
    else:
        found.append(Finding("sftp", OK, "sftp server answers"))
    return found


def _runtime(board: Board, f: Facts) -> list[Finding]:
    """The library that was pushed: version and target of its SDK, and its hash."""
    there, wanted = f.get("runtime", ""), f["runtime_sha"]
    place = f"{board.folder}/lib/libcviruntime.so"
    fix = f"`tpuforge build-runtime --target {board.target}`, then `tpuforge evb push --sdk FOLDER`"
    if not there and board.target == "riscv64-musl":
        return [Finding("runtime", OK, "linked into the programs")]
    if not there:
        return [Finding("runtime", WARN, f"{place} is missing", fix)]
    version = f.get("version", "of unknown version")
    text = f"{version}, {place} ({there[:12]})"
    if (target := version.rpartition(" ")[2]) in MACHINES and target != board.target:
        return [Finding("runtime", FAIL, f"{text} is for {target}, not {board.target}", fix)]
    if wanted and wanted != there:
        return [Finding("runtime", WARN, f"{text} is not {wanted[:12]} of the SDK here", fix)]
    return [Finding("runtime", OK, text)]
