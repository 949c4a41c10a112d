"""Programs of their own, as often as the cases from the field ask for."""

from signal import SIGTERM

import pytest

from tests.lifecycle import exits, forks
from tests.lifecycle.support import Program
from tests.lifecycle.test_signals import IDLE

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("name", exits.PROGRAMS)
def test_exits_without_a_shutdown(name: str) -> None:
    """B5, and exits with threads asleep, 200 times."""
    exits.check(name, times=200)


def test_forks() -> None:
    """B4."""
    forks.check(times=100)


@pytest.mark.parametrize("batch", range(10))
def test_signals_on_an_idle_runtime(batch: int) -> None:
    """The first signal always drains: 200 times."""
    for _ in range(20):
        ended = Program(IDLE).wait_for("ready").signal(SIGTERM).end()
        assert ended.quietly().lines == ["drained"]
