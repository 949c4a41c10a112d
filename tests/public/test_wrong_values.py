"""Values of the wrong kind, and settings that cannot fit: the error names what to write."""

import asyncio
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Runtime, Shutdown, deadline, effect, fs, process
from mountain_runtime.errors import ConfigError, TimedOut

HERE = "nowhere"

VALUES: list[tuple[Callable[[], Any], str]] = [
    (lambda: fs.write_text(HERE, b""), "takes str, not bytes: write fs.write_bytes()"),  # type: ignore[arg-type]
    (lambda: fs.write_text(HERE, None), "fs.write_text() takes str, not NoneType"),  # type: ignore[arg-type]
    (lambda: fs.write_bytes(HERE, ""), "takes bytes, not str: write fs.write_text(), or encode it"),  # type: ignore[arg-type]
    (lambda: fs.write_bytes(HERE, [1]), "bytes-like"),  # type: ignore[arg-type]
    (lambda: fs.read_many(HERE), "write fs.read_bytes(path) for one"),
    (lambda: fs.read_many(Path(HERE)), "write fs.read_bytes(path) for one"),  # type: ignore[arg-type]
    (lambda: process.run("cat", input="text"), "write input=text.encode()"),  # type: ignore[arg-type]
    (lambda: process.run("cat", input=5), "bytes-like"),  # type: ignore[arg-type]
    (lambda: process.run("env", env={"A": 1}), "env= takes str for str, not 'A': 1: convert it by str()"),  # type: ignore[dict-item]
]


@pytest.mark.parametrize(("written", "way"), VALUES, ids=[way for _, way in VALUES])
def test_a_value_of_the_wrong_kind(written: Callable[[], Any], way: str) -> None:
    with pytest.raises(TypeError) as caught:
        written()
    assert way in str(caught.value)


async def test_a_line_is_bytes() -> None:
    async with process.open("cat") as cat:
        with pytest.raises(TypeError, match=r"write send\(line\.encode\(\)\)"):
            await cat.send("line")  # type: ignore[arg-type]
        await cat.send(b"line")
        assert await cat.receive() == b"line"


def test_a_drain_that_does_not_fit_its_deadline() -> None:
    for wrong in (lambda: Shutdown(drain=30), lambda: Shutdown(deadline=25, drain=20, propagation=10)):
        with pytest.raises(ConfigError) as caught:
            wrong()
        assert "do not fit the deadline of 25 s" in str(caught.value)
        assert "Make them 20 s together, or write deadline=37.5" in str(caught.value)
    with pytest.raises(ConfigError, match="take 30 s"):
        Shutdown(propagation=30)
    Shutdown(deadline=37.5, drain=30)
    Shutdown(deadline=5)  # the default's drain has what there is
    Shutdown(drain=math.inf)
    Shutdown(deadline=math.inf, drain=3600)


async def close() -> None: ...
async def takes(one: int) -> None: ...


async def test_what_is_deferred_is_a_function_without_arguments() -> None:
    rt = Runtime()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigError, match=r"the function itself, .*write defer\(close\)"):
            rt.defer(effect(close)())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"write defer\(lambda: takes\(...\)\)"):
        rt.defer(takes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be a function, and gives an awaitable"):
        rt.defer(5)  # type: ignore[arg-type]
    async with rt:
        rt.defer(lambda: print(end=""))  # type: ignore[arg-type, return-value, func-returns-value]
    assert rt.report is not None
    (failed,) = [step.error for step in rt.report.steps if step.outcome == "failed"]
    assert "gave NoneType, which cannot be awaited. Make it `async def`, or put @blocking on it" in str(failed)


async def test_a_deadline_names_the_function_that_writes_it() -> None:
    """Which may be another than the one that the task began with."""

    async def helper() -> None:
        async with deadline(0):
            await asyncio.Event().wait()

    async def main() -> None:
        await helper()

    with pytest.raises(TimedOut) as ended:
        await asyncio.create_task(main())
    assert (ended.value.policy, ended.value.effect) == ("deadline(0)", helper.__qualname__)
    assert str(ended.value).startswith(f"deadline(0) ran out in '{helper.__qualname__}'.")


async def test_an_inherited_deadline_is_named_by_that_function() -> None:
    async def helper() -> str | None:
        async with deadline(0):
            with pytest.raises(TimedOut) as ended:
                await effect(close)()
        return ended.value.policy

    async def main() -> str | None:
        return await helper()

    assert await asyncio.create_task(main()) == f"deadline(0) in '{helper.__qualname__}'"
