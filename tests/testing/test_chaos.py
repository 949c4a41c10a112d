"""Chaos: off by default, by a seed, in every task; delays and hangs, inline and natively."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import (
    ConcurrencyLimit,
    Effect,
    Hedge,
    Pipeline,
    Retry,
    Timeout,
    blocking,
    constant,
    effect,
    fs,
)
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import Chaos, ChaosStatistics, VirtualClock, chaos

from .support import Asked

AT_ONCE = constant(0)


async def outcomes(chaos: Chaos, calls: int) -> str:
    """`f` for each call that fails, a dot for one that does not."""
    work = effect(chaos)(Asked())
    found = ""
    for _ in range(calls):
        try:
            await work()
        except ConnectionError:
            found += "f"
        else:
            found += "."
    return found


# -- on and off -------------------------------------------------------------------------------------------------------


async def test_it_does_nothing_unless_it_is_on(tmp_path: Path) -> None:
    faults = chaos(fail=1)
    asked = Asked()
    assert await effect(Timeout(1), faults, Retry(on=OSError))(asked)(3) == 3
    (tmp_path / "file").write_bytes(b"here")
    assert await fs.read_bytes(tmp_path / "file").under(faults) == b"here"
    assert faults.statistics() == ChaosStatistics(0, 0, 0, 0)


async def test_it_is_on_within_its_block_and_off_after_an_error() -> None:
    faults = chaos(fail=1)
    assert await outcomes(faults, 2) == ".."
    with pytest.raises(KeyError), faults.on():
        assert await outcomes(faults, 2) == "ff"
        raise KeyError
    assert await outcomes(faults, 2) == ".."


async def test_blocks_nest_and_overlap() -> None:
    faults = chaos(fail=1)
    with faults.on():
        with faults.on():
            assert await outcomes(faults, 1) == "f"
        assert await outcomes(faults, 1) == "f"
        assert faults.statistics().calls == 2
    first, second = faults.on(), faults.on()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert await outcomes(faults, 1) == "f"
    second.__exit__(None, None, None)
    assert await outcomes(faults, 1) == "."


async def test_it_acts_on_every_task_and_thread_of_the_process() -> None:
    faults = chaos(fail=1)
    entered, leave = threading.Event(), threading.Event()

    def elsewhere() -> None:
        with faults.on():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=elsewhere)
    # A task that was begun before, as a server's are.
    begin = asyncio.Event()

    async def handler() -> str:
        await begin.wait()
        return await outcomes(faults, 1)

    task = asyncio.create_task(handler())
    await asyncio.sleep(0)
    thread.start()
    entered.wait()
    try:
        begin.set()
        assert await task == "f"
        assert await asyncio.to_thread(lambda: asyncio.run(outcomes(faults, 1))) == "f"
    finally:
        leave.set()
        thread.join()
    assert await outcomes(faults, 1) == "."


def test_many_threads_enter_and_leave_it() -> None:
    faults = chaos(fail=1)

    def often() -> None:
        for _ in range(500):
            with faults.on():
                pass

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(outcomes(faults, 1)) == "."


def test_it_says_when_it_is_turned_on(caplog: pytest.LogCaptureFixture) -> None:
    faults = chaos(fail=0.1, hang=0.01, slow=0.05, delay=(0.05, 0.2), seed=7)
    caplog.set_level(logging.INFO, "mountain_runtime.policy")
    with faults.on(), faults.on():
        pass
    text = "chaos(fail=0.1, hang=0.01, slow=0.05, delay=(0.05, 0.2), seed=7)"
    does = (
        "fails 10% of the calls with ConnectionError, lets 1% of the calls hang, begins 5% of the calls late, by 0.05 "
        "to 0.2 s"
    )
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", f"{text} is on: it {does}"),
        ("INFO", f"{text} is off"),
    ]
    assert f"{text}: while it is on, {does}" in Pipeline(faults, name="p").describe()


# -- by a seed --------------------------------------------------------------------------------------------------------


async def test_a_seed_and_the_order_of_calls_give_the_faults() -> None:
    with (one := chaos(fail=0.3, seed=7)).on():
        first = await outcomes(one, 100)
    with (same := chaos(fail=0.3, seed=7)).on():
        assert await outcomes(same, 100) == first
    with (other := chaos(fail=0.3, seed=8)).on():
        assert await outcomes(other, 100) != first
    with one.on():
        assert await outcomes(one, 100) == first, "entered again, it begins anew"


async def test_the_sequence_is_one_for_all_that_share_it(virtual_clock: VirtualClock) -> None:
    faults = chaos(fail=0.3, seed=7)
    with faults.on():
        alone = await outcomes(faults, 60)
    one, two = effect(faults)(Asked()), effect(faults)(Asked())

    async def outcome(work: Effect[int]) -> str:
        try:
            await work
        except ConnectionError:
            return "f"
        return "."

    with faults.on():
        both = [await outcome(one() if n % 2 else two()) for n in range(60)]
    assert "".join(both) == alone
    assert virtual_clock.time() == 0


async def test_the_parts_are_those_asked_for(virtual_clock: VirtualClock) -> None:
    faults = chaos(fail=0.1, hang=0.05, slow=0.2, delay=(0.1, 0.3), seed=7)
    calls = 4000
    work = effect(Timeout(1), faults)(Asked())
    failed = hung = 0

    async def one(_: int) -> None:
        nonlocal failed, hung
        try:
            await work()
        except ConnectionError:
            failed += 1
        except TimedOut:
            hung += 1

    with faults.on():
        await asyncio.gather(*map(one, range(calls)))
    found = faults.statistics()
    assert found == ChaosStatistics(calls, failed, found.delayed, hung)
    # Within four standard deviations, and of a fixed seed: always the same.
    for count, part in ((failed, 0.1), (hung, 0.05), (found.delayed, 0.2)):
        assert abs(count - calls * part) < 4 * (calls * part * (1 - part)) ** 0.5
    assert virtual_clock.time() == 1.0


# -- delays and hangs -------------------------------------------------------------------------------------------------


async def test_a_delay_is_between_its_bounds_and_jumps(virtual_clock: VirtualClock) -> None:
    faults, asked = chaos(slow=1, delay=(2, 5)), Asked()
    work = effect(faults)(asked)
    took = []
    with faults.on():
        for _ in range(50):
            began = virtual_clock.time()
            await work()
            took.append(virtual_clock.time() - began)
    assert 2 <= min(took) < 2.5
    assert 4.5 < max(took) <= 5
    with (fixed := chaos(slow=1, delay=3)).on():
        began = virtual_clock.time()
        await effect(fixed)(asked)()
        assert virtual_clock.time() - began == pytest.approx(3)


async def test_a_hang_ends_by_a_limit_inline_and_natively(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    faults, asked = chaos(hang=1), Asked()
    (tmp_path / "file").touch()
    with faults.on():
        for work in (
            effect(Timeout(5), Retry(on=OSError, backoff=AT_ONCE), Timeout(1), faults)(asked)(),
            fs.read_bytes(tmp_path / "file").under(Timeout(5), Retry(on=OSError, backoff=AT_ONCE), Timeout(1), faults),
        ):
            began = virtual_clock.time()
            with pytest.raises(TimedOut, match=r"Timeout\(1\) passed in attempt 3"):
                await work
            assert virtual_clock.time() - began == pytest.approx(3)
    assert asked.calls == 0
    assert faults.statistics() == ChaosStatistics(6, 0, 0, 6)


async def test_a_hang_ends_by_a_cancel_and_gives_its_place_back(tmp_path: Path) -> None:
    faults, place = chaos(hang=1), ConcurrencyLimit(1, max_waiting=0)
    (tmp_path / "file").touch()
    for work in (effect(place, faults)(Asked())(2), fs.read_bytes(tmp_path / "file").under(place, faults)):
        with faults.on():
            task = asyncio.create_task(work)
            while not faults.statistics().hung:
                await asyncio.sleep(0)
            assert place.statistics().in_flight == 1
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert place.statistics().in_flight == 0
        assert await work in (2, b"")


async def test_a_hang_goes_on_when_the_block_is_left(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    faults, asked = chaos(hang=1), Asked()
    (tmp_path / "file").write_bytes(b"here")

    @blocking(faults)
    def on_thread() -> str:
        return "thread"

    works: list[Effect[Any]] = [effect(faults)(asked)(7), fs.read_bytes(tmp_path / "file").under(faults), on_thread()]
    with faults.on():
        tasks = [asyncio.create_task(work) for work in works]
        await virtual_clock.advance(3600)
        assert not any(task.done() for task in tasks)
        assert asked.calls == 0
    assert await asyncio.gather(*tasks) == [7, b"here", "thread"]


async def test_a_hedge_answers_beside_an_attempt_that_hangs(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"here")
    for work, answer in (
        (effect(Asked())(5), 5),
        (fs.read_bytes(tmp_path / "file"), b"here"),
    ):
        faults = chaos(hang=0.5, seed=1)  # the first call of that seed hangs, and the second does not
        began = virtual_clock.time()
        with faults.on():
            assert await work.under(Hedge(after=2), faults) == answer
        assert virtual_clock.time() - began == pytest.approx(2)
        assert faults.statistics() == ChaosStatistics(2, 0, 0, 1)
