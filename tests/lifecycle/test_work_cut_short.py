"""Submitted work that a cancel of its own cuts short has failed, as by any error: it was not asked to end."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mountain_runtime import Handle, Runtime, effect

Contexts = list[dict[str, Any]]


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def begun() -> None:
    """All that was submitted waits by now."""
    for _ in range(5):
        await asyncio.sleep(0)


async def cuts_itself_short() -> None:
    beat = asyncio.create_task(forever())
    await asyncio.sleep(0)
    beat.cancel()
    await beat  # raises CancelledError: what would follow is never reached


async def is_cut_in_its_cleanup() -> None:
    try:
        await forever()
    finally:
        await cuts_itself_short()


async def handles_a_cancel_that_is_none_of_ours() -> None:
    try:
        await cuts_itself_short()
    except asyncio.CancelledError:
        await forever()


async def ends_under_another_name() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        raise asyncio.CancelledError("done") from None


async def is_not_submitted_alone() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(forever())
        await asyncio.shield(asyncio.gather(forever(), forever()))


def where(error: BaseException | None) -> list[str]:
    """The functions through which it came."""
    assert error is not None
    found, traceback = [], error.__traceback__
    while traceback is not None:
        found.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return found


async def test_it_has_failed() -> None:
    async with Runtime() as rt:
        handle = rt.submit(effect(cuts_itself_short)())
        with pytest.raises(asyncio.CancelledError) as ended:
            await handle
    assert not handle.cancelled()
    assert isinstance(handle.exception(), asyncio.CancelledError)
    assert "cuts_itself_short" in where(ended.value)


@pytest.mark.parametrize("drains", [True, False])
async def test_if_nobody_asks_it_is_said_once(drains: bool) -> None:
    contexts: Contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    work = cuts_itself_short if drains else is_cut_in_its_cleanup
    try:
        async with Runtime() as rt:
            rt.submit(effect(work)())
            if not drains:
                await begun()
                raise LookupError  # cancels it
    except LookupError:
        pass
    gc.collect()
    [context] = contexts
    assert context["message"] == f"the error of submitted effect '{work.__name__}' was never retrieved"
    assert {work.__name__, "forever"} <= {*where(context["exception"])}


async def cancelled_by_a_shutdown(work: Callable[[], Awaitable[None]]) -> Handle[None]:
    try:
        async with Runtime() as rt:
            handle = rt.submit(effect(work)())
            await begun()
            raise LookupError
    except LookupError:
        return handle


@pytest.mark.parametrize(
    "work", [forever, handles_a_cancel_that_is_none_of_ours, ends_under_another_name, is_not_submitted_alone]
)
async def test_who_was_asked_has_not_failed(work: Callable[[], Awaitable[None]]) -> None:
    assert (await cancelled_by_a_shutdown(work)).cancelled()


async def test_who_was_cancelled_by_others_has_not_failed() -> None:
    async with Runtime() as rt:
        handle = rt.submit(effect(is_cut_in_its_cleanup)())
        await begun()
        handle.cancel("enough")
        await asyncio.wait([handle])
    assert handle.cancelled()
