"""Submitted work belongs to the runtime: it goes on without a reference to its handle; its error is reported once."""

import asyncio
import contextvars
import gc
from typing import Any

import pytest

from mountain_runtime import Handle, Runtime, Shutdown, Timeout, _native, blocking, deadline, effect

from .support import AT_ONCE, LONG, SOON, Boom, forever, on_thread, until

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="nothing")


async def test_dropped_handles_lose_nothing() -> None:
    """Q5."""
    done: list[int] = []

    @effect
    async def work(n: int) -> None:
        await asyncio.sleep(0)
        await _native.trial_noop()
        done.append(n)

    async with Runtime() as runtime:
        for n in range(1000):
            runtime.submit(work(n) if n % 2 else _native.trial_sleep(0.001).map(lambda _, n=n: done.append(n)))
        for _ in range(20):
            gc.collect()
            await asyncio.sleep(0)
    assert sorted(done) == list(range(1000))


async def test_dropped_native_handles_are_drained_too() -> None:
    before = _native.effect_statistics().get("sleep", (0,) * 9)[1]
    async with Runtime() as runtime:
        for _ in range(1000):
            runtime.submit(_native.trial_sleep(SOON))
        gc.collect()
    assert _native.effect_statistics()["sleep"][1] - before == 1000


async def test_an_error_that_nobody_retrieves_is_reported_once() -> None:
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    @effect
    async def fails() -> None:
        await asyncio.sleep(0)
        raise Boom("unretrieved")

    async with Runtime() as runtime:
        runtime.submit(fails())
        runtime.submit(_native.trial_fail(2))
        runtime.submit(_native.trial_noop())
        await asyncio.sleep(SOON)  # all have ended
        gc.collect()
    gc.collect()
    await asyncio.sleep(0)
    assert sorted(type(context["exception"]).__name__ for context in said) == ["Boom", "FileNotFoundError"]


def test_an_error_that_nobody_retrieves_is_logged_when_the_loop_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Handle[None]:
        async with Runtime() as runtime:
            handle = runtime.submit(_native.trial_fail(2))
            await asyncio.wait([handle])
            return handle

    kept = asyncio.run(main())
    gc.collect()
    del kept
    assert [record.getMessage() for record in caplog.records] == [
        "the error of submitted effect 'fail' was never retrieved"
    ]
    assert caplog.records[0].exc_info is not None


async def test_an_error_that_somebody_retrieves_is_reported_to_nobody_else(complaints: list[Any]) -> None:
    @effect
    async def fails() -> None:
        raise Boom

    async with Runtime() as runtime:
        with pytest.raises(Boom):
            await runtime.submit(fails())
        with pytest.raises(FileNotFoundError):
            await runtime.submit(_native.trial_fail(2))
        asked = runtime.submit(fails())
        await until(asked.done)
        assert isinstance(asked.exception(), Boom)
        cancelled = runtime.submit(effect(forever)())
        await asyncio.sleep(0)
        cancelled.cancel()
        del asked, cancelled
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_it_starts_without_being_awaited_and_gives_a_handle() -> None:
    begun = asyncio.Event()

    @effect
    async def work() -> str:
        begun.set()
        return "value"

    async with Runtime() as runtime:
        handle = runtime.submit(work(), name="named")
        assert isinstance(handle, Handle)
        await asyncio.wait_for(begun.wait(), AT_ONCE)
        assert await handle == "value"
        assert await handle == "value"
        native = runtime.submit(_native.trial_noop(4))
        assert isinstance(native, Handle)
        assert await native == 4


async def test_an_effect_can_be_submitted_again_and_again() -> None:
    calls: list[int] = []

    @effect
    async def work() -> None:
        calls.append(1)

    one = work()
    async with Runtime() as runtime:
        await asyncio.gather(*[runtime.submit(one) for _ in range(3)])
    assert calls == [1, 1, 1]


async def test_a_handle_cancels_its_work() -> None:
    async with Runtime() as runtime:
        for work in (effect(forever)(), _native.trial_sleep(LONG)):
            handle = runtime.submit(work)
            await asyncio.sleep(SOON)  # it has begun
            assert handle.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(handle), AT_ONCE)


async def test_another_thread_is_told_to_use_from_thread() -> None:
    async with Runtime() as runtime:
        for make in (_native.trial_noop, effect(forever)):
            with pytest.raises(RuntimeError, match="from_thread"):
                await asyncio.to_thread(on_thread, lambda make=make: runtime.submit(make()))
    gc.collect()  # no warning either that the effect was never awaited


async def test_only_effects_can_be_submitted() -> None:
    work = forever()
    async with Runtime() as runtime:
        with pytest.raises(TypeError, match="takes effects, not the coroutine forever"):
            runtime.submit(work)  # type: ignore[arg-type]
    work.close()


async def test_it_captures_the_context_but_no_deadline_and_no_cancel() -> None:
    @effect
    async def work() -> str:
        await asyncio.sleep(SOON * 2)  # past the deadline of its submitter
        await _native.trial_noop()
        return word.get()

    async with Runtime() as runtime:
        word.set("captured")
        async with deadline(SOON):
            handle, native = runtime.submit(work()), runtime.submit(_native.trial_sleep(SOON * 2))
        word.set("later")
        assert await handle == "captured"
        assert await native is None

        @effect(Timeout(SOON))
        async def submits() -> None:
            handles.append(runtime.submit(work()))
            await forever()

        handles: list[Handle[str]] = []
        task = asyncio.create_task(submits())
        await until(lambda: bool(handles))
        task.cancel()
        await asyncio.wait([task])
        assert await handles[0] == "later"


async def test_work_on_threads_belongs_to_the_runtime_too() -> None:
    done: list[int] = []

    @blocking
    def work(n: int) -> None:
        done.append(n)

    async with Runtime(threads=2) as runtime:
        for n in range(50):
            runtime.submit(work(n))
        gc.collect()
    assert sorted(done) == list(range(50))


async def test_what_is_submitted_and_other_tasks_are_in_one_list_until_they_end() -> None:
    """The one that a shutdown drains, cancels and reports: of `run` its main is in it, too."""
    async with Runtime() as runtime:
        task = runtime._start(forever(), "main")
        handles = [runtime.submit(effect(forever)()), runtime.submit(_native.trial_sleep(LONG))]
        owned = [task, *handles]
        await asyncio.sleep(0)
        assert runtime._pending() == runtime._in_flight() == owned
        for each in owned:
            each.cancel()
        await asyncio.wait(owned, timeout=AT_ONCE)
        await asyncio.sleep(0)
        assert runtime._pending() == runtime._in_flight() == []


@pytest.mark.parametrize("drain", [0.0, LONG])
async def test_a_task_without_a_handle_is_drained_or_cancelled_with_the_rest(drain: float) -> None:
    log: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(SOON)
            log.append("ended")
        except asyncio.CancelledError:
            log.append("cancelled")

    async with Runtime(shutdown=Shutdown(deadline=2 * LONG, drain=drain)) as runtime:
        runtime._start(main(), "main")
        await asyncio.sleep(0)
    assert log == ["ended" if drain else "cancelled"]
    assert runtime.report is not None
    assert [step.name for step in runtime.report.steps if step.outcome != "done"] == ([] if drain else ["drain"])
