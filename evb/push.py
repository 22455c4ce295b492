"""Copy files to a board: only what differs, resumable, and never half a file under its name.

For every file: compare SHA-256 (equal: nothing is sent) -> send into `.NAME.<12 digits of the
hash>.part` beside it, continuing a part file left by a broken transfer if its bytes are right ->
check the hash on the board -> rename. Renames happen after everything has arrived, so that either
the old set of files or the new one is there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..compiler.errors import TpuforgeError
from .board import Board
from .errors import BoardError, BusyError, NoSpaceError
from .items import Item, sha256
from .lock import locked
from .transport import Link, connect, quote
from .writers import open_writer

Progress = Callable[[int, int, str], None]
#: room that stays free on the board, bytes
RESERVE = 256 << 10

#: reads paths, one a line; prints "hash size" or "- -" for each, or "none" without sha256sum
SURVEY = """\
command -v sha256sum > /dev/null || { echo none; exit 0; }
while IFS= read -r f; do
  if [ -f "$f" ]; then
    set -- $(sha256sum < "$f"); h=$1; set -- $(wc -c < "$f"); echo "$h $1"
  else echo "- -"; fi
done
"""
#: $1 folder, $2 owner of its lock; reads triples of lines mode, part, final. Exit 75: the lock is
#: not ours any more
RENAME = """\
[ "$(cat "$1/.tpuforge.lock/owner" 2>/dev/null)" = "$2" ] || exit 75
while IFS= read -r m && IFS= read -r p && IFS= read -r f; do
  [ -d "$f" ] && { echo "$f is a folder" >&2; exit 1; }
  chmod "$m" "$p" && mv -f "$p" "$f" || exit 1
