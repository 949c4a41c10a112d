"""The same search by `rg --json`, to compare with."""

import base64
import json
import os
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from mountain_runtime import search

#: A match to compare: path, line, column, text, the lines before and after.
Found = tuple[str, int, int, str, tuple[str, ...], tuple[str, ...]]


def arguments(
    *,
    literal: bool = False,
    case: str = "smart",
    word: bool = False,
    multiline: bool = False,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    hidden: bool = False,
    ignore_files: bool = True,
    context: int = 0,
    max_per_file: int | None = None,
) -> list[str]:
    """The options of `search.lines` as those of `rg`."""
    flags = {"--fixed-strings": literal, "--word-regexp": word, "--multiline": multiline, "--hidden": hidden}
    found = [flag for flag, given in flags.items() if given]
    found += [{"smart": "--smart-case", "insensitive": "--ignore-case", "sensitive": "--case-sensitive"}[case]]
    found += [f"--glob={glob}" for glob in include] + [f"--glob=!{glob}" for glob in exclude]
    found += [] if ignore_files else ["--no-ignore"]
    found += [f"--context={context}"] if context else []
    found += [] if max_per_file is None else [f"--max-count={max_per_file}"]
    return found


def rg(root: Path, *arguments: str, of: str = ".") -> bytes:
    """The output of ripgrep in that folder."""
    argv = ["rg", "--no-config", *arguments, of]
    done = subprocess.run(argv, cwd=root, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def by_ripgrep(root: Path, pattern: str, *, of: str = ".", **options: Any) -> list[Found]:
    """Its matches, sorted, by path below the root."""
    lines: dict[str, dict[int, str]] = defaultdict(dict)
    matches: list[tuple[str, int, int, str]] = []
    for event in map(json.loads, rg(root, "--json", *arguments(**options), "--regexp", pattern, of=of).splitlines()):
        if event["type"] not in ("match", "context"):
            continue
        data = event["data"]
        path, text, number = os.path.normpath(_text(data["path"])), _text(data["lines"]), data["line_number"]
        for offset, line in enumerate(text.removesuffix("\n").split("\n")):
            lines[path][number + offset] = line.removesuffix("\r")
        if event["type"] == "match":
            column = data["submatches"][0]["start"] if data["submatches"] else 0
            matches.append((path, number, column, text.removesuffix("\n").removesuffix("\r")))
    context: int = options.get("context", 0)

    def around(path: str, first: int, last: int) -> tuple[str, ...]:
        return tuple(lines[path][number] for number in range(first, last + 1) if number in lines[path])

    found: list[Found] = []
    for path, number, column, text in matches:
        end = number + text.count("\n")
        after = around(path, end + 1, end + context)
        found.append((path, number, column, text, around(path, number - context, number - 1), after))
    return sorted(found)


async def by_us(root: Path, pattern: str, *, of: str = ".", **options: Any) -> list[Found]:
    """The matches of `search.lines`, in the same form."""
    found = [
        (os.path.relpath(each.path, root), each.line, each.column, each.text, each.before, each.after)
        async for each in search.lines(pattern, root / of, **options)
    ]
    return sorted(found)


def _text(data: dict[str, str]) -> str:
    raw = data["text"].encode() if "text" in data else base64.b64decode(data["bytes"])
    return raw.decode(errors="surrogateescape")
