"""Finds files of the same content below a folder: `python examples/duplicates/main.py [PATH]`.

Exit codes: 0, there are no duplicates; 1, there are; 2, the folder cannot be searched; 130, stopped by Ctrl-C.
"""

import argparse
import logging
import os
import sys
import sysconfig
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from mountain_runtime import Effect, Err, Ok, Runtime, Shutdown, amap, blocking, fs, run
from mountain_runtime.errors import ConfigError, ShuttingDown

#: How many groups a terminal shows. Into a pipe or a file go all of them.
ROWS = 15
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one content; a file with several names (hard links) stands here once."""

    size: int
    paths: tuple[str, ...]

    @property
    def waste(self) -> int:
        """The bytes that one could save."""
        return self.size * (len(self.paths) - 1)


@dataclass(slots=True)
class Search:
    """The counts of a search."""

    files: int = 0
    suspects: int = 0
    compared: int = 0
    groups: tuple[Group, ...] = ()
    finished: bool = False


def shown(path: str) -> str:
    """The path for people: whatever cannot be printed, and the backslash, byte by byte as `\\xNN`."""
    return "".join(c if c.isprintable() and c != "\\" else "".join(f"\\x{b:02x}" for b in os.fsencode(c)) for c in path)


def skipped(path: str, why: OSError) -> None:
    err.print(f"skipped {shown(path)}: {why.strerror or why}", markup=False, soft_wrap=True)


async def suspects(rt: Runtime, root: str, search: Search, progress: Progress) -> list[fs.Entry]:
    """The files that are not the only one of their size."""
    by_size: defaultdict[int, list[fs.Entry]] = defaultdict(list)
    task = progress.add_task("looking", total=None)
    async for entry in fs.walk(root):
        if rt.stopping():
            raise ShuttingDown("the walk was stopped")
        if entry.is_file and entry.size:  # neither links nor folders; and empty files waste nothing
            by_size[entry.size].append(entry)
            search.files += 1
            if search.files % 256 == 0:
                progress.update(task, completed=search.files)
    progress.remove_task(task)
    return [entry for entries in by_size.values() if len(entries) > 1 for entry in entries]


def digest(entry: fs.Entry) -> Effect[Ok[bytes] | Err[OSError]]:
    return fs.hash(entry.path).attempt(OSError)


async def same_content(entries: list[fs.Entry], search: Search, progress: Progress) -> list[list[fs.Entry]]:
    """The files in groups by their content."""
    by_content: defaultdict[tuple[int, bytes], list[fs.Entry]] = defaultdict(list)
    task = progress.add_task("comparing", total=sum(entry.size for entry in entries))
    async with amap(digest, entries, limit=64) as results:
        async for entry, result in results:
            match result:
                case Ok(value=content):
                    by_content[entry.size, content].append(entry)
                    search.compared += 1
                case Err(error=error):
                    skipped(entry.path, error)
            progress.advance(task, entry.size)
    return [group for group in by_content.values() if len(group) > 1]


@blocking
def without_hard_links(groups: list[list[fs.Entry]]) -> tuple[Group, ...]:
    """Only files that take up room of their own; the most wasteful group first."""
    found: list[Group] = []
    for entries in groups:
        own: dict[tuple[int, int], str] = {}
        for path in sorted(entry.path for entry in entries):
            try:
                about = os.lstat(path)
            except OSError as error:  # it went away while we were looking
                skipped(path, error)
            else:
                own.setdefault((about.st_dev, about.st_ino), path)
        if len(own) > 1:
            found.append(Group(entries[0].size, tuple(own.values())))
    return tuple(sorted(found, key=lambda group: (-group.waste, group.paths)))


def bar(*columns: ProgressColumn) -> Progress:
    """On a terminal only, and gone when it has done its work."""
    label = TextColumn("{task.description:9}")
    return Progress(label, BarColumn(), *columns, console=err, transient=True, disable=not err.is_terminal)


async def look(rt: Runtime, root: str, search: Search) -> None:
    with bar(MofNCompleteColumn()) as progress:
        entries = await suspects(rt, root, search, progress)
    search.suspects = len(entries)
    with bar(DownloadColumn(), TransferSpeedColumn()) as progress:
        groups = await same_content(entries, search, progress)
    search.groups = await without_hard_links(groups)
    search.finished = True


def as_table(groups: Iterable[Group]) -> Table:
    table = Table("wasted", "copies", "size", "files")
    for column in table.columns[:3]:
        column.justify = "right"
    table.columns[3].overflow = "fold"
    for group in groups:
        names = [shown(path).replace("[", r"\[") for path in group.paths[:3]]
        more = [f"... and {len(group.paths) - 3} more"] if len(group.paths) > 3 else []
        table.add_row(decimal(group.waste), str(len(group.paths)), decimal(group.size), "\n".join(names + more))
    return table


def report(search: Search, took: float) -> None:
    if out.is_terminal and search.groups:
        out.print(as_table(search.groups[:ROWS]))
        if len(search.groups) > ROWS:
            out.print(f"... and {len(search.groups) - ROWS} groups more: send the output to a file to see all")
    elif search.groups:
        for group in search.groups:
            print(f"{len(group.paths)} copies of {group.size} bytes, {group.waste} wasted")
            for path in group.paths:
                print(f"  {shown(path)}")
    waste = sum(group.waste for group in search.groups)
    out.print(
        f"{search.files} files, {search.compared} compared in {took:.2f} s: "
        f"{len(search.groups)} groups of duplicates, {decimal(waste)} ({waste} bytes) wasted",
        soft_wrap=True,
    )


def effects(rt: Runtime) -> Table:
    """The runtime's figures for it."""
    table = Table("effect", "runs", "failed", "p50", "p99", title="what ran")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, each in rt.statistics().effects.items():
        if each.started:
            times = (f"{seconds * 1e3:.2f} ms" for seconds in (each.p50, each.p99))
            table.add_row(name, f"{each.started:,}", f"{each.failed:,}", *times)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="duplicates", description="Finds files of the same content below a folder.")
    parser.add_argument("path", nargs="?", default=sysconfig.get_path("stdlib"), help="by default Python's own library")
    parser.add_argument("--dashboard", metavar="HOST:PORT", help="serve a live page of the work there; port 0 is any")
    chosen = parser.parse_args()
    root = str(chosen.path)
    if not Path(root).is_dir():
        parser.error(f"{shown(root)} is not a folder")

    if chosen.dashboard:
        # Its address is logged.
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    search = Search()
    began = time.monotonic()

    async def job(rt: Runtime) -> None:
        try:
            await look(rt, root, search)
        except ShuttingDown:  # the comparisons under way have ended, and no new one was begun
            pass

    # Comparisons under way when Ctrl-C comes have a second to end; after that, or at a second Ctrl-C, they are
    # cancelled.
    try:
        runtime = Runtime(shutdown=Shutdown(drain=1), dashboard=chosen.dashboard)
    except ConfigError as error:  # that is no address
        parser.error(str(error))
    try:
        run(job, runtime=runtime)
    except KeyboardInterrupt:
        pass
    except ConfigError as error:  # nothing can be served there
        parser.error(str(error))
    except OSError as error:  # the folder itself: what is below it would have been skipped
        parser.error(f"{shown(root)}: {error.strerror or error}")
    if not search.finished:
        err.print(f"stopped after comparing {search.compared} of {search.suspects} files", soft_wrap=True)
        err.print(str(runtime.report), markup=False, soft_wrap=True)
        return 130
    report(search, time.monotonic() - began)
    if chosen.dashboard:
        err.print(effects(runtime))
    return 1 if search.groups else 0


if __name__ == "__main__":
    sys.exit(main())
