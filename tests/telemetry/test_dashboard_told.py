"""The runtime's state on the live page."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, Effect, Retry, Runtime, Timeout, effect, gather
from mountain_runtime.telemetry import _failures
from tests.lifecycle.support import until

from .looks import HERE, OPENMETRICS, Boom, busy, counted, looking, named, snapshot, url

pytestmark = pytest.mark.usefixtures("brisk")


async def test_the_changes_make_the_same_state_as_a_look_at_the_whole(client: httpx.AsyncClient) -> None:
    names = [named() for _ in range(3)]
    async with Runtime(dashboard=HERE) as rt:
        async with looking(client, rt) as look:
            assert await look.next() == "snapshot"
            assert names[0] not in look.state["effects"]
            for name in names:
                await busy(name)
                assert await look.next() == "delta"
            await look.until(lambda state: state["effects"].get(names[-1], {}).get("started") == 8)
            whole = (await snapshot(client, rt)).state
        assert set(look.kinds[1:]) == {"delta"}
        for name in names:
            counts = counted(rt, name)
            for state in (look.state, whole):
                shown = state["effects"][name]
                assert {field: shown[field] for field in counts} == counts
                assert list(shown["errors"].values()) == [3]


async def test_what_runs_is_listed_under_what_started_it_until_it_ends(client: httpx.AsyncClient) -> None:
    parent, child = named("parent"), named("child")
    limit = ConcurrencyLimit(1, name=named("limit"))
    release = asyncio.Event()

    @effect(limit, name=child)
    async def below() -> None:
        await release.wait()

    @effect(name=parent)
    async def above() -> None:
        await gather(below(), below())

    def calls(state: dict[str, Any], name: str) -> dict[str, Any]:
        return {key: call for key, call in state["running"].items() if call["name"] == name}

    async with Runtime(dashboard=HERE) as rt:
        handle = rt.submit(above())
        async with looking(client, rt) as look:
            await look.until(lambda state: len(calls(state, child)) == 2)
            running = look.state["running"]
            [top] = calls(look.state, parent)
            assert {call["state"] for call in calls(look.state, child).values()} == {"running", "waiting"}
            for call in calls(look.state, child).values():
                ancestor = call["parent"]
                while running[ancestor]["name"] != parent:
                    ancestor = running[ancestor]["parent"]
                assert ancestor == top
            release.set()
            await look.until(lambda state: not state["running"])
        await handle


async def test_the_deadline_is_that_of_the_call_s_own_limit_or_of_who_called_it(client: httpx.AsyncClient) -> None:
    parent, child, free, later = named("parent"), named("child"), named("free"), named("later")
    release = asyncio.Event()

    @effect(name=child)
    async def below() -> None:
        await release.wait()

    @effect(Timeout(90), name=parent)
    async def above() -> None:
        await below()

    @effect(name=free)
    async def unlimited() -> None:
        await release.wait()

    @effect(Retry(on=Boom), Timeout(90), name=later)
    async def each_attempt() -> None:
        await release.wait()

    async with Runtime(dashboard=HERE) as rt:
        handles = [rt.submit(work()) for work in (above, unlimited, each_attempt)]
        async with looking(client, rt) as look:
            state = await look.until(lambda state: len(state["running"]) >= 4)
            deadlines = {call["name"]: call.get("deadline") for call in state["running"].values()}
            now = time.time()
            assert deadlines[parent] == pytest.approx(now + 90, abs=5)
            assert deadlines[child] == pytest.approx(now + 90, abs=5)
            assert deadlines[free] is None
            assert deadlines[later] is None, "it is the attempt's"
        release.set()
        await asyncio.gather(*handles)


async def test_a_seventeenth_page_is_told_that_there_are_too_many(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=HERE) as rt:
        async with AsyncExitStack() as pages:
            looks = [await pages.enter_async_context(looking(client, rt)) for _ in range(16)]
            for look in looks:
                assert await look.next() == "snapshot"
            async with client.stream("GET", url(rt, "/events")) as answer:
                assert answer.status_code == 503
            assert (await client.get(url(rt, "/livez"))).status_code == 200
            for look in looks:
                assert await look.next() == "delta"

        async with asyncio.timeout(10):
            while True:
                async with client.stream("GET", url(rt, "/events")) as response:
                    if response.status_code == 200:
                        break
                await asyncio.sleep(0.1)  # that a page has gone is noticed when it is written to


async def test_a_hundred_thousand_effects_leave_nothing_in_the_list_of_what_runs(client: httpx.AsyncClient) -> None:
    name = named()

    @effect(name=name)
    async def work() -> None:
        pass

    async with Runtime(dashboard=HERE) as rt:
        await work()
        before = (await snapshot(client, rt)).size
        async with looking(client, rt) as look:
            for _ in range(100):
                await gather(*(work() for _ in range(1000)))
            await look.until(lambda state: not state["running"] and state["effects"][name]["started"] > 100_000)
            assert look.state["running_more"] == 0
        after = await snapshot(client, rt)
        assert after.state["running"] == {}
        assert after.size < before + 2_000


HOSTILE = [
    "two\nlines",
    'a "quote" and a \\',
    "<script>alert(1)</script>",
    "x" * 10_000,
    "\u202e\u0000\u001b[31m",
    "data: x\n\nevent: snapshot",
    "ü🏔" * 500,
]


async def test_hostile_names_arrive_as_text_of_at_most_200_characters(client: httpx.AsyncClient) -> None:
    mark = uuid4().hex[:8]
    names = [f"{mark} {name}" for name in HOSTILE]
    async with Runtime(dashboard=HERE) as rt:
        for name in names:

            @effect(name=name)
            async def work() -> None:
                pass

            await work()
        look = await snapshot(client, rt)
        assert look.kinds == ["snapshot"]
        shown = [name for name in look.state["effects"] if name.startswith(mark)]
        assert len(shown) == len(names)
        assert all(len(name) <= 200 for name in look.state["effects"])
        for name in names[:3]:
            assert look.state["effects"][name]["succeeded"] == 1
        for accept, parse in (("text/plain", prometheus), (OPENMETRICS, openmetrics)):
            text = (await client.get(url(rt, "/metrics"), headers={"Accept": accept})).text
            [family] = [family for family in parse(text) if family.name == "mountain_effect_started"]
            found = {sample.labels["effect"] for sample in family.samples}
            assert set(shown) <= found, accept


async def test_the_last_fifty_failures_are_shown_with_their_tracebacks(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_failures, "_MOST", 1000)
    name = named()

    @effect(name=name)
    async def fails(n: int) -> None:
        raise Boom(f"number {n}")

    async with Runtime(dashboard=HERE) as rt:
        for n in range(120):
            with pytest.raises(Boom):
                await fails(n)
        failures = (await snapshot(client, rt)).state["failures"]
    assert len(failures) == 50
    by_number = sorted(failures.items(), key=lambda item: int(item[0]))
    assert [failure["message"] for _, failure in by_number] == [f"number {n}" for n in range(70, 120)]
    for _, failure in by_number:
        assert failure["effect"] == name
        assert failure["type"].endswith("looks.Boom")
        assert 'raise Boom(f"number {n}")' in failure["traceback"]
        assert "Traceback (most recent call last)" in failure["traceback"]


async def test_long_tracebacks_and_errors_that_cannot_be_shown_are_shown_in_part(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_failures, "_MOST", 1000)
    name = named()

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @effect(name=name)
    async def fails(error: Exception) -> None:
        raise error

    async with Runtime(dashboard=HERE) as rt:
        for error in (Boom("y" * 100_000), Mute()):
            with pytest.raises(type(error)):
                await fails(error)
        failures = (await snapshot(client, rt)).state["failures"].values()
        long, mute = sorted((each for each in failures if each["effect"] == name), key=lambda each: each["type"])
        assert len(long["message"]) < 600
        assert len(long["traceback"]) < 9_000
        assert "Mute" in mute["message"]


async def test_services_are_shown_from_their_start_to_their_end(client: httpx.AsyncClient) -> None:
    class Store:
        pass

    class Mail:
        pass

    go, stop, entered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def opens() -> AsyncIterator[Store]:
        await go.wait()
        yield Store()
        await stop.wait()

    @asynccontextmanager
    async def broken() -> AsyncIterator[Mail]:
        raise Boom("no mail today")
        yield Mail()

    @asynccontextmanager
    async def stands_in() -> AsyncIterator[Mail]:
        yield Mail()

    rt = Runtime(dashboard=HERE).provide(Store, opens).provide(Mail, broken, fallback=stands_in)
    leave = asyncio.Event()

    async def program() -> None:
        async with rt:
            entered.set()
            await leave.wait()

    running = asyncio.create_task(program())
    await until(lambda: rt._page is not None)

    def state_of(kind: type) -> Any:
        def find(state: dict[str, Any]) -> str:
            [found] = [each["state"] for name, each in state["services"].items() if kind.__name__ in name] or [""]
            return str(found)

        return find

    store, mail = state_of(Store), state_of(Mail)
    try:
        async with looking(client, rt) as look:
            await look.until(lambda state: store(state) == "starting")
            assert (await client.get(url(rt, "/readyz"))).status_code == 503
            go.set()
            await look.until(lambda state: store(state) == "up" and mail(state) == "degraded")
            [reason] = [each["reason"] for name, each in look.state["services"].items() if "Mail" in name]
            assert "no mail today" in reason
            await look.until(lambda state: state["ready"])
            leave.set()
            await look.until(lambda state: store(state) == "stopping")
            assert look.state["shutdown"]["phase"] in {"draining", "stopping"}
            stop.set()
    finally:
        for event in (go, leave, stop):
            event.set()
        await running


async def test_policies_are_shown_with_their_names(client: httpx.AsyncClient) -> None:
    limit_name, breaker_name = named("limit"), named("breaker")
    breaker = CircuitBreaker(name=breaker_name, failures=2, cooldown=60)
    limit = ConcurrencyLimit(2, name=limit_name)
    release = asyncio.Event()

    @effect(limit, name=named())
    async def held() -> None:
        await release.wait()

    @effect(breaker, name=named())
    async def fails() -> None:
        raise Boom

    def both(make: Any) -> Effect[Any]:
        return gather(*(make() for _ in range(5)))

    async with Runtime(dashboard=HERE) as rt:
        handle = rt.submit(both(held))
        for _ in range(2):
            with pytest.raises(Boom):
                await fails()
        async with looking(client, rt) as look:
            await look.until(lambda state: state["limits"].get(limit_name, {}).get("in_flight") == 2)
            shown = look.state["limits"][limit_name]
            assert shown["capacity"] == 2
            assert shown["waiting"] == {"low": 0, "normal": 3, "high": 0}
            opened = look.state["breakers"][breaker_name]
            assert opened["opens"] == 1
            assert opened["keys"]["open"] == 1
            release.set()
            await look.until(lambda state: state["limits"][limit_name]["in_flight"] == 0)
        await handle


NO_UTF8 = "no file \udcff.txt"


class Mute(Exception):
    """Its own code fails."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError(NO_UTF8), Mute()])
