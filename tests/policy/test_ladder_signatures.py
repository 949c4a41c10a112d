"""Ladders: which rungs take every call that a function takes."""

from typing import Any

import pytest

from mountain_runtime import Fallback, Pipeline, Timeout, effect
from mountain_runtime.errors import ConfigError

from .support import Boom


async def none() -> None: ...
async def one(a: int) -> None: ...
async def two(a: int, b: int) -> None: ...
async def optional(a: int, b: int = 1) -> None: ...
async def renamed(x: int, y: int = 1) -> None: ...
async def by_name(a: int, *, b: int) -> None: ...
async def by_name_or_not(a: int, *, b: int = 1) -> None: ...
async def by_position(a: int, b: int = 1, /) -> None: ...
async def all_optional(a: int = 1, b: int = 2) -> None: ...
async def others_optional(x: int = 1, y: int = 2) -> None: ...
async def anything(*_: Any, **__: Any) -> None: ...
async def more(a: int, b: int = 1, c: int = 2, *, d: int = 3) -> None: ...


FITS = [
    (none, none),
    (none, all_optional),
    (one, one),
    (one, optional),
    (one, by_position),
    (one, by_name_or_not),
    (two, two),
    (two, optional),
    (optional, optional),
    (optional, renamed),
    (optional, more),
    (by_position, renamed),
    (by_name, by_name),
    (by_name, more),
    (by_name_or_not, more),
    (all_optional, all_optional),
    *((function, anything) for function in (none, one, two, optional, by_name, by_position, all_optional)),
    *((anything, to) for to in (none, two, by_name)),
]
#: The function, the rung, and the call that does not fit.
DOES_NOT_FIT = [
    (none, one, "()"),
    (one, none, "(a)"),
    (one, two, "(a)"),
    (two, one, "(a, b)"),
    (optional, one, "(a, b)"),
    (optional, two, "(a)"),
    (two, by_name_or_not, "(a, b)"),
    (by_name, renamed, "(a, b=...)"),
    (by_name, one, "(a, b=...)"),
    (by_name_or_not, one, "(a, b=...)"),
    (by_name_or_not, by_name, "(a)"),
    (all_optional, others_optional, "(b=...)"),
]


@pytest.mark.parametrize(("function", "to"), FITS)
def test_a_rung_that_takes_every_call_is_taken(function: Any, to: Any) -> None:
    effect(Fallback(effect(to), on=Boom))(function)


@pytest.mark.parametrize(("function", "to", "call"), DOES_NOT_FIT)
def test_a_rung_that_does_not_take_some_call_is_refused(function: Any, to: Any, call: str) -> None:
    fallback = Fallback(effect(to), on=Boom)
    for decorate in (effect(Timeout(1), fallback), effect(Pipeline(fallback, name="p"))):
        with pytest.raises(ConfigError) as caught:
            decorate(function)
        assert f"and does not take {call}. Give it the same parameters" in str(caught.value)
        assert caught.value.effect == function.__name__
    with pytest.raises(ConfigError):
        fallback.call(function, 1)
