"""The one call of a search."""

import os
import re
import reprlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import cache, partial
from typing import Literal, Never, cast

from .. import _native
from .._effect.habits import no_argument
from .._effect.stream import own_stream
from .._native import Match, Stream
from .._tasks.batched import items
from .._tasks.pretended import searches
from ..errors import ConfigError
from ..policy._given import shown
from ..policy._numbers import count
from ..telemetry import _logs

__all__ = ["lines"]

StrPath = str | os.PathLike[str]
Begin = Callable[[], AsyncGenerator[Match, None]]

_INCLUDE = "write include=['*.py'], and exclude= for those to leave out"
_CASE = "write case='insensitive'; 'smart', without it, tells case apart where the pattern has a capital letter"

#: Arguments of ripgrep and its bindings, of grep and re, and what to write in their place.
_ARGUMENTS = {
    **dict.fromkeys(("ignore_case", "smart_case", "case_sensitive", "case_insensitive"), _CASE),
    **dict.fromkeys(("fixed_strings", "fixed_string", "regex"), "write literal=True for a text that is no pattern"),
    **dict.fromkeys(("word_regexp", "whole_word"), "write word=True"),
    **dict.fromkeys(("glob", "globs", "iglob", "type", "types", "type_not", "file_type"), _INCLUDE),
    **dict.fromkeys(("no_ignore", "gitignore", "respect_gitignore"), "write ignore_files=False"),
    **dict.fromkeys(("before_context", "after_context", "before", "after"), "write context=, lines on both sides"),
    "max_count": "write max_per_file=",
    **dict.fromkeys(("max_results", "limit"), "leave the block when there are enough"),
    **dict.fromkeys(("max_depth", "max_filesize"), "all below the root is searched; exclude= leaves out folders"),
    **dict.fromkeys(("follow", "follow_symlinks", "follow_links"), "links are not followed below the root"),
    "encoding": "a byte order mark says UTF-16, and anything else is searched as bytes",
    **dict.fromkeys(("invert_match", "count", "files_with_matches"), "it gives the lines that match: count them"),
    **dict.fromkeys(("multiline_dotall", "dotall", "flags"), "write flags into the pattern, as (?s) or (?i)"),
    "timeout": "write search.lines(...).under(Timeout(seconds))",
    **dict.fromkeys(("threads", "workers"), "it takes all cores"),
    **dict.fromkeys(("path", "paths", "dir", "cwd"), "the root is the second argument; of several, search each"),
    "patterns": "write one pattern, as 'this|that'",
}

_log = _logs.logger("search")


def lines(
    pattern: str,
    root: StrPath = ".",
    *,
    literal: bool = False,
    case: Literal["sensitive", "insensitive", "smart"] = "smart",
    word: bool = False,
    multiline: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    hidden: bool = False,
    ignore_files: bool = True,
    context: int = 0,
    max_per_file: int | None = None,
    **other: Never,
) -> Stream[Match]:
    """The lines that match `pattern`, in the files below `root`, or in `root` if it is a file.

    Those of a file come one after another, files in no order; leaving the block stops the threads that search. The
    pattern is a regular expression as the Rust crate regex has them, or with `literal` a text. `smart` means sensitive
    if the pattern has a capital letter. A match is within a line, unless `multiline` lets it go over several.

    `include` and `exclude` are globs as .gitignore has them, from the root on. Files that .gitignore and its like name
    are left out unless `ignore_files` is False, hidden ones unless `hidden` is True. `context` is the number of lines
    that a match has before and after it; `max_per_file` the number of matches after which a file is left.

    A file with a null byte is taken for binary and left there, and one that cannot be read is left out: both are
    logged, to "mountain_runtime.search". A byte order mark tells UTF-16 from UTF-8.

    Raises ConfigError where no search can be made of the pattern or a glob, OSError with errno and filename if the root
    cannot be read.
    """
    if other:
        raise no_argument("search.lines", other, _ARGUMENTS)
    if not isinstance(cast("object", pattern), str):
        way = ": write its .pattern" if isinstance(cast("object", pattern), re.Pattern) else ""
        raise TypeError(f"search.lines() takes a pattern as a str, not {type(pattern).__name__}{way}")
    for name, globs in (("include", include), ("exclude", exclude)):
        if isinstance(globs, str):
            raise TypeError(f"search.lines({name}=) takes several globs: write {name}=[{globs!r}]")
        if wrong := [glob for glob in globs if not isinstance(cast("object", glob), str)]:
            raise TypeError(f"search.lines({name}=) takes globs as str, not {shown(wrong[0])}")
        try:
            "".join(globs).encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"search.lines({name}=): {error}") from None
    if case not in ("sensitive", "insensitive", "smart"):
        raise ConfigError(f"search.lines(case={shown(case)}): must be 'sensitive', 'insensitive' or 'smart'")
    for name, switch in (
        ("literal", literal),
        ("word", word),
        ("multiline", multiline),
        ("hidden", hidden),
        ("ignore_files", ignore_files),
    ):
        if not isinstance(cast("object", switch), bool):
            raise ConfigError(f"search.lines({name}={shown(switch)}): must be True or False")
    options: dict[str, object] = {
        "literal": literal,
        "case": case,
        "word": word,
        "multiline": multiline,
        "include": list(include),
        "exclude": list(exclude),
        "hidden": hidden,
        "ignore_files": ignore_files,
        "context": min(count(context, "search.lines", "context", least=0), sys.maxsize),
        "max_per_file": None
        if max_per_file is None
        else min(count(max_per_file, "search.lines", "max_per_file"), sys.maxsize),
    }
    try:
        search = _native.Search(pattern, root, options)
    except ValueError as error:
        raise ConfigError(f"search.lines({reprlib.repr(pattern)}): {error}") from None
    if searches:
        return _function()(pattern, root, partial(searches[-1], pattern, root, options))
    return _function()(pattern, root, lambda: items(search.begin(), _log, "search"))


async def _lines(pattern: str, root: StrPath, begin: Begin) -> AsyncIterator[Match]:
    async with aclosing(begin()) as found:
        async for match in found:
            yield match


@cache
def _function() -> Callable[[str, StrPath, Begin], Stream[Match]]:
    """Made as it is first used: statistics list a name from then on."""
    return own_stream(_lines, "search.lines")
