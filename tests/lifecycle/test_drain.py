"""A draining runtime: new work is refused, accepted work goes on, and its waiters learn its outcome."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Runtime, Shutdown, _native, amap, blocking, effect, fs, gather
from mountain_runtime.errors import Rejected, ShuttingDown

from .support import AT_ONCE, LONG, SOON, Boom, drains, forever, on_thread, refuses, until

#: Long enough to look around in, short enough to wait for.
BRIEF = Shutdown(deadline=2, drain=0.1)


async def answer(work: Any) -> Any:
    """The value, or what it was refused with."""
    try:
        return await work
    except ShuttingDown as error:
        return error


async def test_new_work_is_refused_and_accepted_work_goes_on() -> None:
    answers: dict[str, Any] = {}
    runtime = Runtime()

    @effect
    async def nested() -> str:
        await asyncio.sleep(0)
        return "nested"

    @effect
    async def accepted() -> None:
        await until(lambda: drains(runtime))
        answers["native"] = await answer(_native.trial_noop(1))
        answers["python"] = await answer(nested())
        answers["gathered"] = await answer(gather([nested(), nested()]))
        answers["on a thread"] = await answer(blocking(lambda: "thread")())
        answers["in a task of its own"] = await asyncio.create_task(answer(nested()))
        answers["runtime.run"] = await answer(runtime.run(nested()))
        answers["submit"] = await answer(runtime.submit(nested()))
        answers["submit, native"] = await answer(runtime.submit(_native.trial_noop(2)))
        answers["from_thread"] = await answer(asyncio.to_thread(runtime.from_thread, nested()))
        # A thread that is started as threads are has none of the context of its starter.
        answers["outsider, from_thread"] = await answer(
            asyncio.to_thread(on_thread, lambda: runtime.from_thread(nested()))
        )

    async def outsider() -> None:
        """A task of the body's, to which nothing was promised."""
        await until(lambda: refuses(runtime))
        answers["outsider, python"] = await answer(nested())
        answers["outsider, native"] = await answer(_native.trial_noop(1))
        try:
            runtime.submit(nested())
        except ShuttingDown as error:
            answers["outsider, submit"] = error

    async with runtime:
        stranger = asyncio.create_task(outsider())
        runtime.submit(accepted())
        await asyncio.sleep(SOON)  # both wait for the drain
    await stranger

    refused = {name for name, got in answers.items() if isinstance(got, ShuttingDown)}
    assert refused == {"outsider, python", "outsider, native", "outsider, submit", "outsider, from_thread"}
    assert answers["native"] == 1
    assert answers["python"] == answers["in a task of its own"] == answers["runtime.run"] == "nested"
    assert answers["submit"] == answers["from_thread"] == "nested"
    assert answers["submit, native"] == 2
    assert answers["gathered"] == ["nested", "nested"]
    assert answers["on a thread"] == "thread"
    assert isinstance(answers["outsider, python"], Rejected)
    assert "nested" in str(answers["outsider, python"])


async def test_what_runs_on_is_cancelled_when_the_drain_ends_and_its_cleanup_is_admitted(tmp_path: Path) -> None:
    log: list[str] = []

    @effect
    async def tidy() -> None:
        await asyncio.sleep(0)
        log.append("tidied")

    @effect
    async def hangs() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        finally:
            await tidy()
            # Native work is torn down after the cleanup only.
            await fs.write_text(tmp_path / "state", "saved", durable=False)
            log.append("saved")

    loop = asyncio.get_running_loop()
    async with Runtime(shutdown=BRIEF) as runtime:
        handle, native = runtime.submit(hangs()), runtime.submit(_native.trial_sleep(LONG))
        await asyncio.sleep(SOON)  # both have begun
        begun = loop.time()
    assert 0.1 <= loop.time() - begun < 0.1 + AT_ONCE
    assert log == ["cancelled", "tidied", "saved"]
    assert (tmp_path / "state").read_text() == "saved"
    assert handle.cancelled()
    assert native.cancelled()


