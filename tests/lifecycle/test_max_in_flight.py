"""Runtime(max_in_flight=): of what is submitted so much is at work at a time; the rest waits, by priority."""

import asyncio
import gc
import warnings
from collections.abc import Callable

import pytest

from mountain_runtime import Effect, Priority, Runtime, Shutdown, _native, effect, priority
from mountain_runtime.errors import ConfigError, ShuttingDown
from mountain_runtime.policy import _forks

from .support import AT_ONCE, LONG, SOON, forever, until


class Works:
    """Python work: how much of it is under way, and in which order it began."""

    def __init__(self) -> None:
        self.begun: list[object] = []
        self.now = self.most = 0
        self.open = asyncio.Event()

    def __call__(self, who: object) -> Effect[object]:
        return effect(self._work)(who)

    async def _work(self, who: object) -> object:
        self.begun.append(who)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.open.wait()
            return who
        finally:
            self.now -= 1


async def at_once() -> int:
    return 1


async def test_so_much_is_at_work_and_the_rest_comes_by_priority() -> None:
    works = Works()
    async with Runtime(max_in_flight=2) as runtime:
        handles = [runtime.submit(works(n)) for n in range(4)]
        for level in (Priority.LOW, Priority.HIGH):
            with priority(level):
                handles.append(runtime.submit(works(level)))
        await asyncio.sleep(SOON)
        assert works.begun == [0, 1]
        works.open.set()
        assert await asyncio.gather(*handles) == [0, 1, 2, 3, Priority.LOW, Priority.HIGH]
    assert works.begun == [0, 1, Priority.HIGH, 2, 3, Priority.LOW]
    assert works.most == 2


async def test_native_work_and_python_work_share_the_places() -> None:
    works = Works()
    async with Runtime(max_in_flight=1, shutdown=Shutdown(deadline=LONG, drain=LONG)) as runtime:
        first = runtime.submit(works("first"))
        await until(lambda: works.begun == ["first"])
        native = runtime.submit(_native.trial_noop())
        await asyncio.sleep(SOON)
        assert not native.done()
        works.open.set()
        await native
        assert works.now == 0
        assert await first == "first"


@pytest.mark.parametrize("kind", ["python", "native"])
async def test_what_is_awaited_takes_no_place_and_waits_for_none(kind: str) -> None:
    works = Works()
    async with Runtime(max_in_flight=1) as runtime:
        hangs = runtime.submit(works("holds the place"))
        await until(lambda: works.begun == ["holds the place"])
        awaited = asyncio.create_task(runtime.run(_native.trial_noop(1) if kind == "native" else effect(at_once)()))
        done, _ = await asyncio.wait([awaited], timeout=AT_ONCE)
        assert done == {awaited}, "it waits for a place"
        assert awaited.result() == 1
        assert works.now == 1
        hangs.cancel()


@pytest.mark.parametrize("kind", ["python", "native"])
async def test_a_call_that_waits_for_its_place_is_counted_once(kind: str) -> None:
    """The wait is a part of it: no call of its own, in its name or another one."""
    works = Works()
    make: Callable[[], Effect[int]] = (lambda: _native.trial_noop(1)) if kind == "native" else effect(at_once)
    (shown := make()).close()
    name = shown.__name__
    async with Runtime(max_in_flight=1) as runtime:

        def started() -> tuple[int, int]:
            """Of its name, and of any name."""
            counts = {each: row.started for each, row in runtime.statistics().effects.items()}
            return counts.get(name, 0), sum(counts.values())

        first = runtime.submit(works("first"))
        await until(lambda: works.begun == ["first"])
        mine, all_of_them = started()
        waits = [runtime.submit(make()) for _ in range(3)]
        await asyncio.sleep(SOON)
        assert not any(each.done() for each in waits)
        works.open.set()
        assert await asyncio.gather(*waits) == [1, 1, 1]
        assert started() == (mine + 3, all_of_them + 3)
        await first


async def test_a_forked_child_has_none_of_the_places_taken() -> None:
    """The call that a child makes as it begins is made in the parent here, since a child has no loop of its own."""
    works = Works()
    async with Runtime(max_in_flight=1) as runtime:
        handles = [runtime.submit(works("the parent's"))]
        await until(lambda: works.begun == ["the parent's"])
        _forks.after_fork()
        handles.append(runtime.submit(works("another")))
        await until(lambda: works.begun == ["the parent's", "another"])
        works.open.set()
        await asyncio.gather(*handles)


@pytest.mark.parametrize("kind", ["python", "native"])
async def test_who_waits_when_the_drain_is_over_never_begins(kind: str) -> None:
    """It is refused, by the runtime: none of the effect's own policies is named."""
    works = Works()
    makes: dict[str, Callable[[], Effect[object]]] = {
        "python": lambda: works("second"),
        "native": lambda: _native.trial_sleep(LONG),
    }
    async with Runtime(max_in_flight=1, shutdown=Shutdown(deadline=1, drain=0.05)) as runtime:
        first = runtime.submit(works("first"))
        await until(lambda: works.begun == ["first"])
        second = runtime.submit(makes[kind]())
    assert first.cancelled()
    assert works.begun == ["first"]
    error = second.exception()
    assert isinstance(error, ShuttingDown)
    assert error.policy is None


async def test_a_waiter_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    works = Works()
    async with Runtime(max_in_flight=1) as runtime:
        first, second, third = (runtime.submit(works(n)) for n in range(3))
        await asyncio.sleep(SOON)
        second.cancel()
        works.open.set()
        assert await asyncio.gather(first, third) == [0, 2]
    assert works.begun == [0, 2]
    assert second.cancelled()


@pytest.mark.parametrize("limit", [None, 1])
async def test_what_is_cancelled_before_its_task_has_begun_was_not_forgotten(limit: int | None) -> None:
    """No warning that it was never awaited: the runtime had it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with Runtime(max_in_flight=limit) as runtime:
            handles = [runtime.submit(effect(forever)()) for _ in range(3)]
            for handle in handles:
                handle.cancel()
        assert all(handle.cancelled() for handle in handles)
        gc.collect()


@pytest.mark.parametrize("given", [0, -1, 1.5, "2"])
def test_a_number_that_cannot_work_is_named(given: int) -> None:
    with pytest.raises(ConfigError, match=r"max_in_flight"):
        Runtime(max_in_flight=given)
