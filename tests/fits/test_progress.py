"""Progress as tqdm and rich show it: the number of items where it is known, and what grows as far as it has grown."""

import asyncio
import io

from rich.console import Console
from rich.progress import Progress
from tqdm.asyncio import tqdm

from mountain_runtime import Work, amap

LINKS = {0: [1, 2, 3], 1: [0, 4], 3: [5, 6, 7], 5: [8]}


async def visit(page: int) -> list[int]:
    await asyncio.sleep(0)
    return LINKS.get(page, [])


async def test_tqdm_asks_the_results_how_many_items_there_are() -> None:
    shown = io.StringIO()
    async with amap(visit, [1, 2, 4], limit=2) as results:
        bar = tqdm(results, file=shown, mininterval=0, ascii=True)
        assert sorted([page async for page, _ in bar]) == [1, 2, 4]
    assert (bar.n, bar.total) == (3, 3)
    assert all(part in shown.getvalue() for part in ("| 0/3 ", "| 1/3 ", "| 2/3 ", "| 3/3 "))


async def test_tqdm_of_items_that_nothing_counted() -> None:
    shown = io.StringIO()
    async with amap(visit, iter([1, 2, 4]), limit=2) as results:
        bar = tqdm(results, file=shown, mininterval=0)
        assert sorted([page async for page, _ in bar]) == [1, 2, 4]
    assert (bar.n, bar.total) == (3, None)


async def test_tqdm_of_work_that_grows() -> None:
    """It reads a total once: a line sets it anew, and without that line it shows none from the second item on."""
    for told in (False, True):
        shown = io.StringIO()
        work = Work([0])
        async with amap(visit, work, limit=2) as results:
            async for _, links in (bar := tqdm(results, file=shown, mininterval=0, ascii=True)):
                for link in links:
                    work.add(link)
                if told:
                    bar.total = len(work)
        assert (bar.n, bar.total) == (9, 9 if told else 1)
        assert ("| 2/4 " in shown.getvalue()) is told
        assert ("| 9/9 " in shown.getvalue()) is told
        assert ("9it [" in shown.getvalue()) is not told


async def test_rich_of_work_that_grows() -> None:
    shown: list[tuple[float, float | None]] = []
    work = Work([0])
    with Progress(console=Console(file=io.StringIO()), auto_refresh=False) as progress:
        bar = progress.add_task("crawl")
        async with amap(visit, work, limit=2, ordered=True) as results:
            async for _, links in results:
                for link in links:
                    work.add(link)
                progress.update(bar, completed=work.done, total=len(work))
                shown.append((progress.tasks[0].completed, progress.tasks[0].total))
        assert progress.finished
    assert shown == [(1, 4), (2, 5), (3, 5), (4, 8), (5, 8), (6, 9), (7, 9), (8, 9), (9, 9)]
