"""A ladder of streams: the rung is called with the arguments of the call, until the first item is out."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from mountain_runtime import Fallback, Runtime, effect, stream
from mountain_runtime.errors import ConfigError


class Down(Exception): ...


@stream
async def small(prompt: str, n: int = 2) -> AsyncIterator[str]:
    for at in range(n):
        yield f"small {prompt} {at}"


@effect
async def summary(prompt: str, n: int = 0) -> str:
    return f"summary of {prompt}"


def down(to: Any, *items: str, **names: Any) -> Any:
    @stream(Fallback(to, on=Down), **names)
    async def big(prompt: str, n: int = 9) -> AsyncIterator[str]:
        for item in items:
            yield item
        raise Down

    return big


async def read(source: Any) -> list[str]:
    async with source as items:
        return [item async for item in items]


async def test_it_is_called_with_the_arguments_of_the_call() -> None:
    assert await read(down(small)("a")) == ["small a 0", "small a 1"]
    assert await read(down(small)(prompt="a", n=1)) == ["small a 0"]
    assert await read(down(summary)("a")) == ["summary of a"]
    assert await read(down(down(summary))("a")) == ["summary of a"]


async def test_it_acts_until_the_first_item_is_out() -> None:
    with pytest.raises(Down):
        await read(down(small, "first")("a"))


class Model:
    @stream
    async def small(self, prompt: str) -> AsyncIterator[str]:
        yield prompt

    @stream(Fallback(small, on=Down))
    async def big(self, prompt: str) -> AsyncIterator[str]:
        if prompt:
            raise Down
        yield "big"


async def test_methods() -> None:
    assert await read(Model().big("a")) == ["a"]
    assert await read(Model().big("")) == ["big"]


async def test_the_rung_that_answered_is_counted() -> None:
    name = f"a ladder of streams {uuid4().hex[:8]}"
    await read(down(small, name=name)("a"))
    async with Runtime() as rt:
        assert rt.statistics().effects[name].fallbacks == {"small": 1}


def test_what_does_not_fit_is_refused() -> None:
    async def bare() -> AsyncIterator[str]:
        yield ""

    with pytest.raises(ConfigError, match=r"bare\(\), and does not take \(\)"):
        stream(Fallback(small, on=Down))(bare)

    async def one(prompt: str) -> str:
        return prompt

    with pytest.raises(ConfigError, match="gives a stream, and one one value: put it on a stream"):
        effect(Fallback(small, on=Down))(one)

    def letters() -> Iterator[str]:
        yield "a"

    with pytest.raises(TypeError, match="may call another with its arguments and was given a generator"):
        down(small)(letters())
