"""A crawl of any graph: each page that can be reached is visited once, so many at a time, and the crawl ends."""

import asyncio
from dataclasses import dataclass

import uvloop
from hypothesis import event, given
from hypothesis import strategies as st

from mountain_runtime import Work, amap

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PAGES = st.integers(0, 12)


@dataclass(frozen=True)
class Page:
    links: tuple[int, ...]
    #: Its first links are added by the function, a turn before each; the others by the loop.
    by_function: int
    #: The turns before the function returns, and those in which the loop handles the result.
    takes: int
    handled_in: int


pages = st.builds(
    Page,
    links=st.lists(PAGES, max_size=5).map(tuple),
    by_function=st.integers(0, 5),
    takes=st.integers(0, 4),
    handled_in=st.integers(0, 4),
)
graphs = st.dictionaries(PAGES, pages, max_size=13)
NO_LINKS = Page((), 0, 1, 1)


def reached(graph: dict[int, Page], first: list[int]) -> set[int]:
    known, left = set(first), list(first)
    while left:
        new = set(graph.get(left.pop(), NO_LINKS).links) - known
        known |= new
        left += new
    return known


async def turns(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


@given(
    graph=graphs,
    first=st.lists(PAGES, max_size=3),
    limit=st.integers(1, 5),
    ordered=st.booleans(),
    cancel_after=st.none() | st.integers(0, 60),
    loop=st.sampled_from(sorted(LOOPS)),
)
def test_every_page_is_visited_once_and_it_ends(
    graph: dict[int, Page], first: list[int], limit: int, ordered: bool, cancel_after: int | None, loop: str
) -> None:
    begun: list[int] = []
    taken: list[int] = []
    now = most = 0
    work = Work(first)

    async def visit(number: int) -> Page:
        nonlocal now, most
        begun.append(number)
        now += 1
        most = max(most, now)
        page = graph.get(number, NO_LINKS)
        try:
            for link in page.links[: page.by_function]:
                await asyncio.sleep(0)
                work.add(link)
            await turns(page.takes)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            raise
        finally:
            now -= 1
        return page

    async def crawl() -> None:
        async with amap(visit, work, limit=limit, ordered=ordered) as results:
            async for number, page in results:
                taken.append(number)
                await turns(page.handled_in)
                for link in page.links[page.by_function :]:
                    work.add(link)
                assert work.done == len(taken)

    async def whole() -> bool:
        task = asyncio.create_task(crawl())
        if cancel_after is not None:
            await turns(cancel_after)
            task.cancel()
        await asyncio.wait([task], timeout=10)
        assert task.done()
        if not task.cancelled():
            task.result()
        return not task.cancelled()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        ended = runner.run(whole())
    assert (now, most <= limit) == (0, True)
    assert len(begun) == len(set(begun))
    if ended:
        event("ended")
        assert set(begun) == set(taken) == reached(graph, first)
        assert len(taken) == len(work) == work.done
    if ordered and ended:
        assert taken == begun
