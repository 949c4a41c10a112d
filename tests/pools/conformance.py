"""The suite of all pools: what a call is promised on any of them. A new kind of pool is a class with its functions."""

import asyncio
import logging
import os
import pickle
import random
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mountain_runtime import Priority, Timeout, deadline, gather, priority
from mountain_runtime.errors import NoWorkers, QueueFull, RemoteError, ShuttingDown, TimedOut, WorkerLost

from .conforming import Buffers, Pools


async def until(path: Path, text: str = "") -> None:
    """Waits until another process has written that."""
    for _ in range(6000):
        if path.exists() and text in path.read_text():
            return
        await asyncio.sleep(0.005)  # real: a worker writes
    raise AssertionError(f"{path} never said {text!r}")


class Conformance:
    """The promises of every pool."""

    kinds: ClassVar[Pools]
    on: ClassVar[dict[str, Any]]

    async def test_a_call_gives_its_value(self) -> None:
        assert await self.on["add"](1, b=2) == 3

    async def test_many_calls_give_each_its_own(self) -> None:
        assert await gather([self.on["add_on_pair"](n, 1) for n in range(200)]) == list(range(1, 201))

    async def test_large_bytes_there_and_back(self) -> None:
        data = os.urandom(3 << 20)
        assert await self.on["echo"](data) == data
        assert await self.on["echo"]([data[:100_000], "a", data]) == [data[:100_000], "a", data]

    async def test_memory_of_arrays(self) -> None:
        array = bytearray(range(10)) + bytearray(1 << 20)
        total, readonly = await self.on["sums"](Buffers(array))
        assert total == 45
        assert readonly is not self.kinds.one.capabilities.writable
        back = await self.on["echo"](Buffers(array))
        assert memoryview(back.data) == array

    async def test_errors_come_back_as_themselves(self) -> None:
        with pytest.raises(KeyError) as caught:
            await self.on["raises"]("key")
        assert "raise {" in str(caught.value.__cause__)
        with pytest.raises(RemoteError, match="3: odd") as odd:
            await self.on["raises"]("odd")
        assert odd.value.type.endswith("Odd")

    async def test_what_cannot_be_pickled_is_named(self) -> None:
        with pytest.raises(pickle.PicklingError, match="argument 'value'"):
            await self.on["echo"](threading.Lock())
        with pytest.raises(pickle.PicklingError, match="the result of gives_lock"):
            await self.on["gives_lock"]()

    async def test_a_worker_keeps_its_services(self) -> None:
        first = await self.on["counted"]()
        assert await self.on["counted"]() == first + 1

    async def test_what_stands_inside_runs_at_the_worker(self, tmp_path: Path) -> None:
        assert await self.on["tries"](str(tmp_path / "tries")) == 3

    async def test_a_limit_and_a_priority_go_along(self) -> None:
        async with deadline(20):
            with priority(Priority.HIGH):
                left, urgent = await self.on["sees_limit"]()
        assert 0 < left <= 20.2
        assert urgent == int(Priority.HIGH)

    async def test_they_do_not_go_along_with_the_next_call(self) -> None:
        async def urgent() -> None:
            async with deadline(20):
                with priority(Priority.HIGH):
                    await self.on["sees_limit"]()

        await self.on["add"](1)
        first = asyncio.ensure_future(urgent())
        await asyncio.sleep(0)
        others = await gather([self.on["sees_limit"]() for _ in range(2)])
        await first
        assert others == [(-1.0, int(Priority.NORMAL))] * 2

    async def test_the_cleanup_of_a_coroutine_is_awaited(self, tmp_path: Path) -> None:
        path = tmp_path / "mark"
        call = asyncio.ensure_future(self.on["waits"](str(path)))
        await until(path)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert path.read_text() == "cleaned"

    async def test_a_function_is_stopped_where_it_stands(self, tmp_path: Path) -> None:
        path = tmp_path / "mark"
        call = asyncio.ensure_future(self.on["spins"](str(path)))
        await until(path)
        before = self.kinds.one.statistics().lost
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert path.read_text() == "cleaned"
        assert self.kinds.one.statistics().lost == before

    async def test_the_most_urgent_call_is_next(self, tmp_path: Path) -> None:
        gate, mark = tmp_path / "gate", tmp_path / "mark"
        calls = [asyncio.ensure_future(self.on["holds"](str(gate), str(mark), "0"))]
        await until(mark)
        for urgency, what in ((Priority.LOW, "l"), (Priority.HIGH, "h")):
            with priority(urgency):
                calls.append(asyncio.ensure_future(self.on["holds"](str(gate), str(mark), what)))
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # real: both have come to the pool's thread
        gate.touch()
        await asyncio.gather(*calls)
        assert mark.read_text() == "0hl"

    async def test_a_full_queue_refuses(self, tmp_path: Path) -> None:
        gate, mark = tmp_path / "gate", tmp_path / "mark"
        first = asyncio.ensure_future(self.on["holds"](str(gate), str(mark), "0"))
        await until(mark)
        waiting = [asyncio.ensure_future(self.on["add"](n)) for n in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await self.on["add"](9)
        gate.touch()
        assert await asyncio.gather(first, *waiting) == [None, 1, 2, 3]

    async def test_a_call_that_is_cancelled_while_it_waits_never_runs(self, tmp_path: Path) -> None:
        gate, mark = tmp_path / "gate", tmp_path / "mark"
        first = asyncio.ensure_future(self.on["holds"](str(gate), str(mark), "0"))
        await until(mark)
        with pytest.raises(TimedOut):
            await self.on["holds"](str(gate), str(mark), "1").under(Timeout(0.05))
        gate.touch()
        await first
        await self.on["add"](1)
        assert mark.read_text() == "0"

    async def test_calls_cancelled_at_random_moments_leave_the_pool_usable(self) -> None:
        await self.on["add_on_pair"](1)
        by_chance = random.Random(17)
        calls = [asyncio.ensure_future(self.on["add_on_pair"](n)) for n in range(100)]
        for call in calls:
            await asyncio.sleep(by_chance.random() * 0.002)  # real: they are at work meanwhile
            call.cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(end == n + 1 or isinstance(end, asyncio.CancelledError) for n, end in enumerate(ends))
        assert await self.on["add_on_pair"](1) == 2
        assert self.kinds.pair.statistics().lost == 0
        assert self.kinds.pair.statistics().running == 0

    async def test_logs_come_to_the_programs_loggers(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "tests.pools.conforming"):
            await self.on["logs"]("a line")
            for _ in range(1000):
                if "a line from a worker" in caplog.text:
                    break
                await asyncio.sleep(0.005)  # real: it comes beside the answer
        assert "a line from a worker" in caplog.text

    async def test_a_runtime_that_does_not_start_says_why(self) -> None:
        with pytest.raises(NoWorkers, match="no licence"):
            await self.on["add_on_failing"](1)
        with pytest.raises(NoWorkers, match="no licence"):
            async with self.kinds.failing:
                pass
        name = f"mountain-pool-{self.kinds.failing.name}"
        assert [each for each in threading.enumerate() if each.name == name] == [], "the block has closed it"

    async def test_a_service_that_hangs_is_named_by_the_close(self) -> None:
        assert await self.on["add_on_hanging"](1) == 2
        late = await self.kinds.hanging._close(3)
        assert len(late) == 1
        assert "worker" in late[0]

    async def test_a_close_ends_what_is_at_work_and_refuses_what_waits(self, tmp_path: Path) -> None:
        path = tmp_path / "mark"
        at_work = asyncio.ensure_future(self.on["waits"](str(path)))
        await until(path)
        waits = asyncio.ensure_future(self.on["add"](1))
        await asyncio.sleep(0)
        assert await self.kinds.one._close(20) == []
        with pytest.raises(WorkerLost):
            await at_work
        with pytest.raises(ShuttingDown):
            await waits
        assert path.read_text() == "cleaned"
        assert self.kinds.one.statistics().workers == 0
        assert await self.on["add"](1) == 2  # a call starts it again

    def test_two_loops_in_threads(self) -> None:
        async def sums() -> int:
            return sum(await gather([self.on["add_on_pair"](n, 1) for n in range(50)]))

        totals: list[int] = []
        threads = [threading.Thread(target=lambda: totals.append(asyncio.run(sums()))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert totals == [1275, 1275]


class OfProcesses(Conformance):
    """The promises of pools whose workers are processes: they end their functions, and may end by themselves."""

    async def test_a_function_that_does_not_stop_ends_with_its_worker(self, tmp_path: Path) -> None:
        path = tmp_path / "mark"
        before = self.kinds.one.statistics().lost
        call = asyncio.ensure_future(self.on["swallows"](str(path)))
        await until(path)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await self.on["add"](1) == 2
        assert self.kinds.one.statistics().lost == before + 1

    async def test_so_does_one_whose_limit_stands_at_the_worker(self, tmp_path: Path) -> None:
        with pytest.raises((TimedOut, WorkerLost)):
            await self.on["swallows_inside"](str(tmp_path / "mark"))
        assert await self.on["add"](1) == 2

    async def test_a_lost_worker_is_named_and_its_call_ran_once(self, tmp_path: Path) -> None:
        path = tmp_path / "marks"
        with pytest.raises(WorkerLost) as caught:
            await self.on["dies"](str(path))
        assert caught.value.may_have_run
        assert path.read_text() == "x"
        assert await self.on["add"](1) == 2

    async def test_what_may_run_again_does(self, tmp_path: Path) -> None:
        assert await self.on["dies_once"](str(tmp_path / "marks")) == 2

    async def test_an_exit_is_that_of_the_worker(self) -> None:
        with pytest.raises(WorkerLost, match="SystemExit: 4"):
            await self.on["exits"]()
        assert await self.on["add"](1) == 2
