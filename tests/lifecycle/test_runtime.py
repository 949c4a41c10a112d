"""Runtime as a context: a clean exit drains, an exception cancels, and it is entered once."""

import asyncio
import math
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Runtime, Shutdown, _native, blocking, effect
from mountain_runtime.errors import ConfigError, ShuttingDown

from .support import AT_ONCE, LONG, SOON, Boom, forever, until


async def test_a_clean_exit_drains() -> None:
    log: list[str] = []

    @effect
    async def work() -> None:
        await asyncio.sleep(SOON)  # is still under way when the body ends
        log.append("done")

    async with Runtime() as runtime:
        runtime.submit(work())
        runtime.submit(_native.trial_sleep(SOON).map(lambda _: log.append("native")))
        assert runtime.report is None
    assert sorted(log) == ["done", "native"]
    assert runtime.report is not None
    assert runtime.report.ok


async def test_an_exception_cancels_and_awaits_the_cleanup() -> None:
    log: list[str] = []

    @effect
    async def work() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(SOON)  # a cleanup that takes its time
            log.append("cleaned")
            raise

    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(Boom):
        async with Runtime() as runtime:
            handles = [runtime.submit(work()), runtime.submit(_native.trial_sleep(LONG))]
            await asyncio.sleep(SOON)  # both have begun
            raise Boom
    assert log == ["cleaned"]
    assert all(handle.cancelled() for handle in handles)
    assert loop.time() - begun < AT_ONCE
    assert runtime.report is not None


async def test_a_cancel_of_the_body_cancels_too() -> None:
    log: list[str] = []

    @effect
    async def work() -> None:
        try:
            await forever()
        finally:
            log.append("cleaned")

    async def body() -> None:
        async with Runtime() as runtime:
            runtime.submit(work())
            await forever()

    task = asyncio.create_task(body())
    await asyncio.sleep(SOON)  # it has begun
    task.cancel("out")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, AT_ONCE)
    assert log == ["cleaned"]


async def test_it_is_entered_once() -> None:
    runtime = Runtime()
    async with runtime:
        with pytest.raises(RuntimeError, match="once"):
            await runtime.__aenter__()
        assert await runtime.submit(_native.trial_noop(4)) == 4  # the failed attempt has broken nothing
    with pytest.raises(RuntimeError, match="once"):
        await runtime.__aenter__()


async def test_two_one_after_another() -> None:
    for n in range(2):
        async with Runtime() as runtime:
            assert await runtime.submit(_native.trial_noop(n)) == n
    assert await _native.trial_noop(9) == 9


def test_one_for_each_of_several_loops_and_threads() -> None:
    """B7: each result lands on its own loop."""
    lands: list[bool] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()

        @effect
        async def where() -> bool:
            await _native.trial_sleep(0.001)
            return asyncio.get_running_loop() is loop

        async with Runtime() as runtime:
            handle = runtime.submit(where())
            assert handle.get_loop() is loop
            lands.append(await handle)

    for _ in range(3):
        asyncio.run(body())
    threads = [threading.Thread(target=asyncio.run, args=(body(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert lands == [True] * 7


async def test_run_is_an_await_in_this_runtime() -> None:
    async with Runtime() as runtime:
        assert await runtime.run(_native.trial_noop(3)) == 3
        assert await runtime.run(effect(asyncio.sleep)(0, "v")) == "v"
        with pytest.raises(FileNotFoundError):
            await runtime.run(_native.trial_fail(2))


async def test_before_and_after_its_time_it_says_what_to_do() -> None:
    runtime = Runtime()
    with pytest.raises(RuntimeError, match="async with"):
        runtime.submit(_native.trial_noop())
    with pytest.raises(RuntimeError, match="enter"):
        await asyncio.to_thread(lambda: runtime.from_thread(_native.trial_noop()))
    async with runtime:
        pass
    with pytest.raises(ShuttingDown, match="closed"):
        runtime.submit(_native.trial_noop())
    with pytest.raises(ShuttingDown, match="closed"):
        await asyncio.to_thread(lambda: runtime.from_thread(_native.trial_noop()))
    with pytest.raises(ShuttingDown, match="closed"):
        await runtime.run(_native.trial_noop())
    # no runtime is needed to await
    assert await _native.trial_noop(5) == 5
    assert await effect(asyncio.sleep)(0, 6) == 6


# -- its settings --------------------------------------------------------------------------------------------


def workers() -> int:
    """How many native workers this process has."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except OSError:
            pass  # it has just ended
    return sum(name.startswith("mountain-worker") for name in names)


if sys.platform == "linux":  # elsewhere threads of other languages have no names that one could read

    @pytest.mark.parametrize("count", [1, 3])
    async def test_workers_are_its_own_and_end_with_it(count: int) -> None:
        await _native.trial_noop()  # the process's own workers are there from now on
        before = workers()
        async with Runtime(workers=count) as runtime:
            assert await runtime.submit(_native.trial_noop(1)) == 1
            await until(lambda: workers() == before + count)
        await until(lambda: workers() == before)


async def test_threads_are_no_more_than_it_was_given() -> None:
    lock, now, most = threading.Lock(), 0, 0

    @blocking
    def work() -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.005)  # so that those that may run together do
        with lock:
            now -= 1
        return threading.current_thread().name

    async with Runtime(threads=2) as runtime:
        names = await asyncio.gather(*[runtime.submit(work()) for _ in range(10)])
    assert most == 2
    assert len(set(names)) <= 2
    assert threading.main_thread().name not in names


async def test_threads_of_its_own_end_with_it() -> None:
    async with Runtime(threads=1) as runtime:
        thread = await runtime.submit(blocking(threading.current_thread)())
        assert thread.is_alive()
    await until(lambda: not thread.is_alive())


WRONG: list[tuple[Any, list[str]]] = [
    (lambda: Runtime(workers=0), ["workers", "0", "1"]),
    (lambda: Runtime(workers=-1), ["workers", "-1", "1"]),
    (lambda: Runtime(workers=1.5), ["workers", "1.5", "whole"]),  # type: ignore[arg-type]
    (lambda: Runtime(threads=0), ["threads", "0", "1"]),
    (lambda: Shutdown(deadline=-1), ["Shutdown", "deadline", "-1", "0"]),
    (lambda: Shutdown(drain=math.nan), ["Shutdown", "drain", "nan", "0"]),
    (lambda: Shutdown(propagation=-0.5), ["Shutdown", "propagation", "-0.5", "0"]),
    (lambda: Runtime(shutdown=5), ["shutdown", "5", "Shutdown"]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("build", "named"), WRONG)
def test_a_wrong_setting_is_refused_where_it_is_written(build: Any, named: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        build()
    for part in named:
        assert part in str(refused.value)
