"""`from_thread`: effects for threads that run no loop."""

import asyncio
import gc
import signal
import threading
from typing import Any

import pytest

from mountain_runtime import Runtime, Timeout, _native, blocking, effect
from mountain_runtime.errors import TimedOut

from .support import LONG, SOON, Boom, Program, forever, on_thread


async def test_it_runs_on_the_entered_loop_and_gives_the_value() -> None:
    loop = asyncio.get_running_loop()

    @effect
    async def where() -> tuple[Any, int]:
        await asyncio.sleep(0)
        return asyncio.get_running_loop(), threading.get_ident()

    async with Runtime() as runtime:
        found = await asyncio.to_thread(on_thread, lambda: runtime.from_thread(where()))
        assert found == (loop, threading.get_ident())
        assert await asyncio.to_thread(on_thread, lambda: runtime.from_thread(_native.trial_noop(8))) == 8


async def test_it_raises_what_the_effect_raises() -> None:
    @effect
    async def fails() -> None:
        raise Boom("here")

    async with Runtime() as runtime:
        with pytest.raises(Boom, match="here"):
            await asyncio.to_thread(on_thread, lambda: runtime.from_thread(fails()))
        with pytest.raises(FileNotFoundError):
            await asyncio.to_thread(on_thread, lambda: runtime.from_thread(_native.trial_fail(2)))
        with pytest.raises(TimedOut):
            await asyncio.to_thread(on_thread, lambda: runtime.from_thread(effect(Timeout(SOON))(forever)()))


async def test_it_works_inside_blocking_functions() -> None:
    async with Runtime() as runtime:

        @blocking
        def work() -> int:
            return runtime.from_thread(_native.trial_noop(5)) + runtime.from_thread(effect(asyncio.sleep)(0, 6))

        assert await work() == 11


async def test_many_threads_at_once() -> None:
    @effect
    async def add(n: int) -> int:
        await _native.trial_noop()
        return n + 1

    async with Runtime() as runtime:

        def body(n: int) -> list[int]:
            return [runtime.from_thread(add(n + k)) for k in range(50)]

        found = await asyncio.gather(*[asyncio.to_thread(body, n) for n in range(8)])
    assert found == [[n + k + 1 for k in range(50)] for n in range(8)]


async def test_inside_a_running_loop_it_names_the_async_call() -> None:
    """B12: and the effect is no never-awaited one, or the warning would be an error here."""
    async with Runtime() as runtime:
        for make in (_native.trial_noop, effect(forever)):
            with pytest.raises(RuntimeError, match="await"):
                runtime.from_thread(make())
            gc.collect()


async def test_inside_another_threads_loop_it_names_the_async_call() -> None:
    async with Runtime() as runtime:

        async def in_another_loop() -> None:
            runtime.from_thread(_native.trial_noop())

        with pytest.raises(RuntimeError, match="await"):
            await asyncio.to_thread(asyncio.run, in_another_loop())


async def test_a_loop_that_ends_releases_the_thread() -> None:
    """A waiter on another thread gets an answer when the runtime cancels what is left."""
    answers: list[BaseException] = []
    waiting = threading.Event()

    @effect
    async def hangs() -> None:
        waiting.set()
        await forever()

    with pytest.raises(Boom):
        async with Runtime() as runtime:

            def body() -> None:
                try:
                    runtime.from_thread(hangs())
                except BaseException as error:
                    answers.append(error)

            thread = threading.Thread(target=body)
            thread.start()
            await asyncio.to_thread(waiting.wait, LONG)
            raise Boom
    await asyncio.to_thread(thread.join, LONG)
    assert len(answers) == 1


B8 = """
@effect
async def python():
    try:
        await asyncio.sleep(60)
    finally:
        print("cancelled")

@effect
async def native():
    try:
        await _native.trial_sleep(60)
    finally:
        print("cancelled")

started, close = threading.Event(), threading.Event()
def side():
    async def body():
        global runtime
        async with Runtime() as runtime:
            started.set()
            await asyncio.to_thread(close.wait)
    asyncio.run(body())

thread = threading.Thread(target=side)
thread.start()
started.wait()
print("ready")
begun = time.monotonic()
try:
    runtime.from_thread(dict(python=python, native=native)[sys.argv[1]]())
except KeyboardInterrupt:
    print("interrupted")
close.set()
thread.join()
"""


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["python", "native"])
def test_ctrl_c_ends_it_at_once_and_cancels_the_effect(kind: str) -> None:
    """B8."""
    program = Program(B8, kind).wait_for("ready")
    threading.Event().wait(0.5)  # the case's own figure: it is well inside the wait by then
    ended = program.signal(signal.SIGINT).end()
    assert sorted(ended.lines) == ["cancelled", "interrupted"]
    ended.quietly()
    assert ended.took < 0.5 + 1
