"""`asyncio.run` and its relatives: an effect is taken for the coroutine that it is, and nothing is left of a loop."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mountain_runtime import Runtime, Timeout, blocking, effect, fs, gather
from mountain_runtime.errors import TimedOut


@blocking
def on_thread() -> str:
    return threading.current_thread().name


@effect(Timeout(30))
async def nap(seconds: float, said: list[str]) -> str:
    try:
        await asyncio.sleep(seconds)
    finally:
        said.append("ended")
    return "slept"


def test_it_runs_an_effect_itself(complaints: list[str]) -> None:
    assert asyncio.run(nap(0, [])) == "slept"
    assert asyncio.run(on_thread().map(len)) > 0
    assert asyncio.run(gather(fs.stat("/").map(lambda about: about.size > 0), nap(0, []))) == (True, "slept")
    with asyncio.Runner() as runner:
        again = nap(0, [])
        assert [runner.run(again) for _ in range(3)] == ["slept"] * 3
    assert complaints == []


def test_debug_mode_finds_nothing_to_say(complaints: list[str], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        async with Runtime() as rt:
            handles = [rt.submit(nap(0.01, [])) for _ in range(3)]
            return [await handle for handle in handles]

    assert asyncio.run(main(), debug=True) == ["slept"] * 3
    assert complaints == []
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


@pytest.mark.parametrize(
    "wait",
    [
        lambda work: asyncio.wait_for(work, 5),
        asyncio.shield,
        asyncio.ensure_future,
        asyncio.create_task,
        lambda work: next(iter(asyncio.as_completed([work]))),
        asyncio.gather,
    ],
    ids=["wait_for", "shield", "ensure_future", "create_task", "as_completed", "gather"],
)
def test_what_takes_a_coroutine_takes_an_effect(wait: Callable[[Any], Awaitable[Any]], complaints: list[str]) -> None:
    async def main() -> Any:
        return await wait(nap(0.01, []))

    assert asyncio.run(main()) in ("slept", ["slept"])
    assert complaints == []


def test_timeouts_of_asyncio_and_ours_know_each_other() -> None:
    async def main() -> list[str]:
        said: list[str] = []
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.05):
                await nap(60, said)
        assert not isinstance(raised.value, TimedOut)
        with pytest.raises(TimedOut):
            async with asyncio.timeout(5):
                await nap(60, said).under(Timeout(0.05))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(nap(60, said), 0.05)
        return said

    assert asyncio.run(main()) == ["ended"] * 3


def test_a_ctrl_c_cancels_and_waits_for_the_cleanup(complaints: list[str]) -> None:
    """asyncio's own handling, since nothing of ours is installed under `async with` alone."""
    said: list[str] = []
    handler = signal.getsignal(signal.SIGINT)

    async def main() -> None:
        async with Runtime() as rt:
            _ = rt.submit(nap(60, said))
            await asyncio.sleep(0.01)  # its first step
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
            await nap(60, said)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert said == ["ended", "ended"]
    assert signal.getsignal(signal.SIGINT) is handler
    assert complaints == []


def test_what_main_leaves_behind_is_cancelled_with_its_loop(complaints: list[str]) -> None:
    said: list[str] = []

    async def main() -> None:
        task = asyncio.create_task(nap(60, said))
        await asyncio.sleep(0.01)  # its first step
        assert not task.done()

    asyncio.run(main())
    assert said == ["ended"]
    assert complaints == []
