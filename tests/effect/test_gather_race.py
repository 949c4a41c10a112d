"""gather and race: effects side by side, and what becomes of the others."""

import asyncio
import errno
from typing import Any

import pytest

from mountain_runtime import Retry, Timeout, constant, effect, gather, race
from mountain_runtime._native import is_native
from mountain_runtime._native import trial_fail as fail
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from mountain_runtime.errors import ConfigError, TimedOut

from .support import LONG, SOON, Boom, Stop, cancelling, forever, ticks, value


class Watched:
    """A leaf that notes how it ends."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def wait(self, name: str = "cleaned") -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.005)  # the cleanup is to take a moment that one could miss
            self.log.append(name)

    async def work(self, name: str, n: int) -> int:
        self.log.append(name)
        await asyncio.sleep(0)
        return n


async def broken() -> int:
    await asyncio.sleep(0)
    raise Boom


async def test_results_in_the_order_of_the_arguments() -> None:
    @effect
    async def later(n: int) -> int:
        await ticks(5 - n)
        return n

    assert await gather([later(n) for n in range(5)]) == [0, 1, 2, 3, 4]
    assert await gather(later(1), noop(2)) == (1, 2)
    assert await gather(later(1), noop(2), later(3)) == (1, 2, 3)
    assert await gather(noop(1), noop(2)) == (1, 2)
    assert await gather(n for n in (noop(1), noop(2), noop(3))) == [1, 2, 3]
    assert await gather([]) == []


async def test_native_children_stay_native() -> None:
    work = gather([noop(n) for n in range(100)])
    assert is_native(work)
    assert await work == list(range(100))
    mixed = gather([noop(1), effect(value)(2)])
    assert not is_native(mixed)
    assert await mixed == [1, 2]
    racing = race(noop(1), sleep(LONG))
    assert is_native(racing)
    assert await racing == 1


async def test_an_effect_given_twice_runs_twice() -> None:
    seen = Watched()
    work = effect(seen.work)("run", 4)
    assert await gather([work, work]) == [4, 4]
    assert seen.log == ["run", "run"]
    native = noop(3)
    assert await gather([native, native]) == [3, 3]


async def test_the_first_error_comes_after_the_siblings_cleanup() -> None:
    seen = Watched()
    with pytest.raises(Boom):
        guarded = effect(Retry(on=Boom), Timeout(LONG))(seen.wait)
        await gather([effect(seen.wait)(), effect(broken)(), guarded(), sleep(LONG)])
    assert seen.log == ["cleaned", "cleaned"]
    assert cancelling() == 0


async def test_a_native_error_ends_a_coroutine() -> None:
    """B3: the native side fails at 50 ms, the coroutine would append at 1 s."""
    log: list[str] = []

    @effect
    async def appends() -> None:
        await asyncio.sleep(1)  # the case's own figure; it must never be waited out
        log.append("appended")

    with pytest.raises(FileNotFoundError):
        await gather([sleep(0.05).then(lambda _: fail(errno.ENOENT)), appends()])
    assert log == []
    with pytest.raises(FileNotFoundError):
        await asyncio.gather(fail(errno.ENOENT), sleep(0))


async def test_native_children_that_fail_end_each_other() -> None:
    with pytest.raises(FileNotFoundError):
        await asyncio.wait_for(gather([sleep(LONG), fail(errno.ENOENT), sleep(LONG)]), LONG / 3)


async def test_a_cancel_reaches_every_child_and_waits_for_them() -> None:
    seen = Watched()
    for work in (gather([effect(seen.wait)()] * 3), race(*[effect(seen.wait)()] * 3)):
        task = asyncio.ensure_future(work)
        await ticks(4)
        task.cancel("all")
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen.log == ["cleaned"] * 6


async def test_two_cancels_do_not_cut_the_cleanup_short() -> None:
    seen = Watched()
    task = asyncio.ensure_future(gather([effect(seen.wait)(), effect(seen.wait)()]))
    await ticks(4)
    task.cancel()
    await ticks(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen.log == ["cleaned"] * 2


async def test_a_group_under_a_timeout() -> None:
    seen = Watched()
    begins = Timeout(10 * SOON)  # a part that begins after the limit has nothing to clean up
    with pytest.raises(TimedOut):
        await gather([effect(seen.wait)(), effect(value)(1)]).under(begins)
    with pytest.raises(TimedOut):
        await gather([sleep(LONG), noop(1)]).under(Timeout(SOON))
    with pytest.raises(TimedOut):
        await race(effect(seen.wait)(), sleep(LONG)).under(begins)
    assert seen.log == ["cleaned"] * 2
    assert cancelling() == 0


async def test_what_a_part_failed_of_is_named_by_the_part() -> None:
    slow = sleep(LONG).under(Timeout(SOON))
    for group in (gather([noop(1), slow]), gather([noop(1), slow]).under(Timeout(LONG), Retry(on=FileNotFoundError))):
        assert is_native(group)
        with pytest.raises(TimedOut) as caught:
            await group
        assert (caught.value.effect, caught.value.policy, caught.value.attempt) == ("sleep", f"Timeout({SOON})", 1)
    tried = fail(errno.ENOENT).under(Retry(on=FileNotFoundError, attempts=2, backoff=constant(0)))
    with pytest.raises(FileNotFoundError) as missing:
        await gather([tried, sleep(LONG)]).under(Timeout(LONG))
    assert missing.value.__notes__ == ["effect 'fail' was attempted 2 times; this is the last failure"]


async def test_a_whole_group_is_retried() -> None:
    runs = 0

    @effect
    async def third() -> int:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise Boom
        return runs

    assert await gather([third(), noop(1)]).under(Retry(on=Boom, attempts=3)) == [3, 1]


async def test_what_is_no_exception_comes_through() -> None:
    async def stops() -> None:
        raise Stop

    seen = Watched()
    with pytest.raises((Stop, BaseExceptionGroup)):
        await gather([effect(seen.wait)(), effect(stops)()]).attempt(Exception)


async def test_race_gives_the_first_success() -> None:
    seen = Watched()
    assert await race(effect(seen.wait)(), effect(broken)(), effect(seen.work)("ran", 5)) == 5
    assert sorted(seen.log) == ["cleaned", "ran"]
    assert await race(sleep(LONG).map(lambda _: 0), noop(6)) == 6
    assert await race(fail(errno.EIO), noop(7)) == 7


async def test_a_race_that_a_sleeper_wins() -> None:
    """An effect that a timer wakes ends the others, itself included, from the clock's own thread: which must go on."""
    for _ in range(20):
        assert await asyncio.wait_for(race(sleep(0.001), sleep(LONG), sleep(0.001)), 5) is None
    assert await asyncio.wait_for(sleep(0.001), 5) is None


async def test_race_that_all_lose() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await race(effect(broken)(), fail(errno.ENOENT))
    assert [type(error) for error in caught.value.exceptions] == [Boom, FileNotFoundError]
    with pytest.raises(ExceptionGroup) as caught:
        await race(fail(errno.EIO), fail(errno.ENOENT))
    assert [error.errno for error in caught.value.exceptions if isinstance(error, OSError)] == [errno.EIO, errno.ENOENT]


async def test_what_cannot_be_grouped_is_said() -> None:
    with pytest.raises(ConfigError):
        race()
    number: Any = 1
    for wrong in (lambda: gather([number]), lambda: gather(number), lambda: race(number), gather):
        with pytest.raises(TypeError):
            wrong()
    coroutine: Any = value(1)
    with pytest.raises(TypeError):
        gather([coroutine])
    coroutine.close()


async def test_ten_thousand_at_once() -> None:
    assert sum(await gather([noop(1) for _ in range(10_000)])) == 10_000
    assert sum(await asyncio.gather(*(noop(1) for _ in range(10_000)))) == 10_000
