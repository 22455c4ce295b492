"""tpuforge evb: boards. Every verb is a few lines over the package tpuforge.evb."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from ..compiler.chip import CHIPS
from ..compiler.errors import OptionError
from ..evb import board as boards
from . import common
from .common import Parser, say

Verb = Callable[[list[str]], int]


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "tpuforge evb", argv)


def _main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        say("usage: tpuforge evb VERB [options]     `tpuforge evb VERB --help` lists the options")
        for name, (text, _) in VERBS.items():
            say(f"  {name:{width}s}  {text}")
        return 0
    if argv[0] not in VERBS:
        near = difflib.get_close_matches(argv[0], VERBS, 1)
        hint = f"did you mean {near[0]}?" if near else "`tpuforge evb --help` lists them"
        raise OptionError(f"unknown verb {argv[0]!r}: {hint}")
    return VERBS[argv[0]][1](argv[1:])


def _parser(verb: str, board: bool = True) -> Parser:
    p = Parser(f"tpuforge evb {verb}", VERBS[verb][0])
    if board:
        help = "name of a board (`tpuforge evb list`) or its .toml file"
        p.add_argument("--board", required=True, metavar="NAME", help=help)
    common.add_common_options(p)
    return p


def _parse(p: Parser, argv: list[str]) -> argparse.Namespace:
    options = p.parse(argv)
    common.apply_common_options(options)
    return options


def _stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _stderr(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()


# ---- descriptions


def _new(argv: list[str]) -> int:
    p = _parser("new", board=False)
    p.add_argument("name", help="name of the board")
    p.add_argument("--host", default="", help="address")
    p.add_argument("--port", type=int, default=22)
    p.add_argument("--user", default="root")
    p.add_argument("--password", default="", metavar="FORM", help=boards.PASSWORD_FORMS)
    p.add_argument("--key", default="", metavar="FILE", help="private key instead of a password")
    p.add_argument("--serial", default="", metavar="PORT", help="/dev/ttyUSB0, socket://host:port")
    p.add_argument("--baud", type=int, default=115200)
    p.add_argument("--chip", default="cv181x", type=str.lower, choices=list(CHIPS))
    p.add_argument("--target", default="aarch64", choices=boards.TARGETS)
    p.add_argument("--folder", default="/mnt/data/tpuforge", help="where pushed files go")
    p.add_bool("--simulator", help="the board has no TPU")
    o = _parse(p, argv)
    if boards.board_path(o.name).exists():
        raise OptionError(f"{boards.board_path(o.name)} exists; edit it, or choose another name")
    known = {f: getattr(o, f) for f in boards.Board.__dataclass_fields__ if hasattr(o, f)}
    board = boards.Board(**known)
    say(f"Saving {boards.save_board(board)}")
    if board.host:
        say(f"next: `tpuforge evb pin {board.name}` to look at its host key")
    return 0


def _list(argv: list[str]) -> int:
    _parse(_parser("list", board=False), argv)
    for name in boards.board_names():
        b = boards.load_board(name)
        say(f"{name:16s} {b.chip} {b.target:12s} {b.address()}")
    return 0


def _pin(argv: list[str]) -> int:
    import dataclasses

    from ..evb.transport import fingerprint_of

    p = _parser("pin", board=False)
    p.add_argument("name", help="name of the board")
    p.add_argument("--fingerprint", metavar="SHA256:...", help="store this one")
    o = _parse(p, argv)
    board = boards.load_board(o.name)
    kind, actual = fingerprint_of(board)
    if not o.fingerprint:
        say(f"{board.host}:{board.port} presents {kind} {actual}")
        say(f"pinned: {board.host_key or 'nothing'}")
        say(
            "compare it on the board's console, then "
            f"`tpuforge evb pin {o.name} --fingerprint {actual}`"
        )
        return 0
    if o.fingerprint != actual:
        raise OptionError(f"the board presents {actual}, not {o.fingerprint}; nothing was stored")
    say(f"Saving {boards.save_board(dataclasses.replace(board, host_key=actual))}")
    return 0


# ---- verbs on a board


def _doctor(argv: list[str]) -> int:
    from ..evb.doctor import FAIL, doctor
    from ..evb.items import sha256

    p = _parser("doctor")
    p.add_argument("--sdk", metavar="DIR", help="compare the runtime on the board with this SDK")
    o = _parse(p, argv)
    library = Path(o.sdk) / "lib/libcviruntime.so" if o.sdk else None
    if library and not library.is_file():
        raise OptionError(f"--sdk {o.sdk}: it has no lib/libcviruntime.so")
    findings = doctor(boards.load_board(o.board), sha256(library) if library else "")
    for finding in findings:
        print(finding.line(), flush=True)
    return 1 if any(f.level == FAIL for f in findings) else 0


def _push(argv: list[str]) -> int:
    from ..evb.items import collect
    from ..evb.push import push_many
    from ..evb.sdk import board_items

    p = _parser("push")
    p.add_argument("files", nargs="*", help="files and folders")
    p.add_argument("--to", default="", metavar="DIR", help="folder on the board for the files")
    p.add_argument("--sdk", metavar="DIR", help="push what a board needs of an SDK folder")
    p.add_argument("--wait", type=float, default=0, metavar="S", help="wait for another push")
    p.add_bool("--take-over", help="end another push that hangs")
    o = _parse(p, argv)
    items = [*(board_items(Path(o.sdk)) if o.sdk else []), *collect(o.files, o.to)]
    if not items:
        raise OptionError("nothing to push: give files or --sdk")
    chosen = [boards.load_board(n) for n in common.names(o.board)]
    with common.Progress("push") as progress:
        reports = push_many(chosen, items, progress, o.wait, o.take_over)
    for r in reports:
        if r.error:
            print(f"tpuforge evb push: error: {r.error}", file=sys.stderr)
        else:
            resumed = f", {r.resumed / 1e6:.1f} MB were there already" if r.resumed else ""
            say(
                f"{r.board}: {len(r.files)} files sent ({r.sent / 1e6:.1f} MB{resumed}), "
                f"{len(r.unchanged)} unchanged"
            )
    return max((r.error.exit_code for r in reports if r.error), default=0)


def _run(argv: list[str]) -> int:
    from ..evb import connect, run
    from ..evb.deploy import LABELS, sample_command

    own, command = _split(argv)
    p = _parser("run")
    p.add_argument("--timeout", type=float, metavar="S", help="end it after that time")
    p.add_argument("--sample", help="a sample instead of a command")
    p.add_argument("--model", help="on the board: path of the model")
    p.add_argument("--image", default="", help="on the board: path of the picture")
    p.add_argument("--labels", default=LABELS, help="on the board: path of the labels")
    p.add_argument("words", nargs="*", help="command (behind -- if it has options)")
    o = _parse(p, own)
    if o.sample:
        if not o.model:
            raise OptionError("--sample needs --model")
        words = sample_command(o.sample, o.model, o.image, o.labels, [*o.words, *command])
    else:
        words = [*o.words, *command]
    if not words:
        raise OptionError("no command: `tpuforge evb run --board NAME -- COMMAND`, or --sample")
    with connect(boards.load_board(o.board)) as link:
        result = run(link, words, o.timeout, _stdout, _stderr)
    return _exit_code(result.code, result.timed_out, o.timeout)


def _exit_code(code: int, timed_out: bool, timeout: float | None) -> int:
    if timed_out:
        print(f"tpuforge evb: ended after {timeout:g} s (exit 124)", file=sys.stderr)
    return code


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind the first --."""
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], argv[at + 1 :]


