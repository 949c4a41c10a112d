"""The handle is an asyncio Future to all of asyncio."""

import asyncio
import contextvars
import errno
import gc
import weakref
from collections.abc import Generator
from typing import Any, cast

import pytest

from mountain_runtime import Handle
from mountain_runtime._native import Effect
from mountain_runtime._native import trial_fail as fail
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from tests.effect.support import LONG, SOON, ticks

VAR: contextvars.ContextVar[int] = contextvars.ContextVar("VAR", default=0)


def start(effect: Effect[Any]) -> Handle[Any]:
    """The handle of a native effect: what its `await` yields."""
    handle = effect.__await__()
    assert isinstance(handle, Handle)
    return handle


async def ended(handle: Handle[Any]) -> Handle[Any]:
    done, pending = await asyncio.wait([handle], timeout=LONG)  # type: ignore[list-item]
    assert not pending
    assert done == {handle}
    return handle


async def test_it_is_a_future() -> None:
    handle = start(sleep(SOON))
    assert asyncio.isfuture(handle)
    assert asyncio.ensure_future(handle) is handle  # type: ignore[comparison-overlap, call-overload]
    assert handle.get_loop() is asyncio.get_running_loop()
    assert not handle.done()
    assert not handle.cancelled()
    assert await handle is None
    assert handle.done()


async def test_awaits_of_every_kind() -> None:
    assert await start(noop(1)) == 1
    assert await asyncio.gather(start(noop(2)), start(noop(3))) == [2, 3]
    assert await asyncio.wait_for(start(noop(4)), LONG) == 4
    assert await asyncio.shield(start(noop(5))) == 5
    assert sorted([await each for each in asyncio.as_completed([start(noop(6)), start(noop(7))])]) == [6, 7]
    handle = start(noop(8))
    assert await handle == await handle == 8
    done, pending = await asyncio.wait({start(noop(9)), start(sleep(LONG))}, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
    assert [each.result() for each in done] == [9]
    for each in pending:
        assert each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each


async def test_many_wait_for_one() -> None:
    handle = start(sleep(0.002))

    async def wait() -> Any:
        return await handle

    assert await asyncio.gather(*(wait() for _ in range(10))) == [None] * 10


async def test_results_and_states() -> None:
    handle = start(sleep(LONG))
    for ask in (handle.result, handle.exception):
        with pytest.raises(asyncio.InvalidStateError):
            ask()
    assert handle.cancel()
    await ended(handle)
    for ask in (handle.result, handle.exception):
        with pytest.raises(asyncio.CancelledError):
            ask()
    value = await ended(start(noop(3)))
    assert value.result() == 3
    assert value.exception() is None
    assert not value.cancel()
    assert value.result() == 3
    failed = await ended(start(fail(errno.ENOENT)))
    assert isinstance(failed.exception(), FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        failed.result()
    assert not failed.cancelled()


async def test_a_cancel_with_a_message() -> None:
    handle = start(sleep(LONG))
    assert handle.cancel("stop it")
    with pytest.raises(asyncio.CancelledError) as caught:
        await handle
    assert caught.value.args == ("stop it",)
    assert handle.cancelled()
    other = start(sleep(LONG))
    other.cancel(msg="named")
    with pytest.raises(asyncio.CancelledError) as caught:
        await other
    assert caught.value.args == ("named",)


async def test_a_cancelled_one_among_what_gather_returns() -> None:
    for message in (None, "enough"):
        handle = start(sleep(LONG))
        handle.cancel(message)
        (returned,) = await asyncio.gather(handle, return_exceptions=True)
        assert isinstance(returned, asyncio.CancelledError)
        assert returned.args == (message or "",)


async def test_a_cancelled_call_answers_when_it_has_ended() -> None:
    handle = start(sleep(LONG))
    assert handle.cancel()
    assert not handle.done()
    assert "cancelling" in repr(handle)
    assert handle.cancel()
    await ended(handle)
    assert handle.cancelled()
    assert not handle.cancel()


async def test_a_tasks_cancel_passes_through_a_handle() -> None:
    async def waits() -> None:
        await start(sleep(LONG))

    task = asyncio.create_task(waits())
    await ticks()
    task.cancel("from the task")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("from the task",)


async def test_wait_for_ends_it() -> None:
    handle = start(sleep(LONG))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handle, SOON)
    assert handle.cancelled()


async def test_shield_keeps_it() -> None:
    handle = start(sleep(SOON * 3))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(handle), SOON)
    assert not handle.done()
    await handle


