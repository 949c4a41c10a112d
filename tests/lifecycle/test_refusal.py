"""The reasons for which a runtime starts no work: one text for each way in and each phase. And the runtime of code."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest

from mountain_runtime import Effect, Runtime, _native
from mountain_runtime.errors import ShuttingDown

ENTER = "use `async with runtime:` or run(main, runtime=runtime)"
WAYS: dict[str, Callable[[Runtime, Effect[int]], Any]] = {
    "submit": lambda runtime, effect: runtime.submit(effect),
    "run": lambda runtime, effect: runtime.run(effect),
    "from_thread": lambda runtime, effect: asyncio.to_thread(runtime.from_thread, effect),
}


async def refused(runtime: Runtime, way: str) -> Exception:
    """The error raised where work is handed in that way."""
    with pytest.raises((RuntimeError, ShuttingDown)) as caught:
        await WAYS[way](runtime, _native.trial_noop(1))
    return caught.value


@pytest.mark.parametrize(
    ("way", "before"),
    [
        ("submit", "this Runtime was not entered"),
        ("run", "run() before the Runtime was entered"),
        ("from_thread", "from_thread() before the Runtime was entered"),
    ],
)
async def test_before_it_is_entered(way: str, before: str) -> None:
    error = await refused(Runtime(), way)
    assert (type(error), str(error)) == (RuntimeError, f"{before}: {ENTER}")


@pytest.mark.parametrize("way", ["submit", "run"])
async def test_after_it_was_closed(way: str) -> None:
    runtime = Runtime()
    async with runtime:
        pass
    error = await refused(runtime, way)
    assert isinstance(error, ShuttingDown)
    assert error.effect
    fix = "make a new Runtime" + (", or await the effect outside of it" if way == "submit" else "")
    assert str(error) == f"effect '{error.effect}' was not started: its runtime is closed: {fix}"


async def test_code_finds_its_runtime_by_the_loop_where_its_context_names_none() -> None:
    found: list[object] = []
    done = asyncio.Event()

    def look() -> None:
        found.append(_native.current_scope())
        done.set()

    async with Runtime() as runtime:
        asyncio.get_running_loop().call_soon(look, context=Context())
        await done.wait()
        assert found == [runtime]
    assert _native.current_scope() is None


async def test_to_look_for_a_runtime_leaves_a_loop_as_it_is() -> None:
    """A port stands in for its loop's `close`; code that looks for a runtime opens none."""
    async with Runtime():
        pass

    async def look() -> tuple[object, object]:
        return _native.current_scope(), "close" in vars(asyncio.get_running_loop())

    seen: list[tuple[object, object]] = []
    await asyncio.to_thread(lambda: seen.append(asyncio.run(look())))
    assert seen == [(None, False)]
