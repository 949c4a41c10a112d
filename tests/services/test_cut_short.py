"""A cleanup that a cancel of its own cuts short did not end well: the report says so, and where."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mountain_runtime import Key, Runtime

from .support import LONG


async def beats() -> None:
    await asyncio.sleep(LONG)


async def cuts_itself_short() -> None:
    beat = asyncio.create_task(beats())
    await asyncio.sleep(0)
    beat.cancel()
    await beat  # raises CancelledError: what would follow is never reached


async def test_a_service() -> None:
    @asynccontextmanager
    async def service() -> AsyncGenerator[str]:
        yield "up"
        await cuts_itself_short()

    rt = Runtime().provide(Key[str]("service"), service)
    async with rt:
        pass
    assert rt.report is not None
    assert not rt.report.ok
    [step] = [step for step in rt.report.steps if step.name == "stop service"]
    assert step.outcome == "failed"
    assert "cut short" in str(step.error)
    assert "test_cut_short.py" in str(step.error)
    assert any("in cuts_itself_short" in note for note in getattr(step.error, "__notes__", []))


async def test_a_deferred_function() -> None:
    rt = Runtime()
    async with rt:
        rt.defer(cuts_itself_short)
    assert rt.report is not None
    assert not rt.report.ok
    [step] = [step for step in rt.report.steps if step.name.startswith("defer")]
    assert step.outcome == "failed"
    assert "in beats" in str(step.error)
    assert any("in cuts_itself_short" in note for note in getattr(step.error, "__notes__", []))


async def test_a_start_that_is_unwound_was_asked_to_end() -> None:
    """A cancel that was asked for is an end like others."""
    begun = asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncGenerator[str]:
        begun.set()
        await asyncio.sleep(LONG)
        yield "never"

    rt = Runtime().provide(Key[str]("slow"), slow)
    entering = asyncio.create_task(rt.__aenter__())
    await begun.wait()
    entering.cancel()
    await asyncio.wait([entering])
    assert rt.report is not None
    assert rt.report.ok
