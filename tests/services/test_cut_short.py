"""A cleanup that a cancel of its own cuts short did not end well: the report says so, and where."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from mountain_runtime import Key, Runtime
from mountain_runtime.testing import VirtualClock

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


async def test_the_unwinding_of_a_start() -> None:
    """It was asked to end, and its cleanup is cut short by another cancel than that."""
    begun = asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncGenerator[str]:
        begun.set()
        try:
            await asyncio.sleep(LONG)
        finally:
            await cuts_itself_short()
        yield "never"

    rt = Runtime().provide(Key[str]("slow"), slow)
    entering = asyncio.create_task(rt.__aenter__())
    await begun.wait()
    entering.cancel()
    await asyncio.wait([entering])
    assert rt.report is not None
    assert not rt.report.ok
    [step] = [step for step in rt.report.steps if step.outcome == "failed"]
    assert step.name == "stop slow"
    assert "in beats" in str(step.error)


async def test_a_fallback_that_is_needed_no_more(caplog: pytest.LogCaptureFixture, virtual_clock: VirtualClock) -> None:
    """It ends long before the shutdown, whose report does not have it: the log does."""
    tries = 0

    @asynccontextmanager
    async def primary() -> AsyncGenerator[str]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("not yet")
        yield "up"

    @asynccontextmanager
    async def fallback() -> AsyncGenerator[str]:
        yield "instead"
        await cuts_itself_short()

    rt = Runtime().provide(Key[str]("service"), primary, fallback=fallback)
    async with rt:
        while tries < 2:
            await asyncio.sleep(1)
        await asyncio.sleep(1)
    [record] = [record for record in caplog.records if "did not end well" in record.getMessage()]
    assert "service (fallback)" in record.getMessage()
    assert "in beats" in record.getMessage()
