"""The progress of work that grows, in metrics and on the live page."""

import asyncio
import gc

import httpx
import pytest

from mountain_runtime import Runtime, Work, amap, effect, errors

from .looks import HERE, looking
from .scrapes import named, shown, value


def progress(name: str) -> tuple[float, float]:
    """Those that are done, and those that are left."""
    return value("mountain_work_done_total", work=name), value("mountain_work_left", work=name)


async def test_a_name_has_what_is_done_and_what_is_left_while_it_grows() -> None:
    name = named("crawl")
    work = Work([1, 2, 2], name=name)
    assert progress(name) == (0, 2)

    @effect(name=name)
    async def same(n: int) -> int:
        await asyncio.sleep(0)
        return n

    seen = []
    async with amap(same, work, limit=1) as results:
        async for n, _ in results:
            if n < 5:
                work.add(n + 1)
            seen.append((work.done, len(work)))
            assert progress(name) == (work.done, len(work) - work.done)
    assert seen[-1] == (5, 5)
    assert progress(name) == (5, 0)
    del work, results
    gc.collect()
    assert shown("work", name, newer=True) == []


async def test_what_failed_or_was_left_is_left() -> None:
    name = named("crawl")

    @effect(name=name)
    async def fails(n: int) -> int:
        if n == 2:
            raise KeyError(n)
        return n

    work = Work([1, 2, 3], name=name)
    with pytest.raises(KeyError):
        async with amap(fails, work, limit=1, ordered=True) as results:
            async for _ in results:
                pass
    assert progress(name) == (1, 2)
    assert len(work) - work.done == 2


async def test_two_of_one_name_are_two_and_without_a_name_there_is_none() -> None:
    name = named("crawl")
    works = [Work(range(n), name=name) for n in (1, 2)]
    unnamed = Work(range(3))
    assert (progress(name), progress(f"{name}#2")) == ((0, 1), (0, 2))
    assert [len(each) for each in [*works, unnamed]] == [1, 2, 3]
    assert shown("work", "", newer=False) == []


@pytest.mark.parametrize("bad", ["", 5])
def test_what_is_no_name_is_refused(bad: str) -> None:
    with pytest.raises(errors.ConfigError, match="name="):
        Work(name=bad)


async def test_the_live_page_has_it(client: httpx.AsyncClient) -> None:
    name = named("crawl")
    work = Work([1, 2, 3], name=name)

    @effect(name=name)
    async def same(n: int) -> int:
        return n

    async with Runtime(dashboard=HERE) as rt, looking(client, rt) as look:
        await look.until(lambda state: state["work"].get(name) == {"done": 0, "left": 3})
        async with amap(same, work, limit=1) as results:
            async for _ in results:
                break
        await look.until(lambda state: state["work"].get(name) == {"done": 1, "left": 2})
