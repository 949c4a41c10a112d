"""The keys of policies on the live page: the busiest by name, the others together, and only while a page is open."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import pytest

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, RateLimit, Runtime, effect

from .looks import A_STATE_A_SECOND, HERE, Boom, looking, named, snapshot
from .scrapes import value

pytestmark = pytest.mark.usefixtures("brisk")


def listed(state: dict[str, Any], kind: str, name: str) -> list[dict[str, Any]] | None:
    """A policy's keys. None: they have not been looked at since the page was opened."""
    found: list[dict[str, Any]] | None = state[kind].get(name, {}).get("by_key", {}).get("keys")
    return found


class Tenant:
    """A key that counts how often its name is asked for."""

    asked = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tenant) and other.name == self.name

    def __str__(self) -> str:
        Tenant.asked += 1
        if self.name == "broken":
            raise Boom("no name")
        return self.name


@A_STATE_A_SECOND
async def test_a_limit_s_keys_are_named_busiest_first_and_the_others_add_up(client: httpx.AsyncClient) -> None:
    limit, release = ConcurrencyLimit(2, key=lambda tenant: tenant, name=named("limit")), asyncio.Event()

    @effect(limit, name=named())
    async def held(tenant: Tenant | str) -> None:
        await release.wait()

    async with Runtime(dashboard=HERE) as rt:
        for n in range(30):
            rt.submit(held(Tenant(f"tenant {n:02}")))
        for _ in range(4):
            rt.submit(held(Tenant("busy")))
        for _ in range(3):
            rt.submit(held(Tenant("broken")))
        rt.submit(held("x" * 1000 + "\udcff"))
        name = limit._name or ""
        async with looking(client, rt) as look:
            state = await look.until(lambda state: listed(state, "limits", name) is not None)
            shown = state["limits"][name]
            found = limit.statistics()
            assert shown["in_flight"] == found.in_flight
            assert sum(shown["waiting"].values()) == sum(found.waiting.values())
            assert (shown["in_flight"], shown["capacity"], shown["fullest"], shown["keys"]) == (35, 2, 2, 33)
            keys = shown["by_key"]["keys"]
            assert [(each["key"], each["in_flight"], each["waiting"]) for each in keys[:3]] == [
                ("busy", 2, 2),
                ("<Tenant cannot be shown>", 2, 1),
                ("tenant 00", 1, 0),
            ]
            assert len(keys) == 20
            other = shown["by_key"]["other"]
            assert (shown["by_key"]["others"], other["in_flight"], other["waiting"]) == (13, 13, 0)
            assert sum(each["in_flight"] for each in keys) + other["in_flight"] == found.in_flight
            assert value("mountain_limit_fullest", limit=name) == 2
            asked = Tenant.asked
            assert asked
            release.set()
            await look.until(lambda state: state["limits"][name]["by_key"]["keys"] == [])
        release.clear()
        handle = rt.submit(held(Tenant("unseen")))
        asked = Tenant.asked
        # The page looks four times a second, in real time; and its server has to notice that its reader has gone.
        await asyncio.sleep(0.6)
        release.set()
        await handle
        assert Tenant.asked <= asked + 1


async def test_a_page_that_is_opened_later_shows_no_key_that_was_there_earlier(client: httpx.AsyncClient) -> None:
    breaker, name = CircuitBreaker(failures=1, key=lambda host: host, name=named("breaker")), named()

    @effect(breaker, name=name)
    async def asks(host: str) -> None:
        raise Boom(host)

    async with Runtime(dashboard=HERE) as rt:
        assert rt._page is not None
        with suppress(Boom):
            await asks("a.example")
        async with looking(client, rt) as look:
            await look.until(lambda state: listed(state, "breakers", breaker._name or ""))
        async with asyncio.timeout(10):
            while rt._page._native.watched:
                await asyncio.sleep(0.01)  # real: its server has to notice that its reader has gone
        rt._page.push()
        later = await snapshot(client, rt)
        assert later.state["breakers"][breaker._name or ""]["by_key"] == {}, "it opens, and none is listed yet"


async def test_long_keys_and_others_are_cut(client: httpx.AsyncClient) -> None:
    rate, name = RateLimit(1, per=60, key=lambda key: key), named("rate")

    @effect(rate, name=name)
    async def starts(key: object) -> None:
        pass

    async with Runtime(dashboard=HERE) as rt:
        waits = [rt.submit(starts(key)) for key in ("x" * 1000 + "\udcff", ("a", 1), "<b>") for _ in range(3)]
        async with looking(client, rt) as look:
            state = await look.until(lambda state: len(listed(state, "rates", name) or []) == 3)
        keys = {each["key"]: each["waiting"] for each in listed(state, "rates", name) or []}
        assert keys == {"x" * 120 + "…": 2, "('a', 1)": 2, "<b>": 2}
        for each in waits:
            each.cancel()


async def test_a_breaker_s_keys_are_shown_from_the_worst(client: httpx.AsyncClient) -> None:
    breaker = CircuitBreaker(failures=1, cooldown=600, key=lambda host: host, name=named("breaker"))

    @effect(breaker, name=named())
    async def asks(host: str) -> None:
        if host == "b.example":
            raise Boom(host)

    async with Runtime(dashboard=HERE) as rt:
        for host in ("a.example", "b.example", "c.example"):
            with suppress(Boom):
                await asks(host)
        breaker.isolate("c.example")
        name = breaker._name or ""
        async with looking(client, rt) as look:
            state = await look.until(lambda state: listed(state, "breakers", name) is not None)
        shown = [(each["key"], each["state"]) for each in state["breakers"][name]["by_key"]["keys"]]
        assert shown[:2] == [("c.example", "isolated"), ("b.example", "open")]
        assert shown[2:] in ([("a.example", "closed")], []), "one that is closed and at rest may have been forgotten"
        counts = state["breakers"][name]["keys"]
        assert (counts["isolated"], counts["open"], counts["half_open"]) == (1, 1, 0)


async def test_a_policy_without_keys_has_none(client: httpx.AsyncClient) -> None:
    limit, release = ConcurrencyLimit(2, name=named("limit")), asyncio.Event()

    @effect(limit)
    async def held() -> None:
        await release.wait()

    async with Runtime(dashboard=HERE) as rt:
        for _ in range(3):
            rt.submit(held())
        async with looking(client, rt) as look:
            for _ in range(3):
                await look.next()
        shown = look.state["limits"][limit._name or ""]
        assert "by_key" not in shown
        assert "keys" not in shown
        assert (shown["in_flight"], shown["capacity"], shown["fullest"]) == (2, 2, 2)
        release.set()
