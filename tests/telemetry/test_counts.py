"""The counted runs of an effect: each once, in whatever way it runs, and nothing that only passes its value on."""

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mountain_runtime import (
    ConcurrencyLimit,
    Effect,
    Retry,
    Runtime,
    Shutdown,
    Timeout,
    _native,
    constant,
    effect,
    errors,
    fs,
    gather,
    process,
    race,
)
from mountain_runtime._runtime.statistics import snapshot

from .tracing import traces


class Boom(Exception):
    """A failure of ours."""


def counted(name: str) -> tuple[int, int, int, int]:
    """Runs that were started, and that succeeded, failed, were cancelled."""
    found = snapshot().effects.get(name)
    return (0, 0, 0, 0) if found is None else (found.started, found.succeeded, found.failed, found.cancelled)


def failures(name: str) -> dict[str, int]:
    """Failed runs by the error's type, as a scrape has it."""
    pattern = rf'^mountain_effect_failed_total{{effect="{re.escape(name)}",error="([^"]+)"}} (\d+)'
    return {kind: int(n) for kind, n in re.findall(pattern, _native.metrics_text(openmetrics=False), re.MULTILINE)}


class Gained:
    """The counts of one effect from now on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._counts = counted(name)
        self._failures = failures(name)

    def counts(self) -> tuple[int, ...]:
        return tuple(now - then for now, then in zip(counted(self._name), self._counts, strict=True))

    def failures(self) -> dict[str, int]:
        gained = {kind: n - self._failures.get(kind, 0) for kind, n in failures(self._name).items()}
        return {kind: n for kind, n in gained.items() if n}


def named() -> str:
    return f"counts {uuid4().hex[:8]}"


COMPOSED: dict[str, Any] = {
    "map": lambda work: work.map(str),
    "attempt": lambda work: work.attempt(OSError),
    "then": lambda work: work.then(lambda _: _native.trial_noop(1)),
    "all": lambda work: work.map(str).map(len).attempt(OSError),
}


@pytest.mark.parametrize("how", COMPOSED)
@pytest.mark.parametrize("native", [True, False])
async def test_what_passes_a_value_on_is_no_run_of_its_own(how: str, native: bool, tmp_path: Path) -> None:
    name = "fs.stat" if native else named()

    @effect(name=name)
    async def work() -> int:
        return 1

    gained = Gained(name)
    made: Effect[Any] = fs.stat(tmp_path) if native else work()
    await COMPOSED[how](made)
    assert gained.counts() == (1, 1, 0, 0)


async def test_a_failure_that_is_caught_is_a_failure_of_what_failed(tmp_path: Path) -> None:
    gained = Gained("fs.stat")
    await fs.stat(tmp_path / "none").attempt(FileNotFoundError)
    assert gained.counts() == (1, 0, 1, 0)
    assert gained.failures() == {"FileNotFoundError": 1}


async def test_policies_around_make_a_call_of_it_with_an_end_of_its_own() -> None:
    name = named()

    @effect(name=name)
    async def work() -> int:
        await asyncio.sleep(30)
        return 1

    before = snapshot().effects[name].timed_out
    with pytest.raises(errors.TimedOut):
        await work().map(str).under(Timeout(0.01))
    assert snapshot().effects[name].timed_out == before + 1


async def test_what_passes_a_value_on_has_no_span_of_its_own() -> None:
    name = named()

    @effect(name=name)
    async def work() -> int:
        return 1

    with traces() as spans:
        await work().map(str).attempt(OSError)
        assert spans.names() == [name]


async def test_one_that_a_shutdown_refuses_is_counted_though_it_only_passes_on() -> None:
    name = named()

    @effect(name=name)
    async def work() -> int:
        return 1

    async def comes_late() -> None:
        await rt.wait_stopping()
        await asyncio.sleep(0.02)  # real: the shutdown is under way by then
        for late in (work(), work().map(str)):
            with pytest.raises(errors.ShuttingDown):
                await late

    rt = Runtime(shutdown=Shutdown(drain=5))
    async with rt:
        late = asyncio.ensure_future(comes_late())
        rt.submit(effect(name=named())(asyncio.sleep)(0.1))
        await asyncio.sleep(0)
    await late
    assert snapshot().effects[name].rejected == 2
    assert counted(name) == (0, 0, 0, 0)


# -- groups ----------------------------------------------------------------------------------------------------


async def test_parts_of_a_native_group_are_counted_as_they_are_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    alone, whole = Gained("fs.stat"), Gained("gather")
    await gather(*(fs.stat(tmp_path / "file") for _ in range(3)))
    assert alone.counts() == (3, 3, 0, 0)
    assert whole.counts() == (1, 1, 0, 0)


async def test_a_part_that_fails_and_those_that_it_ends(tmp_path: Path) -> None:
    fails, slept = Gained("fs.stat"), Gained("sleep")
    with pytest.raises(FileNotFoundError):
        await gather(fs.stat(tmp_path / "none"), _native.trial_sleep(30), _native.trial_sleep(30))
    assert fails.counts() == (1, 0, 1, 0)
    assert fails.failures() == {"FileNotFoundError": 1}
    started, succeeded, failed, cancelled = slept.counts()
    assert (succeeded, failed) == (0, 0)
    assert started == cancelled <= 2  # one that had not begun does not count


async def test_the_losers_of_a_race_are_cancelled() -> None:
    gained = Gained("sleep")
    await race(_native.trial_sleep(0.05), _native.trial_sleep(30))  # long enough that both have begun
    assert gained.counts() == (2, 1, 0, 1)


async def test_policies_of_a_part_and_what_they_decide(tmp_path: Path) -> None:
    gained = Gained("fs.stat")
    before = snapshot().effects["fs.stat"]
    retry = Retry(on=OSError, attempts=3, backoff=constant(0))
    with pytest.raises(FileNotFoundError):
        await gather(fs.stat(tmp_path / "none").under(retry), fs.stat(tmp_path))
    assert gained.failures() == {"FileNotFoundError": 1}
    assert snapshot().effects["fs.stat"].retried == before.retried + 2


async def test_a_part_that_is_out_of_time_or_refused() -> None:
    before = snapshot().effects["sleep"]
    with pytest.raises(errors.TimedOut):
        await gather(_native.trial_sleep(30).under(Timeout(0.01)), _native.trial_noop(1))
    after = snapshot().effects["sleep"]
    assert after.timed_out == before.timed_out + 1
    limit = ConcurrencyLimit(1, max_waiting=0)
    with pytest.raises(errors.QueueFull):
        await gather(_native.trial_sleep(30).under(limit), _native.trial_sleep(30).under(limit))
    assert snapshot().effects["sleep"].rejected == after.rejected + 1


async def test_groups_in_groups() -> None:
    gained, groups = Gained("noop"), Gained("gather")
    await gather(
        gather(_native.trial_noop(1), _native.trial_noop(2)),
        gather(_native.trial_noop(3), _native.trial_noop(4)),
    )
    assert gained.counts() == (4, 4, 0, 0)
    assert groups.counts() == (3, 3, 0, 0)


@pytest.mark.parametrize("kind", ["FileNotFoundError", "NotADirectoryError", "IsADirectoryError", "FileExistsError"])
async def test_a_part_s_error_has_the_type_that_python_raises(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    make: dict[str, Any] = {
        "FileNotFoundError": lambda: fs.read_bytes(tmp_path / "none"),
        "NotADirectoryError": lambda: fs.read_bytes(tmp_path / "file" / "below"),
        "IsADirectoryError": lambda: fs.read_bytes(tmp_path),
        "FileExistsError": lambda: fs.mkdir(tmp_path / "file"),
    }
    names = {name: Gained(name) for name in ("fs.read_bytes", "fs.mkdir")}
    for work in (make[kind](), gather(make[kind](), _native.trial_noop(1))):
        with pytest.raises(OSError) as caught:
            await work
        assert type(caught.value).__name__ == kind
    assert [gained.failures() for gained in names.values() if gained.failures()] == [{kind: 2}]


async def test_a_program_that_fails_in_a_group() -> None:
    gained = Gained("process.run")
    for work in (process.run("false"), gather(process.run("false"), _native.trial_noop(1))):
        with pytest.raises(Exception, match="non-zero exit status"):
            await work
    assert gained.failures() == {"subprocess.CalledProcessError": 2}


async def test_in_a_trace_each_part_of_a_native_group_has_a_span() -> None:
    with traces() as spans:
        assert await gather(_native.trial_noop(1), _native.trial_noop(2)) == (1, 2)
        assert sorted(spans.names()) == ["gather", "noop", "noop"]
        assert {spans.parent_of(span) for span in spans.named("noop")} == {"gather"}


async def test_parts_of_groups_on_all_workers_are_all_counted() -> None:
    gained = Gained("noop")
    for _ in range(20):
        await gather([_native.trial_noop(n) for n in range(1000)])
    assert gained.counts() == (20_000, 20_000, 0, 0)
