"""Submitted work, other threads, and interpreters within the interpreter."""

import asyncio
import gc
import subprocess
import sys
import threading

import pytest

from mountain_runtime import Effect, Handle, Runtime, Timeout, effect
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from tests.effect.support import LONG, Boom, forever, ticks, value


async def test_a_thousand_submitted_with_their_handles_dropped() -> None:
    """Q5: what a runtime has taken, it ends, however often the collector runs."""
    done: list[int] = []

    @effect(Timeout(LONG))
    async def work(n: int) -> None:
        await asyncio.sleep(0)
        done.append(n)

    async with Runtime() as runtime:
        for n in range(500):
            runtime.submit(work(n))
            runtime.submit(noop(n).map(done.append))
            if not n % 100:
                gc.collect()
                await asyncio.sleep(0)
        gc.collect()
    assert sorted(done) == sorted([*range(500), *range(500)])


async def test_submit_gives_a_handle_that_is_a_future() -> None:
    async with Runtime() as runtime:
        for work in (effect(value)(3), noop(3)):
            handle = runtime.submit(work)
            assert isinstance(handle, Handle)
            assert asyncio.isfuture(handle)
            assert not handle.done()
            assert await asyncio.wait_for(asyncio.shield(handle), LONG) == 3
            assert handle.result() == 3
        for slow in (effect(forever)(), sleep(LONG)):
            handle = runtime.submit(slow)
            await ticks()
            assert handle.cancel("enough")
            with pytest.raises(asyncio.CancelledError) as caught:
                await handle
            assert caught.value.args == ("enough",)
            assert handle.cancelled()


async def test_the_error_of_submitted_work_is_reported_once() -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: said.append(context["exception"]))

    async def fails() -> None:
        raise Boom

    async with Runtime() as runtime:
        handle = runtime.submit(effect(fails)())
        await asyncio.wait([handle])  # type: ignore[type-var]
        assert isinstance(handle.exception(), Boom)
        del handle
        gc.collect()
        assert said == []
        runtime.submit(effect(fails)())
        await ticks(5)
        gc.collect()
    gc.collect()
    assert [type(each) for each in said] == [Boom]


async def test_from_thread_inside_a_running_loop() -> None:
    """B12: an error that says what to write instead, and no warning about what was not awaited."""
    async with Runtime() as runtime:
        work = effect(value)(1)
        with pytest.raises(RuntimeError, match="await"):
            runtime.from_thread(work)
        del work
        gc.collect()


async def test_submit_from_another_thread() -> None:
    async with Runtime() as runtime:
        errors: list[BaseException] = []

        def thread() -> None:
            work: Effect[int] = effect(value)(1)
            try:
                runtime.submit(work)
            except RuntimeError as error:
                errors.append(error)

        other = threading.Thread(target=thread)
        other.start()
        other.join()
        assert "from_thread" in str(errors[0])


async def test_from_thread_lands_on_the_runtimes_loop() -> None:
    async with Runtime() as runtime:
        loop = asyncio.get_running_loop()
        results: list[object] = []

        async def where() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        def thread() -> None:
            results.append(runtime.from_thread(effect(where)()))
            results.append(runtime.from_thread(noop(4)))

        other = threading.Thread(target=thread)
        other.start()
        while other.is_alive():
            await asyncio.sleep(0.001)  # a thread cannot be awaited
        assert results == [loop, 4]


SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
    def execute(code):
        made = interpreters.create()
        failed = interpreters.exec(made, code)
        interpreters.destroy(made)
        return failed
except ImportError:
    import _xxsubinterpreters as interpreters
    def execute(code):
        made = interpreters.create()
        try:
            interpreters.run_string(made, code)
        finally:
            interpreters.destroy(made)
assert execute('''
try:
    import mountain_runtime
except ImportError as error:
    assert str(error)
''') is None
import mountain_runtime, asyncio
assert asyncio.run(mountain_runtime._native.trial_noop(3)) == 3
print("fine")
"""


if sys.version_info >= (3, 12):  # on 3.11 asyncio itself does not survive it

    @pytest.mark.processes
    def test_import_in_a_subinterpreter() -> None:
        """B11: it works there or is a clean ImportError, and the main interpreter is none the worse."""
        done = subprocess.run([sys.executable, "-c", SUBINTERPRETER], capture_output=True, text=True, timeout=LONG)
        assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
