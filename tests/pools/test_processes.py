"""Work on worker processes: what runs where, how it ends, and what becomes of the worker."""

import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from mountain_runtime import Priority, Runtime, Timeout, deadline, gather, pools, priority
from mountain_runtime.errors import ConfigError, NoWorkers, QueueFull, ShuttingDown, TimedOut, WorkerLost

from . import work

pytestmark = pytest.mark.processes


async def test_a_function_runs_on_a_worker() -> None:
    assert await work.add(1, b=2) == 3
    assert await work.echo(os.getpid()) == os.getpid()
    assert (await work.counted())[0] != os.getpid()


async def test_values_of_the_programs_own_classes_come_back_as_themselves() -> None:
    assert await work.parse("a", "b c") == work.Doc("a", 2)


async def test_a_worker_keeps_its_services() -> None:
    first, second = await work.counted(), await work.counted()
    assert first[0] == second[0]
    assert second[1] == first[1] + 1


async def test_what_stands_inside_on_runs_at_the_worker(tmp_path: Path) -> None:
    path = tmp_path / "tries"
    assert await work.tries_again(str(path)) != os.getpid()
    assert path.read_text() == "xxx"


async def test_a_coroutine_is_cancelled_and_its_cleanup_awaited(tmp_path: Path) -> None:
    path = tmp_path / "cleaned"
    await work.waits(0)  # the worker is there
    with pytest.raises(TimedOut):
        await work.waits(30, str(path)).under(Timeout(0.5))
    assert path.read_text() == "cleaned"


async def test_the_cleanup_of_a_coroutine_has_its_time(tmp_path: Path) -> None:
    path = tmp_path / "cleaned"
    before = await work.waits(0)
    with pytest.raises(TimedOut):
        await work.waits_stubbornly(str(path)).under(Timeout(0.5))
    assert path.read_text() == "cleaned"
    assert await work.waits(0) == before


async def test_a_function_is_stopped_where_it_stands_and_its_worker_lives(tmp_path: Path) -> None:
    path = tmp_path / "cleaned"
    before = await work.waits(0)
    with pytest.raises(TimedOut):
        await work.spins()
    with pytest.raises(TimedOut):
        await work.spins_and_cleans(str(path))
    assert path.read_text() == "cleaned"
    assert await work.waits(0) == before


async def test_a_function_that_does_not_stop_is_ended_with_its_worker() -> None:
    """W5."""
    before, lost = await work.waits(0), work.one.statistics().lost
    began = time.monotonic()
    with pytest.raises(TimedOut):
        await work.swallows()
    assert time.monotonic() - began < 5
    assert await work.waits(0) != before
    assert work.one.statistics().lost == lost + 1


async def test_a_limit_at_the_worker_ends_a_function_too() -> None:
    before = await work.waits(0)
    with pytest.raises((TimedOut, WorkerLost)):
        await work.hangs_inside()
    assert await work.waits(0) != before


@pytest.mark.parametrize(
    ("how", "text"),
    [("exit", "exited with 3"), ("sys.exit", "that was all"), ("SIGKILL", "SIGKILL"), ("SIGSEGV", "SIGSEGV")],
)
async def test_a_worker_that_ends_is_lost_and_replaced(how: str, text: str) -> None:
    """W1."""
    with pytest.raises(WorkerLost, match=text) as caught:
        await work.ends_itself(how)
    assert caught.value.may_have_run
    assert caught.value.effect == "ends_itself"
    assert await work.add(1) == 2


async def test_only_a_retry_runs_it_again(tmp_path: Path) -> None:
    """D2."""
    assert await work.ends_once(str(tmp_path / "ran")) == 2


async def test_calls_that_a_lost_worker_had_not_begun_go_to_another(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    for n in range(300):  # known to be short, so that a worker is given many at once
        await work.marks(str(path), str(n))
    path.unlink()
    calls = [asyncio.ensure_future(work.marks(str(path), str(n), 0.01 if n < 2 else 0.0)) for n in range(60)]
    await asyncio.sleep(0.005)  # real: so that workers have begun
    for member in list(work.two._engine.members if work.two._engine else []):
        os.kill(member.pid, 9)
    ended = await asyncio.gather(*calls, return_exceptions=True)
    ran = path.read_text().split()
    assert len(ran) == len(set(ran))
    assert all(isinstance(end, (str, WorkerLost)) for end in ended)
    assert sum(isinstance(end, WorkerLost) for end in ended) <= 2


async def test_so_many_run_on_a_worker_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "at work")
    assert await gather([work.at_once(path) for _ in range(5)]) == [5] * 5


async def test_the_most_urgent_call_is_next(tmp_path: Path) -> None:
    path, gate, late = tmp_path / "marks", tmp_path / "gate", tmp_path / "late"

    def call(what: str, gate: Path) -> "asyncio.Future[None]":
        return asyncio.ensure_future(work.marks_and_holds(str(path), what, str(gate)))

    calls = [call("first", gate) for _ in range(2)]
    while not path.exists() or len(path.read_text().split()) < 2:
        await asyncio.sleep(0.01)  # real: until both workers have one
    calls += [call("normal", late) for _ in range(4)]
    await asyncio.sleep(0)
    with priority(Priority.HIGH):
        calls.append(call("high", late))
    await asyncio.sleep(0.05)  # real: so that all of them wait
    gate.touch()
    while len(path.read_text().split()) < 4:
        await asyncio.sleep(0.01)  # real: until both workers have another
    late.touch()
    await asyncio.gather(*calls)
    assert "high" in path.read_text().split()[2:4]