def _bench(argv: list[str]) -> int:
    from ..evb import connect
    from ..evb.bench import bench

    p = _parser("bench")
    p.add_argument("model", help=".cvimodel, pushed first")
    p.add_argument("-n", "--count", type=int, default=10, metavar="N", help="runs (10)")
    p.add_argument("--input", metavar="FILE", help=".npz or .npy of real numbers (default random)")
    p.add_argument("--timeout", type=float, default=600, metavar="S")
    p.add_bool("--simulate", default=True, help="compare with our simulator (default true)")
    o = _parse(p, argv)
    model = common.existing_file(o.model, "a model")
    with connect(boards.load_board(o.board)) as link:
        given = Path(o.input) if o.input else None
        r = bench(link, model, o.count, given, o.timeout, o.simulate)
    say(f"{r.runs} runs: min {r.minimum:.3f} ms, median {r.median:.3f} ms, max {r.maximum:.3f} ms")
    for name, same in r.equal.items():
        say(f"{name}: {'same bytes as the simulator' if same else 'DIFFERS from the simulator'}")
    return 0 if all(r.equal.values()) else 1


def _pull(argv: list[str]) -> int:
    from ..evb import connect
    from ..evb.pull import pull

    p = _parser("pull")
    p.add_argument("files", nargs="+", help="on the board")
    p.add_argument("--to", default=".", metavar="DIR", help="folder here")
    o = _parse(p, argv)
    with connect(boards.load_board(o.board)) as link, common.Progress("pull") as progress:
        for path in pull(link, o.files, Path(o.to), progress):
            say(f"Saving {path}")
    return 0


