"""testing.search: what is found, when it is asked for, and its end."""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from dataclasses import fields

import pytest

from mountain_runtime import Idle, Timeout, errors, search, testing
from mountain_runtime.search import Match
from mountain_runtime.testing import Search, VirtualClock

FOUND = [Match("a.py", 1, 4, "x = TODO"), Match("b.py", 7, 0, "TODO")]


async def test_a_search_finds_what_the_test_gives() -> None:
    with testing.search(lambda asked: FOUND) as searches:
        async with search.lines("TODO", "/no/such", case="insensitive", include=["*.py"]) as matches:
            assert [match async for match in matches] == FOUND
        async with search.lines("x") as matches:
            assert await anext(matches) == FOUND[0]
        with pytest.raises(errors.ConfigError):
            search.lines("(")
    assert searches == [Search("TODO", "/no/such", case="insensitive", include=("*.py",)), Search("x", ".")]
    with pytest.raises(FileNotFoundError):
        async for _ in search.lines("TODO", "/no/such"):
            pass


async def test_each_match_is_asked_for_when_it_is_taken_and_leaving_closes() -> None:
    told: list[object] = []

    async def find(asked: Search) -> AsyncIterator[Match]:
        try:
            for match in FOUND * 100:
                told.append(match)
                yield match
        finally:
            await asyncio.sleep(0)
            told.append("closed")

    with testing.search(find):
        async with search.lines("TODO") as matches:
            assert await anext(matches) == FOUND[0]
            assert await anext(matches) == FOUND[1]
            await asyncio.sleep(0)
            assert told == FOUND
    assert told == [*FOUND, "closed"]


async def test_it_takes_virtual_time_and_fails(virtual_clock: VirtualClock) -> None:
    async def find(asked: Search) -> AsyncIterator[Match]:
        await asyncio.sleep(60)
        yield FOUND[0]
        if asked.pattern == "slow":
            await asyncio.sleep(3600)
        raise PermissionError(13, "Permission denied", asked.root)

    with testing.search(find):
        found = []
        with pytest.raises(PermissionError):
            async for match in search.lines("x", "tree").under(Timeout(100)):
                found.append((virtual_clock.time(), match))
        assert found == [(60.0, FOUND[0])]
        with pytest.raises(errors.TimedOut):
            async for _ in search.lines("slow", "tree").under(Idle(100)):
                pass
    assert virtual_clock.time() == 60 + 60 + 100


async def test_the_innermost_block_answers() -> None:
    async def all_of(pattern: str) -> list[Match]:
        async with search.lines(pattern) as matches:
            return [match async for match in matches]

    with testing.search(lambda _: FOUND[:1]):
        with testing.search(lambda _: FOUND[1:]):
            assert await all_of("x") == FOUND[1:]
        assert await all_of("x") == FOUND[:1]


async def test_what_cannot_answer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"takes a function of a Search, as lambda asked: \[search\.Match"):
        testing.search([])  # type: ignore[arg-type]

    async def no_generator(asked: Search) -> list[Match]:
        return FOUND

    for answer, text in (
        (lambda _: None, "gives search.Matches, not None"),
        (lambda _: ["text"], "gives search.Matches, not 'text'"),
        (lambda _: "text", "gives search.Matches, not 'text'"),
        (no_generator, "write yield, in an async def"),
    ):
        with testing.search(answer), pytest.raises(TypeError, match=re.escape(text)):  # type: ignore[arg-type]
            async for _ in search.lines("x"):
                pass


def test_a_search_has_what_the_call_has() -> None:
    asked = [name for name in inspect.signature(search.lines).parameters if name != "other"]
    assert [field.name for field in fields(Search)] == asked
    given = inspect.signature(search.lines).parameters
    defaults = {field.name: field.default for field in fields(Search)[2:]}
    assert defaults == {name: given[name].default for name in defaults}
