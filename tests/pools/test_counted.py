"""Figures of pools and of their workers' effects, as a scrape has them."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mountain_runtime import _native
from mountain_runtime.errors import QueueFull, TimedOut, WorkerLost

from . import counted_work as work

pytestmark = pytest.mark.processes


async def becomes(expected: float, figure: Callable[[], float]) -> None:
    """Waits until a figure has been told."""
    for _ in range(1000):
        if figure() == expected:
            return
        await asyncio.sleep(0.01)  # real: it comes from other threads and processes
    assert figure() == expected


def value(name: str, **labels: str) -> float:
    """One figure; what there is not is 0."""
    found = re.findall(rf"^{name}{{(.*)}} (\S+)$", _native.metrics_text(openmetrics=True), re.MULTILINE)
    wanted = {f'{key}="{text}"' for key, text in labels.items()}
    return sum(float(figure) for of, figure in found if wanted <= set(of.split(",")))


def of_pool(name: str, **labels: str) -> float:
    return value(f"mountain_pool_{name}", pool="counted", **labels)


def of_worker(name: str, effect: str, **labels: str) -> float:
    return value(f"mountain_worker_effect_{name}", pool="counted", effect=effect, **labels)


async def test_what_a_workers_effects_count_is_counted_here(tmp_path: Path) -> None:
    effect = "counted there"
    async with work.counted:
        await work.tries(str(tmp_path / "one"))
        with pytest.raises(ValueError, match="value"):
            await work.tries(str(tmp_path / "two"), "value")
        with pytest.raises(TimedOut):
            await work.late()
        # While the pool is open.
        await becomes(2, lambda: of_worker("started_total", effect))
        await becomes(1, lambda: of_worker("ended_total", "late there", outcome="timed_out"))
    assert of_worker("started_total", effect) == 2
    assert of_worker("ended_total", effect, outcome="succeeded") == 1
    assert of_worker("ended_total", effect, outcome="failed") == 1
    assert of_worker("retried_total", effect) == 1
    assert of_worker("seconds_count", effect) == 2
    assert 0.001 < of_worker("seconds_sum", effect) < 30
    assert value("mountain_effect_started_total", effect=effect) == 2


async def test_figures_go_on_when_workers_are_replaced() -> None:
    before = value("mountain_pool_restarted_total", pool="renewed")

    def started() -> float:
        return value("mountain_worker_effect_started_total", pool="renewed", effect="renewed there")

    async with work.renewed:
        pids = [await work.pid() for _ in range(7)]
    assert len(set(pids)) == 4
    assert started() == 7
    assert value("mountain_pool_restarted_total", pool="renewed") == before + 3
    assert value("mountain_pool_lost_total", pool="renewed") == 0
    async with work.renewed:
        await work.pid()
    assert started() == 8


async def test_a_pool_shows_its_workers_and_calls(tmp_path: Path) -> None:
    path = tmp_path / "go"
    async with work.counted:
        before = of_pool("calls_total", outcome="succeeded")
        async with work.holding(path, 3):
            await becomes(1, lambda: of_pool("running"))
            await becomes(2, lambda: of_pool("waiting"))
            assert of_pool("workers") == 1
        await becomes(0, lambda: of_pool("running"))
        await becomes(before + 3, lambda: of_pool("calls_total", outcome="succeeded"))
        assert of_pool("waiting") == 0
        # One call that a caller's thread hands to its worker shows, too.
        path.unlink()
        await asyncio.sleep(0.6)  # real: the pool is at rest
        async with work.holding(path, 1):
            await becomes(1, lambda: of_pool("running"))
    assert of_pool("workers") == 0


async def test_calls_are_counted_by_their_ends(tmp_path: Path) -> None:
    ends = ("succeeded", "failed", "cancelled", "lost", "refused")

    def all_ends() -> list[float]:
        return [of_pool("calls_total", outcome=each) for each in ends]

    path = tmp_path / "go"
    async with work.counted:
        before = all_ends()
        await work.tries(str(tmp_path / "one"))
        await becomes(before[0] + 1, lambda: all_ends()[0])
        before, lost = all_ends(), of_pool("lost_total")
        with pytest.raises(WorkerLost):
            await work.killed()
        with pytest.raises(TimedOut):
            await work.late()  # its own limit: it has failed
        async with work.holding(path, 4) as calls:
            await becomes(3, lambda: of_pool("waiting"))
            with pytest.raises(QueueFull):
                await work.held(str(path))
            calls.pop().cancel()
            await becomes(2, lambda: of_pool("waiting"))
    now = all_ends()
    assert [after - then for after, then in zip(now, before, strict=True)] == [3, 1, 1, 1, 1]
    assert of_pool("lost_total") == lost + 1


FORKS = """
import asyncio, os, re, warnings
from mountain_runtime import On, _native, blocking, pools

warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns
pool = pools.Processes(1, name="forked")

@blocking(On(pool))
def one() -> int:
    return 1

def workers():
    text = _native.metrics_text(openmetrics=True)
    return re.search(r'^mountain_pool_workers{pool="forked"} (\\d+)$', text, re.MULTILINE)[1]

async def main():
    async with pool:
        await one()
        while workers() != "1":
            await asyncio.sleep(0.01)
        if (child := os.fork()) == 0:
            os.write(1, f"child {workers()}\\n".encode())
            os._exit(0)
        os.waitpid(child, 0)
        print("parent", workers())

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_forked_child_has_no_workers(tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(FORKS)
    ran = subprocess.run(
        [sys.executable, "forks.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("child 0\nparent 1\n", "")
