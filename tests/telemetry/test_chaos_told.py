"""Chaos in spans and metrics, and on the live page."""

import asyncio
import gc

import httpx
import pytest

from mountain_runtime import Retry, Runtime, Timeout, constant, effect, errors
from mountain_runtime.testing import VirtualClock, chaos

from .looks import HERE, looking
from .scrapes import named, shown, value
from .tracing import Spans, attributes


@effect(name="work")
async def work() -> int:
    await asyncio.sleep(0)
    return 1


async def test_a_fault_is_an_event_of_the_calls_span(spans: Spans, virtual_clock: VirtualClock) -> None:
    late, hangs, fails = chaos(slow=1, delay=2), chaos(hang=1), chaos(fail=1)
    with late.on(), hangs.on(), fails.on():
        await work().under(late)
        with pytest.raises(errors.TimedOut):
            await work().under(Timeout(1), hangs)
        with pytest.raises(ConnectionError):
            await work().under(fails)
    slow, hung, failed = spans.named("work")
    assert [[event.name for event in span.events] for span in (slow, hung, failed)] == [
        ["chaos delay", "waited"],
        ["chaos hang"],
        ["chaos failure"],
    ]
    told = slow.events[0].attributes
    assert told == {"mountain.policy": "chaos(slow=1, delay=2)", "mountain.wait_seconds": 2.0}
    assert attributes(failed)["error.type"] == "ConnectionResetError"


async def test_an_attempt_that_it_fails_is_one_in_the_span(spans: Spans) -> None:
    faults = chaos(fail=0.8)
    with faults.on():
        await work().under(Retry(on=OSError, attempts=None, backoff=constant(0)), faults)
    failed = faults.statistics().failed
    assert failed >= 2
    attempts = spans.named("work attempt")
    reset = "ConnectionResetError"
    assert [attributes(span).get("error.type") for span in attempts] == [reset] * failed + [None]
    assert attributes(spans.one("work"))["mountain.attempts"] == failed + 1


def faults_of(name: str) -> list[float]:
    of = ("failure", "delay", "hang")
    return [value("mountain_chaos_faults_total", chaos=name, fault=fault) for fault in of]


async def test_metrics_say_whether_it_is_on_and_count_its_faults_over_all_turns(virtual_clock: VirtualClock) -> None:
    name = named()
    late, fails = chaos(slow=1, delay=1), chaos(fail=1)
    hangs = chaos(hang=1)

    @effect(Timeout(2), late, name=name)
    async def call() -> None: ...

    waits = named("hang")
    failing = effect(fails, name=f"{name} fails")(asyncio.sleep)
    hanging = effect(Timeout(1), hangs, name=waits)(asyncio.sleep)
    await call()
    assert (value("mountain_chaos_on", chaos=name), faults_of(name)) == (0, [0, 0, 0])
    for turn in (1, 2):
        with late.on(), fails.on(), hangs.on():
            await call()
            assert (value("mountain_chaos_on", chaos=name), faults_of(name)) == (1, [0, turn, 0])
            for each in (failing(0), hanging(0)):
                with pytest.raises((ConnectionError, errors.TimedOut)):
                    await each
    assert late.statistics().delayed == 1, "of the last turn alone"
    assert faults_of(f"{name} fails") == [2, 0, 0]
    assert faults_of(waits) == [0, 0, 2]
    assert value("mountain_chaos_on", chaos=name) == 0
    del late, call
    gc.collect()
    assert shown("chaos", name, newer=True) == []


async def test_the_live_page_shows_that_it_is_on_and_what_waits(client: httpx.AsyncClient) -> None:
    faults = chaos(hang=1)
    async with Runtime(dashboard=HERE) as rt, looking(client, rt) as look:
        with faults.on():
            task = asyncio.create_task(work().under(faults).under(Timeout(60)))
            await look.until(lambda state: bool(state["changes"]))
            state = await look.until(lambda state: len(state["running"]) == 1)
            (call,) = state["running"].values()
            assert (call["state"], call["on"]) == ("waiting", "chaos(hang=1)")
            right = {"on": True, "calls": 1, "failed": 0, "delayed": 0, "hung": 1}
            await look.until(lambda state: right in state["chaos"].values())
        assert await task == 1
        await look.until(lambda state: len(state["changes"]) == 2)
        await look.until(lambda state: right | {"on": False} in state["chaos"].values())
        assert [look.state["changes"][n]["text"] for n in sorted(look.state["changes"], key=int)] == [
            "chaos(hang=1) is on: it lets 100% of the calls hang",
            "chaos(hang=1) is off",
        ]
