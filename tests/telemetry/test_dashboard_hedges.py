"""Hedges on the live page: how often they began an attempt, and after how long they do."""

import asyncio

import httpx

from mountain_runtime import Hedge, Runtime, effect

from .looks import HERE, named, snapshot


async def test_a_hedge_shows_its_counts_and_its_delay(client: httpx.AsyncClient) -> None:
    name, never = named("hedge"), named("hedge")
    hedge, unused = Hedge(0.001, budget=None, name=name), Hedge(float("inf"), name=never)
    takes = iter([60, 0])

    @effect(hedge)
    async def call() -> None:
        await asyncio.sleep(next(takes))

    async with Runtime(dashboard=HERE) as runtime:
        await call()
        shown = (await snapshot(client, runtime)).state["hedges"]
    assert shown[name] == {"hedged": 1, "won": 1, "refused": 0, "delay": 0.001}
    assert shown[never].get("delay") is None
    assert unused.delay() == float("inf")
