"""After a fork the child works afresh, what is the parent's says so, and the parent is fine."""

import subprocess
import sys
import textwrap

import pytest

from . import forks
from .support import Program, execute

pytestmark = pytest.mark.processes


def test_child_and_parent_both_work() -> None:
    """B4; more often in the stress tests."""
    forks.check(times=8)


def test_a_child_that_leaves_through_the_interpreters_exit() -> None:
    """B4: with all its finalizers, which meet what is the parent's."""
    ended = Program(forks.FORKS.replace("asyncio.run(body())\n", "", 1), "exit").end().quietly()
    assert ended.lines == ["0", "8"]


def test_children_of_multiprocessing_work() -> None:
    ended = execute(
        """
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns
        @effect
        async def work(n):
            await _native.trial_noop()
            return n * n
        def square(n):
            return asyncio.run(work(n))
        assert square(3) == 9
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(square, range(5)))
        print(square(5))
        """
    )
    assert ended.quietly().lines == ["[0, 1, 4, 9, 16]", "25"]


def test_a_child_begins_what_its_parent_has_under_way() -> None:
    """A cached call that waits for a run of the parent's would wait for ever."""
    ended = execute(
        """
        import warnings
        from mountain_runtime import Cache
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns
        cache, parent = Cache(ttl=60), os.getpid()
        @effect(cache)
        async def work(n):
            if os.getpid() == parent:
                await _native.trial_sleep(0.05)
            return os.getpid() == parent, n
        async def call(n):
            return await work(n)
        def child():
            print(asyncio.run(asyncio.wait_for(call(1), 5)), asyncio.run(call(2)), flush=True)
        async def body():
            value = await work(2)
            pending = asyncio.create_task(call(1))
            await asyncio.sleep(0.01)  # it is under way
            pid = os.fork()
            if not pid:
                try:
                    asyncio._set_running_loop(None)
                    child()
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
            print(await pending, value)
        asyncio.run(body())
        """
    )
    assert ended.quietly().lines == ["(False, 1) (True, 2)", "(True, 1) (True, 2)"]


def test_in_a_child_nobody_holds_what_its_parents_calls_hold() -> None:
    """Places, turns and probes are free, also for the block that was forked in; what has failed is known."""
    ended = execute(
        """
        import warnings
        from mountain_runtime import CircuitBreaker, ConcurrencyLimit, RateLimit
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns
        limit, rate = ConcurrencyLimit(1), RateLimit(100, per=0.2, burst=1)
        breaker, tripped = CircuitBreaker(failures=1, cooldown=0), CircuitBreaker(failures=1)
        @effect
        async def fails():
            raise OSError
        @effect(limit)
        async def limited():
            await _native.trial_sleep(0.01)
            return limit.statistics().in_flight
        async def probe():
            return breaker.state()
        async def all_of_it():
            held = await asyncio.gather(limited(), limited(), limited())
            await asyncio.gather(*[rate.acquire() for _ in range(3)])
            return held, await breaker.call(probe), breaker.state(), tripped.state(), limit.statistics().in_flight
        def child():
            print(*asyncio.run(asyncio.wait_for(all_of_it(), 5)), flush=True)
        async def body():
            for each in (breaker, tripped):
                try:
                    await fails().under(each)
                except OSError:
                    pass
            over = asyncio.Event()
            holder = breaker.call(over.wait)  # the one probe
            waiting = [asyncio.create_task(limited()) for _ in range(3)]
            waiting += [asyncio.create_task(rate.acquire()) for _ in range(50)]
            probes = asyncio.create_task(holder)
            async with limit.slot():
                await asyncio.sleep(0.01)
                pid = os.fork()
                if not pid:
                    try:
                        asyncio._set_running_loop(None)
                        child()
                        waiting.clear()  # what the parent's calls let go of here is nothing
                        gc.collect()
                    finally:
                        print(limit.statistics().in_flight, flush=True)
                        os._exit(0)
                os.waitpid(pid, 0)
            over.set()
            await asyncio.gather(*waiting, probes)
            print(limit.statistics().in_flight, breaker.state())
        asyncio.run(body())
        """
    )
    assert ended.quietly().lines == ["[1, 1, 1] half_open closed open 0", "0", "0 closed"]


def test_a_child_that_imports_it_in_the_middle_of_its_parents_loop() -> None:
    code = """
        import asyncio, os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)

        async def main():
            pid = os.fork()
            if pid:
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            from mountain_runtime import _native
            try:
                _native.trial_noop().__await__()
            except RuntimeError as error:
                print(error, flush=True)
                os._exit(7)
            os._exit(8)

        print(asyncio.run(main()))
        """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=20)
    assert ended.stdout.splitlines()[1:] == ["7"], ended
    assert "needs a running asyncio event loop" in ended.stdout
