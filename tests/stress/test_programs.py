"""Programs that are started, given up and killed, as often as the cases from the field ask for."""

import asyncio
from pathlib import Path

import pytest
import uvloop

from tests.providers.process import cancelled, parents

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("at_a_time", [1, 16, 100])
def test_spawns_that_are_cancelled_leave_nothing(loop, at_a_time: int) -> None:  # type: ignore[no-untyped-def]
    """P1: 2000 of them."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(cancelled.check(2000, at_a_time))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_terminals_that_are_cancelled_leave_nothing(loop) -> None:  # type: ignore[no-untyped-def]
    """As many with terminals: 1000 of them."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(cancelled.check_terminals(1000))


@pytest.mark.parametrize("batch", range(10))
def test_parents_that_are_killed_leave_nothing(tmp_path: Path, batch: int) -> None:
    """P3, at random moments: 500 times."""
    parents.check(tmp_path, 50, seed=batch)