async def test_callbacks_with_context() -> None:
    seen: list[tuple[object, int]] = []

    def called(handle: object) -> None:
        seen.append((handle, VAR.get()))

    handle = start(noop(1))
    VAR.set(1)
    handle.add_done_callback(called)
    other = contextvars.copy_context()
    other.run(VAR.set, 2)
    handle.add_done_callback(called, context=other)
    VAR.set(3)
    assert seen == []
    await handle
    await ticks(2)
    assert seen == [(handle, 1), (handle, 2)]
    handle.add_done_callback(called)
    assert len(seen) == 2, "what is added late is called soon, not at once"
    await ticks(2)
    assert seen[2] == (handle, 3)


async def test_the_callback_of_asyncios_gather_is_called_in_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    soon: list[str] = []
    call_soon: Any = loop.call_soon

    def noted(callback: Any, *args: Any, **options: Any) -> asyncio.Handle:
        soon.append(getattr(callback, "__qualname__", ""))
        return cast("asyncio.Handle", call_soon(callback, *args, **options))

    monkeypatch.setattr(loop, "call_soon", noted)
    gathered = await asyncio.gather(start(noop(1)), start(fail(errno.EIO)), return_exceptions=True)
    assert gathered[0] == 1
    assert isinstance(gathered[1], OSError)
    assert soon, "the gathering future's own callbacks go through the loop"
    assert not [name for name in soon if name.startswith("gather.")], (
        "asyncio's gather has changed: see Face.gather_code"
    )


async def test_callbacks_can_be_taken_back() -> None:
    seen: list[int] = []

    def one(_: object) -> None:
        seen.append(1)

    def two(_: object) -> None:
        seen.append(2)

    handle = start(noop(1))
    for callback in (one, two, one, two, two):
        handle.add_done_callback(callback)
    assert handle.remove_done_callback(one) == 2
    assert handle.remove_done_callback(one) == 0
    await handle
    await ticks(2)
    assert seen == [2, 2, 2]


async def test_a_callback_that_raises_does_not_stop_the_others() -> None:
    said: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: said.append(context["exception"]))
    seen: list[int] = []

    def bad(_: object) -> None:
        raise KeyError("bad")

    handle = start(noop(1))
    handle.add_done_callback(bad)
    handle.add_done_callback(lambda _: seen.append(1))
    assert await handle == 1
    await ticks(2)
    assert seen == [1]
    assert [type(each) for each in said] == [KeyError]


async def test_weak_references_and_circles() -> None:
    handle = start(noop(1))
    seen = weakref.ref(handle)
    handle.add_done_callback(lambda _, handle=handle: None)
    await handle
    await ticks(2)
    del handle
    gc.collect()
    assert seen() is None


async def test_how_it_looks() -> None:
    handle = start(sleep(LONG))
    assert repr(handle).startswith("<Handle sleep pending age=0.0")
    handle.cancel()
    assert repr(handle).startswith("<Handle sleep cancelling age=")
    await ended(handle)
    assert repr(handle).startswith("<Handle sleep cancelled age=")
    assert repr(await ended(start(noop(5)))).startswith("<Handle noop finished 5 age=")
    assert "FileNotFoundError" in repr(await ended(start(fail(errno.ENOENT))))
    task = asyncio.ensure_future(sleep(LONG))
    await ticks()
    assert "Handle" in repr(task)
    task.cancel()
    await asyncio.wait([task])


async def test_it_is_generic_and_hashable() -> None:
    assert Handle[int] is not None
    handle = start(noop())
    assert {handle: 1}[handle] == 1
    await handle


async def test_steps_by_hand() -> None:
    """The protocol between a task and what it awaits."""
    handle = start(noop(4))
    steps: Generator[Any, Any, Any] = handle.__await__()
    assert next(steps) is handle
    assert handle._asyncio_future_blocking  # type: ignore[attr-defined]
    handle._asyncio_future_blocking = False  # type: ignore[attr-defined]
    await ended(handle)
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == 4


async def test_a_value_that_is_an_exception_or_a_tuple_is_still_a_value() -> None:
    for value in ((1, 2), StopIteration(3), KeyError("k"), None):
        result = await noop().map(lambda _, value=value: value)
        assert result is value
