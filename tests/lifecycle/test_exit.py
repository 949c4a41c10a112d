"""A program that ends without a shutdown ends as if we were not there."""

import pytest

from . import exits
from .support import execute

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("name", exits.PROGRAMS)
def test_exit_is_quiet_quick_and_successful(name: str) -> None:
    """B5, and exits with threads asleep; 200 times in the stress tests."""
    exits.check(name, times=6)


def test_the_status_is_the_programs_own() -> None:
    ended = execute(
        """
        async def main():
            tasks = [asyncio.create_task(_native.trial_sleep(60)) for _ in range(10)]
            await asyncio.sleep(0)
            sys.exit(3)
        asyncio.run(main())
        """
    )
    ended.quietly(status=3)


def test_an_exit_takes_less_than_two_seconds_while_everything_is_busy() -> None:
    ended = execute(
        """
        @blocking
        def nap(): time.sleep(60)
        @effect
        async def waits(): await asyncio.sleep(60)
        loop = asyncio.new_event_loop()
        async def main():
            runtime = await Runtime(workers=2, threads=2).__aenter__()
            kept.append(runtime)
            for make in (nap, waits, lambda: _native.trial_sleep(60)):
                kept.extend(runtime.submit(make()) for _ in range(5))
            await asyncio.sleep(0.05)  # so that the threads are asleep
        kept = []
        loop.run_until_complete(main())
        print(time.time())
        """
    )
    ended.quietly()
    assert ended.at - float(ended.lines[-1]) < 2


def test_importing_and_ending_starts_no_thread() -> None:
    ended = execute(
        "print(len(os.listdir('/proc/self/task')) if os.path.isdir('/proc') else threading.active_count())"
    ).quietly()
    assert ended.lines == ["1"]


def test_an_error_that_lives_until_the_modules_are_gone_is_reported_to_nothing() -> None:
    """A handle that a global keeps to the interpreter's end: by then there is no logging to import."""
    ended = execute(
        """
        @effect
        async def fails(): raise ValueError("unseen")
        kept = []
        async def main():
            async with Runtime() as runtime:
                kept.append(runtime.submit(fails()))
                await asyncio.sleep(0.01)  # so that it has failed
            raise AssertionError("the last line")
        asyncio.run(main())
        """
    )
    assert ended.status == 1
    assert ended.said.rstrip().endswith("AssertionError: the last line")