def _shell(argv: list[str]) -> int:
    from ..evb import connect
    from ..evb.shell import shell

    o = _parse(_parser("shell"), argv)
    with connect(boards.load_board(o.board)) as link:
        return shell(link)


def _console(argv: list[str]) -> int:
    from ..evb.console import Console, interact

    p = _parser("console")
    p.add_argument("--command", metavar="LINE", help="log in, run a line of shell, leave")
    p.add_argument("--send", metavar="FILE", help="send a file over the console (base64)")
    p.add_argument("--to", metavar="PATH", help="its place on the board (absolute)")
    p.add_argument("--timeout", type=float, default=60, metavar="S", help="for --command")
    o = _parse(p, argv)
    board = boards.load_board(o.board)
    if o.send and not (o.to or "").startswith("/"):
        raise OptionError("--send needs --to with an absolute path on the board")
    with Console(board) as console:
        if not o.send and not o.command:
            say(f"{board.serial}: Ctrl-] ends")
            interact(console)
            return 0
        console.login()
        if o.send:
            with common.Progress("console") as progress:
                console.send_file(common.existing_file(o.send, "to send"), o.to, progress)
            say(f"{board.name}: {o.to}: complete, checksum right")
        if o.command:
            code, text = console.command(o.command, o.timeout)
            sys.stdout.write(text)
            return code
    return 0


def _boot_wait(argv: list[str]) -> int:
    from ..evb.wait import wait_for_ssh

    p = _parser("boot-wait")
    p.add_argument("--timeout", type=float, default=120, metavar="S")
    o = _parse(p, argv)
    board = boards.load_board(o.board)
    say(f"{board.name}: SSH answers after {wait_for_ssh(board, o.timeout):.1f} s")
    return 0


def _virtual(argv: list[str]) -> int:
    from ..evb import virtual

    p = _parser("virtual", board=False)
    p.add_argument("what", choices=("up", "down", "status"))
    p.add_argument("--name", default="virtual", help="of the board (virtual)")
    p.add_argument("--chip", default="cv183x", type=str.lower, choices=list(CHIPS))
    p.add_argument("--target", default="aarch64", choices=("aarch64", "armhf"))
    p.add_argument("--without", default="", metavar="A,B", help="leave out: sftp, sha256sum, ...")
    p.add_argument("--timeout", type=float, default=120, metavar="S")
    p.add_bool("--refresh", help="fetch the Debian packages again")
    o = _parse(p, argv)
    if o.what == "down":
        say(f"{o.name}: {'switched off' if virtual.down(o.name) else 'was not running'}")
        return 0
    if o.what == "up":
        _, s = virtual.up(
            o.name, chip=o.chip, target=o.target, without=common.names(o.without),
            refresh=o.refresh, timeout=o.timeout, note=say,
        )  # fmt: skip
    else:
        s = virtual.status(o.name)
    if not s.pid:
        say(f"{o.name}: not running" + (f"; it ended by itself: {s.ended}" if s.ended else ""))
        return 1
    say(f"{o.name}: running, process {s.pid}, SSH on 127.0.0.1:{s.port}, serial {s.terminal}")
    say(f"{o.name}: assembled in {s.assemble_s:.1f} s, booted in {s.boot_s:.1f} s")
    return 0


VERBS: dict[str, tuple[str, Verb]] = {
    "new": ("write the description of a board", _new),
    "list": ("the boards that are described", _list),
    "pin": ("show or store the host key of a board", _pin),
    "doctor": ("what is right and wrong with a board, with the fix", _doctor),
    "push": ("copy files: only what differs, resumable, complete or not at all", _push),
    "run": ("run a command or a sample on a board", _run),
    "bench": ("times of a model on a board, output compared with the simulator", _bench),
    "pull": ("copy files from a board", _pull),
    "shell": ("an interactive shell on a board", _shell),
    "console": ("the serial console: interactive, one command, or a file", _console),
    "boot-wait": ("wait until a board answers", _boot_wait),
    "virtual": ("a virtual board in qemu: up, down, status", _virtual),
}
