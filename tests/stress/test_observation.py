"""The watchers of calls, under storms: a million effects on the live page, spans that come and go, many threads."""

import asyncio
import gc
import random
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from mountain_runtime import ConcurrencyLimit, Retry, Runtime, Timeout, _native, constant, effect, errors, gather
from mountain_runtime._runtime.statistics import snapshot as statistics
from tests.telemetry.looks import HERE, looking, port, snapshot, url
from tests.telemetry.test_metrics_names import many
from tests.telemetry.tracing import traces

pytestmark = pytest.mark.timeout(900)


class Boom(Exception):
    """A failure of ours."""


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(("series", "bound"), [(None, 1000), ("10", 10)])
def test_a_hundred_thousand_names_are_a_bounded_number_of_series(series: str | None, bound: int) -> None:
    """O2 in full."""
    many(100_000, bound, series)


async def test_a_million_effects_leave_no_ghosts_and_no_memory() -> None:
    """O4 in full."""
    name = f"million {uuid4().hex[:8]}"

    @effect(name=name)
    async def work() -> None:
        pass

    @effect(name=name)
    async def waits() -> None:
        await asyncio.sleep(0)

    async with httpx.AsyncClient(timeout=10, trust_env=False) as client, Runtime(dashboard=HERE) as rt:
        async with looking(client, rt) as look:
            grown = 0
            for round_ in range(10):
                for _ in range(50):
                    await gather(*(work() if n % 2 else waits() for n in range(2000)))
                    await asyncio.sleep(0)
                if round_ == 1:
                    gc.collect()
                    grown = resident()
            await look.until(lambda state: state["effects"].get(name, {}).get("succeeded") == 1_000_000)
            await look.until(lambda state: not state["running"])
            gc.collect()
            assert resident() - grown < 20_000_000
        whole = (await snapshot(client, rt)).state
        assert whole["running"] == {}
        assert whole["running_more"] == 0


async def _storm(dice: random.Random, name: str, calls: int) -> None:
    limit = ConcurrencyLimit(8)

    @effect(Timeout(0.05), Retry(on=Boom, attempts=3, backoff=constant(0.001)), limit, name=name)
    async def work(kind: int) -> int:
        if kind == 0:
            raise Boom
        if kind == 1:
            await asyncio.sleep(dice.random() * 0.1)
        elif kind == 2:
            await gather(_native.trial_noop(1), _native.trial_sleep(dice.random() * 0.01))
        else:
            await asyncio.sleep(0)
        return kind

    async def one() -> None:
        task = asyncio.ensure_future(work(dice.randrange(4)))
        if dice.random() < 0.2:
            await asyncio.sleep(dice.random() * 0.02)
            task.cancel()
        try:
            await task
        except (Boom, errors.TimedOut, asyncio.CancelledError):
            pass

    await asyncio.gather(*(one() for _ in range(calls)))


@pytest.mark.parametrize("seed", range(10))
def test_watchers_come_and_go_while_calls_of_many_loops_end_in_every_way(seed: int) -> None:
    """Whatever happens, each run is counted once, and nothing stays in the list."""
    name = f"storm {uuid4().hex[:8]}"
    over = threading.Event()
    faults: list[BaseException] = []

    def loop(number: int) -> None:
        try:
            asyncio.run(_storm(random.Random(seed * 10 + number), name, 400))
        except BaseException as fault:
            faults.append(fault)

    def pages() -> None:
        async def open_and_close() -> None:
            while not over.is_set():
                async with Runtime(dashboard=HERE):
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.005)

        try:
            asyncio.run(open_and_close())
        except BaseException as fault:
            faults.append(fault)

    looker = threading.Thread(target=pages)
    looker.start()
    loops = [threading.Thread(target=loop, args=(number,)) for number in range(4)]
    if seed % 2:
        with traces():
            _run(loops)
    else:
        _run(loops)
    over.set()
    looker.join(60)
    assert faults == []
    found: Any = statistics().effects[name]
    ended = found.succeeded + found.failed + found.timed_out + found.cancelled
    assert found.started == ended
    assert ended + found.rejected <= 1600  # a task that was cancelled before its first step has not begun
    gc.collect()
    assert _native.statistics()["running"] == 0


def _run(loops: list[threading.Thread]) -> None:
    for each in loops:
        each.start()
    for each in loops:
        each.join(120)


async def test_connections_that_say_nothing_keep_nobody_out_for_long() -> None:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client, Runtime(dashboard=HERE) as rt:
        silent = [await asyncio.open_connection("127.0.0.1", port(rt)) for _ in range(100)]
        for n, (_, writer) in enumerate(silent):
            if n % 2:
                writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")  # half a head
        # Real: it takes as long as such a connection is borne.
        answer = await client.get(url(rt, "/livez"))
        assert answer.status_code == 200
        for _, writer in silent:
            writer.close()