done; sync
"""


@dataclass
class Report:
    """What a push did. `sent` counts bytes on the way, `resumed` bytes that were already there."""

    board: str
    files: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    sent: int = 0
    resumed: int = 0
    error: TpuforgeError | None = None


@dataclass
class _Job:
    """An item that has to be sent."""

    item: Item
    digest: str
    final: str
    part: str
    done: int = 0


def push(
    link: Link,
    items: Sequence[Item],
    progress: Progress | None = None,
    wait: float = 0,
    take_over: bool = False,
) -> Report:
    """Copy `items` to the board of `link`.

    NoSpaceError: not enough room (nothing was changed); BusyError: another push is running;
    LinkError: connection lost (push again: it continues); BoardError: anything else.
    """
    report = Report(link.board.name)
    folder = link.board.folder
    link.check(f"mkdir -p {quote(folder)}", doing=f"making the folder {folder}")
    with locked(link, folder, wait, take_over) as owner:
        jobs = _plan(link, items, report)
        if not jobs:
            return report
        _make_folders(link, jobs)
        _find_parts(link, jobs, report)
        _check_space(link, jobs)
        try:
            _send(link, jobs, progress, report)
        except NoSpaceError:
            parts = " ".join(quote(j.part) for j in jobs)
            link.execute(f"rm -f {parts}")
            raise
        _verify(link, jobs)
        _rename(link, jobs, owner)
        report.files += [j.final for j in jobs]
    return report


def push_many(
    boards: Sequence[Board],
    items: Sequence[Item],
    progress: Progress | None = None,
    wait: float = 0,
    take_over: bool = False,
) -> list[Report]:
    """Push to several boards at once. A failure stands in its report; the others go on."""

    def one(board: Board) -> Report:
        def labelled(done: int, total: int, label: str) -> None:
            if progress:
                progress(done, total, f"{board.name}: {label}")

        try:
            with connect(board) as link:
                return push(link, items, labelled, wait, take_over)
        except TpuforgeError as e:
            return Report(board.name, error=e)

    with ThreadPoolExecutor(max(1, min(8, len(boards)))) as pool:
        return list(pool.map(one, boards))


def remote_path(board: Board, place: str) -> str:
    """Absolute path on the board; BoardError for a relative place that leaves the folder."""
    path = posixpath.normpath(posixpath.join(board.folder, place))
    if not place.startswith("/") and not f"{path}/".startswith(f"{board.folder.rstrip('/')}/"):
        raise BoardError(f"{board.name}: {place} leaves the folder {board.folder}")
    return path


def _survey(link: Link, paths: Sequence[str]) -> list[tuple[str, int]]:
    """Hash and size of files on the board; ("-", -1) for what is not a file."""
    text = link.check(
        f"sh -c {quote(SURVEY)}", "".join(p + "\n" for p in paths).encode(), "comparing files"
    )
    rows = [line.split() for line in text.splitlines()]
    if len(rows) != len(paths) or any(len(r) != 2 for r in rows):
        raise BoardError(
            f"{link.board.name}: files can not be compared: the board has no `sha256sum`, or it "
            "answers strangely; `tpuforge evb doctor` tells more"
        )
    return [(h, int(n) if n.isdigit() else -1) for h, n in rows]


def _plan(link: Link, items: Sequence[Item], report: Report) -> list[_Job]:
    finals = [remote_path(link.board, i.remote) for i in items]
    there = _survey(link, finals)
    jobs = []
    for item, final, (digest, _) in zip(items, finals, there, strict=True):
        wanted = sha256(item.local)
        if wanted == digest:
            report.unchanged.append(final)
            continue
        base = posixpath.basename(final)
        part = posixpath.join(posixpath.dirname(final), f".{base}.{wanted[:12]}.part")
        jobs.append(_Job(item, wanted, final, part))
    return jobs


def _make_folders(link: Link, jobs: Sequence[_Job]) -> None:
    folders = sorted({posixpath.dirname(j.final) for j in jobs})
    words = " ".join(quote(f) for f in folders)
    link.check(f"mkdir -p {words}", doing="making folders")


def _find_parts(link: Link, jobs: Sequence[_Job], report: Report) -> None:
    """Continue part files whose bytes are right."""
    for job, (digest, size) in zip(jobs, _survey(link, [j.part for j in jobs]), strict=True):
        if 0 < size <= job.item.size() and sha256(job.item.local, size) == digest:
            job.done = size
            report.resumed += size


def _check_space(link: Link, jobs: Sequence[_Job]) -> None:
    """Compare what is to be sent with the room of every file system that is written to."""
    folders: dict[str, int] = {}
    for job in jobs:
        place = posixpath.dirname(job.final)
        folders[place] = folders.get(place, 0) + job.item.size() - job.done
    places = sorted(folders)
    words = " ".join(quote(p) for p in places)
    text = link.execute(f'for d in {words}; do df -Pk "$d" | tail -n 1; done').text()
    rows = [line.rsplit(None, 5) for line in text.splitlines()]
    if len(rows) != len(places) or any(len(r) != 6 or not r[3].isdigit() for r in rows):
        return  # no usable df: a full file system shows while writing
    need: dict[str, int] = {}
    free: dict[str, int] = {}
    for place, row in zip(places, rows, strict=True):
        need[row[5]] = need.get(row[5], 0) + folders[place]
        free[row[5]] = int(row[3]) * 1024
    for mount, size in need.items():
        if size and size + RESERVE > free[mount]:
            raise NoSpaceError(
                f"{link.board.name}: {mount} has {free[mount] / 1e6:.1f} MB free, the push needs "
                f"{(size + RESERVE) / 1e6:.1f} MB; nothing was changed. Remove files on the board, "
                "or set `folder` in its description to a larger file system"
            )


def _send(link: Link, jobs: Sequence[_Job], progress: Progress | None, report: Report) -> None:
    total = sum(j.item.size() for j in jobs)
    done = sum(j.done for j in jobs)
    for job in jobs:
        if job.done == job.item.size() and job.done:
            continue
        with open_writer(link, job.part, job.done) as write, job.item.local.open("rb") as f:
            f.seek(job.done)
            while block := f.read(write.block):
                write(block)
                done += len(block)
                report.sent += len(block)
                if progress:
                    progress(done, total, "push")


def _verify(link: Link, jobs: Sequence[_Job]) -> None:
    """The hash of every part file; a wrong one is removed so that the next push starts afresh."""
    for job, (digest, size) in zip(jobs, _survey(link, [j.part for j in jobs]), strict=True):
        if digest == job.digest:
            continue
        if size >= job.item.size():
            link.execute(f"rm -f {quote(job.part)}")
        raise BoardError(
            f"{link.board.name}: {job.final}: {max(size, 0)} of {job.item.size()} bytes arrived "
            "with another checksum; the old file is untouched. Was the local file changed during "
            "the push? Push again; if it happens again the board's memory or disk is faulty"
        )


def _rename(link: Link, jobs: Sequence[_Job], owner: str) -> None:
    """All parts get their names, if the lock is still ours."""
    lines = "".join(f"{j.item.mode:o}\n{j.part}\n{j.final}\n" for j in jobs)
    words = f"sh -c {quote(RENAME)} rename {quote(link.board.folder)} {quote(owner)}"
    done = link.execute(words, lines.encode(), "renaming the new files")
    if done.code == 75:
        raise BusyError(
            f"{link.board.name}: another push has taken over {link.board.folder}; no file of this "
            "one got its name. Push again if its files are still wanted"
        )
    if done.code:
        reason = " ".join(done.err.decode(errors="replace").split())[-300:]
        raise BoardError(f"{link.board.name}: renaming the new files failed: {reason}")
