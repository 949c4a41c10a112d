"""Callers come and go, on whatever loop: a key has one run at a time, and all who wait for it get its value."""

import asyncio
import gc
import warnings

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from .flight_storm import Caller, Loop, Storm

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def loops(leaves: list[str], ends: list[str]) -> st.SearchStrategy[list[Loop]]:
    few = st.integers(0, 4)
    caller = st.builds(Caller, key=st.integers(0, 2), after=few, leaves=st.sampled_from(leaves), when=few)
    one = st.builds(Loop, callers=st.lists(caller, min_size=1, max_size=5), ends=st.sampled_from(ends))
    return st.lists(one, min_size=1, max_size=3)


#: Each example runs whole loops on threads, and a full collection.
FEWER = settings(max_examples=max(settings.default.max_examples // 3, 1))  # type: ignore[union-attr]


def play(storm: Storm) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a loop that is dropped leaves unawaited
        storm.play()
        gc.collect()
    assert storm.wrong == []


@pytest.mark.parametrize("loop", LOOPS)
@FEWER
@given(plan=loops(["stays", "cancelled", "timed out"], ["runs out"]))
def test_callers_come_and_go(loop: str, plan: list[Loop]) -> None:
    storm = Storm(plan, anchored=True, new_loop=LOOPS[loop])
    play(storm)
    assert set(storm.runs.values()) == {1}
    assert storm.begun == storm.ended


@pytest.mark.parametrize("loop", LOOPS)
@FEWER
@given(plan=loops(["stays", "cancelled", "timed out"], ["runs out"]))
def test_all_may_go(loop: str, plan: list[Loop]) -> None:
    """Then a run may be given up while another begins; no caller hangs, and none gets another's end."""
    play(Storm(plan, new_loop=LOOPS[loop]))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("loop", LOOPS)
@FEWER
@given(plan=loops(["stays"], ["runs out", "cancels", "drops"]))
def test_loops_are_closed(loop: str, plan: list[Loop]) -> None:
    """A run whose loop is closed is taken over by one who waits on another."""
    play(Storm(plan, new_loop=LOOPS[loop]))
