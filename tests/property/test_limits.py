"""Places of a limit are neither lost nor doubled, whatever becomes of who holds or awaits one, on whichever loop."""

import asyncio
import random
from typing import Literal

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from mountain_runtime import ConcurrencyLimit, Priority

from .limit_storm import KINDS, MOMENTS, Caller, Storm, random_storm

# Children that are cancelled before their first step say that they were never awaited.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

moments = st.sampled_from(MOMENTS)
callers = st.builds(
    Caller,
    kind=st.sampled_from(KINDS),
    ticks=st.integers(0, 4),
    priority=st.sampled_from(Priority),
    before=st.none() | moments,
    within=st.none() | moments,
    cancel_after=st.none() | st.integers(0, 8) | moments,
    key=st.integers(0, 2),
)


@pytest.mark.parametrize("loop", LOOPS)
@given(
    n=st.integers(1, 3),
    max_waiting=st.sampled_from([0, 1, 3, None]),
    overflow=st.sampled_from(["reject", "shed"]),
    keyed=st.booleans(),
    loops=st.lists(st.lists(callers, min_size=1, max_size=8), min_size=1, max_size=3),
)
def test_places_are_conserved(
    loop: str,
    n: int,
    max_waiting: int | None,
    overflow: Literal["reject", "shed"],
    keyed: bool,
    loops: list[list[Caller]],
) -> None:
    """Under cancels and limits of time, on several loops in threads: never more than `n` inside, none in the end."""
    key = (lambda key: key) if keyed else None
    limit = ConcurrencyLimit(n, key=key, max_waiting=max_waiting, overflow=overflow)
    Storm(limit, n, keyed).everywhere(LOOPS[loop], [(each, False) for each in loops])


@pytest.mark.parametrize("loop", LOOPS)
def test_so_they_are_when_loops_are_closed_in_the_middle_of_it(loop: str) -> None:
    """Waiters there are passed over at once; a call at work there gives its place back when it is collected."""
    dice = random.Random(1)
    for _ in range(30):
        random_storm(dice, LOOPS[loop], loops=3, callers=8, leave=True)