async def test_a_workers_effect_knows_its_callers_limit_and_priority() -> None:
    left, _ = await work.sees_limit()
    assert left == -1.0
    async with deadline(5):
        with priority(Priority.HIGH):
            left, level = await work.sees_limit()
    assert 0 < left < 5.2
    assert level == Priority.HIGH


async def test_a_full_queue_refuses() -> None:
    pool = work.small
    async with pool:
        calls = [asyncio.ensure_future(work.sleeps_small(0.2)) for _ in range(3)]
        await asyncio.sleep(0.05)  # real: so that the worker has one, and two wait
        with pytest.raises(QueueFull, match="2 calls wait for pool 'small'"):
            await work.sleeps_small(0)
        assert pool.statistics() == pools.PoolStatistics(workers=1, running=1, waiting=2, lost=0)
        await asyncio.gather(*calls)


async def test_a_runtime_closes_the_pool_that_it_started() -> None:
    async with Runtime() as rt:
        pid = await work.pid_of_ordered()
        os.kill(pid, 0)
    assert rt.report is not None
    steps = [step.name for step in rt.report.steps]
    assert steps.index("threads") < steps.index("pool ordered") < steps.index("sweep")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    async with work.ordered:  # it can be started again
        assert await work.pid_of_ordered() != pid


async def test_a_service_that_hangs_in_a_worker_is_in_the_report() -> None:
    from mountain_runtime import Shutdown

    async with Runtime(shutdown=Shutdown(deadline=1.0)) as rt:
        assert await work.on_hanging() == 1
    step = next(step for step in rt.report.steps if step.name == "pool hanging") if rt.report else None
    assert step is not None
    assert step.outcome == "abandoned"
    assert "worker" in str(step.error)


async def test_calls_after_a_close_begin_anew_and_those_under_way_end() -> None:
    pool = work.closing
    async with pool:
        call = asyncio.ensure_future(work.waits_closing(30))
        waiting = asyncio.ensure_future(work.waits_closing(0))
        await asyncio.sleep(0.1)  # real: so that it is at work
    with pytest.raises(WorkerLost, match="its pool was closed"):
        await call
    with pytest.raises(ShuttingDown):
        await waiting


async def test_a_runtime_that_does_not_start_is_an_error_of_the_call() -> None:
    with pytest.raises(NoWorkers, match="no licence"):
        await work.on_failing()
    with pytest.raises(NoWorkers, match="no licence"):
        async with work.failing:
            pass


async def test_a_worker_is_replaced_after_its_number_of_calls() -> None:
    async with work.short_lived:
        pids = [await work.pid_of_short_lived() for _ in range(6)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]
    assert work.short_lived.statistics().lost == 0


async def test_a_worker_that_takes_too_much_memory_is_replaced() -> None:
    async with work.lean:
        first = await work.takes_memory(1)
        assert await work.takes_memory(400 << 20) == first
        for _ in range(200):
            if await work.takes_memory(1) != first:
                break
            await asyncio.sleep(0.02)  # real: the memory is looked at now and then
        else:
            pytest.fail("the worker was not replaced")


class _Exits(logging.Handler):
    """A handler of the program that exits, in whatever thread a record comes."""

    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit(record.getMessage())


async def test_an_exit_within_the_pools_thread_costs_no_call() -> None:
    exits = _Exits()
    await work.add(1)
    work.log.addHandler(exits)
    try:
        async with asyncio.timeout(20):
            waiting = asyncio.ensure_future(work.waits(0.1))
            await work.logs("exit")
            assert await waiting > 0
            assert await work.add(1) == 2
    finally:
        work.log.removeHandler(exits)


async def test_records_of_a_workers_log_are_the_programs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await work.logs("hello")
        for _ in range(100):
            if caplog.records:
                break
            await asyncio.sleep(0.01)  # real: it comes from another process
    assert [record.getMessage() for record in caplog.records] == ["hello from a worker"]
    assert caplog.records[0].process != os.getpid()


async def test_what_a_worker_prints_goes_where_the_program_prints(capfd: pytest.CaptureFixture[str]) -> None:
    async with work.printing:
        await work.prints("hello")
    out, err = capfd.readouterr()
    assert (out.strip(), err.strip()) == ("hello", "hello")


def test_on_stands_in_a_decorator_once() -> None:
    from mountain_runtime import On, blocking, stream

    with pytest.raises(ConfigError, match="twice"):
        blocking(On(work.one), Timeout(1), On(work.two))(len)
    with pytest.raises(ConfigError, match="must be a pool"):
        On(3)  # type: ignore[arg-type]
    made = work.add(1)
    with pytest.raises(ConfigError, match="where a function runs"):
        made.under(On(work.one))
    made.close()

    async def items():  # type: ignore[no-untyped-def]
        yield 1

    with pytest.raises(ConfigError, match="where a function runs"):
        stream(On(work.one))(items)
