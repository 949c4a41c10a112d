"""Lists of a source against a model: their items and their times; and that cancelled pulls lose nothing."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from mountain_runtime import chunked
from mountain_runtime.testing import _virtual

#: Sums of these meet only where they are the same sum, which the model does not decide.
GAPS = st.sampled_from([0.0, 0.5, 1.0, 2.0])
WITHIN = st.sampled_from([None, 0.31, 1.21, 2.73])
HOLDS = st.sampled_from([0.0071, 0.713, 1.137, 3.179])

Lists = list[tuple[float, list[int]]]


class Boom(Exception):
    """The source's error."""


async def source(gaps: list[float], error: bool) -> AsyncIterator[int]:
    *items, last = gaps
    for number, gap in enumerate(items):
        await asyncio.sleep(gap)
        yield number
    await asyncio.sleep(last)
    if error:
        raise Boom


def expected(gaps: list[float], size: int, within: float | None, holds: list[float]) -> tuple[Lists, float]:
    """The lists with the times at which they are taken, and the time of the end."""
    *before, last = gaps
    lists: Lists = []
    items: list[int] = []
    reader = goes_on = first = 0.0  # when the reader comes, the source goes on, the list had its first item

    def take(at: float) -> None:
        nonlocal items, reader
        lists.append((at, items))
        items, reader = [], at + holds[len(lists) % len(holds)]

    for number, gap in enumerate(before):
        comes = goes_on + gap
        if items and within is not None:
            due = max(reader, first + within)
            assume(abs(due - comes) > 1e-6)
            if due < comes:
                take(due)
        if not items:
            first = comes
        items.append(number)
        goes_on = comes
        if len(items) == size:
            at = max(reader, comes)
            if within is None:
                at = comes
            take(at)
            # By size alone the source goes on when the reader comes again.
            goes_on = at if within is not None else reader
    ends = goes_on + last
    if items and within is not None:
        due = max(reader, first + within)
        assume(abs(due - ends) > 1e-6)
        if due < ends:
            take(due)
    if items:
        take(max(reader, ends))
    return lists, max(reader, ends)


@given(
    gaps=st.lists(GAPS, min_size=1, max_size=10),
    size=st.integers(1, 4),
    within=WITHIN,
    holds=st.lists(HOLDS, min_size=1, max_size=3),
    error=st.booleans(),
)
def test_lists_come_when_the_model_says(
    gaps: list[float], size: int, within: float | None, holds: list[float], error: bool
) -> None:
    lists, end = expected(gaps, size, within, holds)
    seen: Lists = []

    async def read() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with chunked(source(gaps, error), size, within=within) as taken:
            try:
                async for some in taken:
                    seen.append((loop.time() - start, some))
                    await asyncio.sleep(holds[len(seen) % len(holds)])
            except Boom:
                assert error
            else:
                assert not error
        return loop.time() - start

    with _virtual(), asyncio.Runner() as runner:
        ended = runner.run(read())
    event(f"{min(len(seen), 4)} lists")
    assert [some for _, some in seen] == [some for _, some in lists]
    assert [at for at, _ in seen] == pytest.approx([at for at, _ in lists], abs=1e-5)
    assert ended == pytest.approx(end, abs=1e-5)


@given(
    gaps=st.lists(GAPS, min_size=1, max_size=10),
    size=st.integers(1, 4),
    within=st.sampled_from([0.0, 0.31, 1.21, 2.73, 1000.0]),
    patience=st.sampled_from([0.01, 0.2, 0.5, 1.3]),
    error=st.booleans(),
)
def test_pulls_that_are_cancelled_lose_nothing(
    gaps: list[float], size: int, within: float, patience: float, error: bool
) -> None:
    seen: list[list[int]] = []

    async def read() -> None:
        async with chunked(source(gaps, error), size, within=within) as lists:
            while True:
                try:
                    seen.append(await asyncio.wait_for(anext(lists), patience))
                except TimeoutError:
                    event("cancelled")
                except StopAsyncIteration:
                    assert not error
                    break
                except Boom:
                    assert error
                    break

    with _virtual(), asyncio.Runner() as runner:
        runner.run(read())
    assert [number for some in seen for number in some] == list(range(len(gaps) - 1))
    assert all(1 <= len(some) <= size for some in seen)
    assert all(a[-1] + 1 == b[0] for a, b in pairwise(seen))