async def test_who_had_started_is_cancelled_and_who_had_not_is_refused() -> None:
    """Both wait for the same thing; only one of them had begun."""
    begun: list[str] = []

    @blocking(name="first")
    def first() -> None:
        begun.append("first")
        release.wait(LONG)

    @blocking(name="second")
    def second() -> None:
        begun.append("second")

    release = threading.Event()
    async with Runtime(threads=1, shutdown=Shutdown(deadline=0.5, drain=0.1)) as runtime:
        running = runtime.submit(first())
        await until(lambda: bool(begun))
        queued = runtime.submit(second())
    release.set()
    assert running.cancelled()
    assert queued.done()
    assert isinstance(None if queued.cancelled() else queued.exception(), ShuttingDown)
    await asyncio.sleep(SOON)  # the thread comes back, and finds nothing to do
    assert begun == ["first"]


# -- amap ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazily", [False, True], ids=["iterable", "async iterable"])
async def test_amap_pulls_no_more_and_yields_what_was_in_flight(lazily: bool) -> None:
    pulled: list[int] = []
    seen: list[tuple[int, int]] = []
    ended: list[BaseException] = []

    def items() -> Any:
        for n in itertools.count():
            pulled.append(n)
            yield n

    async def later() -> AsyncIterator[int]:
        for n in items():
            await asyncio.sleep(0)
            yield n

    @effect
    async def double(n: int) -> int:
        await asyncio.sleep(0.005)  # so that some are in flight at any time
        return 2 * n

    runtime = Runtime()

    @effect
    async def job() -> None:
        try:
            async with amap(double, later() if lazily else items(), limit=4) as results:
                async for pair in results:
                    seen.append(pair)
        except ShuttingDown as error:
            ended.append(error)

    async with runtime:
        runtime.submit(job())
        await until(lambda: len(seen) > 10)
    assert len(ended) == 1
    assert sorted(seen) == [(n, 2 * n) for n in range(len(seen))]
    assert len(pulled) - len(seen) <= 1  # at most one was pulled in the moment of the refusal, and not begun
    assert runtime.report is not None
    assert runtime.report.ok


@pytest.mark.parametrize("propagation", [0, 2 * SOON])
async def test_amap_that_only_waits_for_its_source_gives_way_as_the_shutdown_begins(propagation: float) -> None:
    """Between the announcement and the drain it waits on; in the drain it takes what its source has just given."""
    loop = asyncio.get_running_loop()
    pulled: list[int] = []
    ended: list[BaseException] = []

    async def items() -> AsyncIterator[int]:
        for n in itertools.count():
            await asyncio.sleep(0)
            pulled.append(n)
            yield n

    @effect
    async def job() -> None:
        try:
            async with amap(_native.trial_noop, items(), limit=1) as results:
                async for _ in results:
                    pass
        except ShuttingDown as error:
            ended.append(error)

    for turns in range(12):
        async with Runtime(shutdown=Shutdown(propagation=propagation if turns == 5 else 0)) as runtime:
            runtime.submit(job())
            for _ in range(turns):
                await asyncio.sleep(0)
            begun = loop.time()
        assert loop.time() - begun < propagation + AT_ONCE
    assert len(ended) == 12


# -- accepted work that a cancel cannot end ------------------------------------------------------------------


async def test_one_overall_deadline_bounds_all_of_it() -> None:
    """Work that swallows its cancel is left behind when the time is up, and named."""
    let_go = asyncio.Event()

    @effect(name="stubborn")
    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                pass

    loop = asyncio.get_running_loop()
    async with Runtime(shutdown=Shutdown(deadline=0.3, drain=0.1)) as runtime:
        runtime.submit(stubborn())
        await asyncio.sleep(SOON)  # it has begun
        begun = loop.time()
    assert 0.25 < loop.time() - begun < 0.3 + AT_ONCE
    assert runtime.report is not None
    assert not runtime.report.ok
    assert "stubborn" in str(runtime.report)
    let_go.set()
    await asyncio.sleep(SOON)  # it ends, so that the loop can


async def test_nothing_to_drain_takes_no_time() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with Runtime(shutdown=Shutdown(deadline=LONG, drain=LONG)) as runtime:
        await runtime.submit(_native.trial_noop())
    assert loop.time() - begun < AT_ONCE


async def test_an_error_of_submitted_work_does_not_end_the_drain() -> None:
    done: list[int] = []

    @effect
    async def fails() -> None:
        raise Boom

    @effect
    async def works() -> None:
        await asyncio.sleep(SOON)  # longer than the other takes to fail
        done.append(1)

    async with Runtime() as runtime:
        failed = runtime.submit(fails())
        runtime.submit(works())
    assert done == [1]
    assert isinstance(failed.exception(), Boom)