async def test_texts_that_cannot_be_said_do_not_stop_the_page(
    client: httpx.AsyncClient, error: Exception, complaints: list[str]
) -> None:
    name, release = named(), asyncio.Event()

    @effect(name=name)
    async def fails() -> None:
        raise error

    async def deferred() -> None:
        raise error

    async def last() -> None:
        await release.wait()

    rt = Runtime(dashboard=HERE)
    leave = asyncio.Event()

    async def program() -> None:
        async with rt:
            rt.defer(last)
            rt.defer(deferred)
            await leave.wait()

    running = asyncio.create_task(program())
    await until(lambda: rt._page is not None)
    try:
        with pytest.raises(type(error)):
            await fails()
        async with looking(client, rt) as look:
            await look.until(lambda state: any(f["effect"] == name for f in state["failures"].values()))
            leave.set()
            shutdown = await look.until(
                lambda state: any(
                    s["outcome"] == "failed" for s in (state.get("shutdown") or {}).get("steps", {}).values()
                )
            )
            [failed] = [s for s in shutdown["shutdown"]["steps"].values() if s["outcome"] == "failed"]
            assert type(error).__name__ in failed["error"]
            # It goes on to be told.
            seen = len(look.kinds)
            await look.until(lambda _: len(look.kinds) > seen + 1)
            assert (await client.get(url(rt, "/livez"))).status_code == 200
    finally:
        leave.set()
        release.set()
        await running
    assert complaints == []
