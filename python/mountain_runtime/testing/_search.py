"""Searches that a test answers, without files."""

import inspect
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

from .. import _native
from .._tasks.pretended import searches
from ..policy._given import shown

if TYPE_CHECKING:
    from .._native import Match

__all__ = ["Search", "search"]


@dataclass(frozen=True, slots=True)
class Search:
    """A search as `search.lines` is asked for it."""

    pattern: str
    root: str
    literal: bool = False
    case: Literal["sensitive", "insensitive", "smart"] = "smart"
    word: bool = False
    multiline: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    ignore_files: bool = True
    context: int = 0
    max_per_file: int | None = None


Answer = Callable[[Search], "Iterable[Match] | AsyncIterator[Match]"]


def search(answer: Answer) -> AbstractContextManager[list[Search]]:
    """In the block, `answer` takes the place of the files for each `search.lines`.

    It is called with each Search, and gives the `search.Match`es in their order, or raises what the search raises. Of
    an async generator function, whose sleeps are in virtual time under the fixture `virtual_clock`, each match is asked
    for when its reader takes it; leaving the search's block closes it, its cleanup awaited. Nothing is looked for: what
    is given is found, whatever the pattern. The block's value is the list of the searches, which grows.

    For what a search finds in a tree there is `testing.files`.
    """
    _native.needs("search")
    if not callable(answer):
        raise TypeError(
            "testing.search() takes a function of a Search, as lambda asked: [search.Match('a.py', 1, 0, 'text')], "
            f"not {shown(answer)}"
        )
    return _Answers(answer)


class _Answers(AbstractContextManager[list[Search]]):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._searches: list[Search] = []

    def __enter__(self) -> list[Search]:
        searches.append(self._pretend)
        return self._searches

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        searches.remove(self._pretend)

    async def _pretend(self, pattern: str, root: Any, options: Mapping[str, Any]) -> AsyncGenerator["Match", None]:
        settings: dict[str, Any] = {
            **options,
            "include": tuple(options["include"]),
            "exclude": tuple(options["exclude"]),
        }
        asked = Search(pattern, os.fsdecode(root), **settings)
        self._searches.append(asked)
        async with aclosing(_each(self._answer(asked))) as found:
            async for match in found:
                yield match


async def _each(said: object) -> AsyncGenerator["Match", None]:
    if isinstance(said, AsyncIterator):
        try:
            async for match in cast("AsyncIterator[object]", said):
                yield _checked(match)
        finally:
            if isinstance(said, AsyncGenerator):
                await said.aclose()
        return
    way = ""
    if inspect.iscoroutine(said):
        said.close()
        way = ": write yield, in an async def"
    if way or not isinstance(said, Iterable) or isinstance(said, (str, bytes)):
        raise TypeError(f"the function of testing.search() gives search.Matches, not {shown(said)}{way}")
    for match in cast("Iterable[object]", said):
        yield _checked(match)


def _checked(match: object) -> "Match":
    if not isinstance(match, _native.Match):
        raise TypeError(f"the function of testing.search() gives search.Matches, not {shown(match)}")
    return match
