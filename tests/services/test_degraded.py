"""With a fallback, a service degrades instead of failing, and comes back."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from mountain_runtime import CircuitBreaker, Key, Runtime, Shutdown, effect, need
from mountain_runtime.errors import ServiceMissing, TimedOut
from mountain_runtime.testing import VirtualClock, open_circuit

from .support import Boom, Log, fails, forever

KEY = Key[Any]("thing")


def works_after(log: Log, failures: int) -> Any:
    """A service that fails to start so often."""
    begun = 0

    @asynccontextmanager
    async def make() -> AsyncGenerator[str]:
        nonlocal begun
        begun += 1
        log.append(f"try {begun}")
        if begun <= failures:
            raise Boom(f"try {begun}")
        yield "primary"
        log.append("primary gone")

    return make


async def test_a_primary_that_does_not_start_is_replaced_and_taken_back(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    @effect
    async def which(thing: str = need(KEY)) -> str:
        return thing

    runtime = Runtime().provide(KEY, works_after(log, 3), fallback=log.service("fallback"))
    async with runtime:
        assert await which() == runtime.get(KEY) == "fallback"
        health = runtime.health()
        assert (health.live, health.ready) == (True, True)
        assert health.services["thing"].state == "degraded"
        assert "try 1" in str(health.services["thing"].reason)
        assert asdict(health)["services"]["thing"]["state"] == "degraded"
        await asyncio.sleep(1 + 2 + 4 + 0.1)
        assert log[-1:] == ["fallback gone"]
        assert log.of("try") == ["try 1", "try 2", "try 3", "try 4"]
        assert await which() == "primary"
        assert runtime.health().services["thing"].state == "up"
    assert "degraded" in caplog.text
    assert log[-1] == "primary gone"
    assert runtime.report is not None
    assert runtime.report.ok, str(runtime.report)
    assert runtime.health().services["thing"].state == "stopped"


async def test_a_start_timeout_degrades_too_and_the_background_ends_with_the_runtime(
    virtual_clock: VirtualClock,
) -> None:
    log = Log()
    runtime = Runtime().provide(
        KEY, log.service("primary", starting=forever), fallback=log.service("fallback"), start_timeout=2
    )
    async with runtime:
        assert runtime.get(KEY) == "fallback"
        assert "2 s" in str(runtime.health().services["thing"].reason)
        await asyncio.sleep(100)
        assert runtime.get(KEY) == "fallback"
    assert log.count("primary starts") == log.count("primary gone") > 3
    assert runtime.report is not None
    assert runtime.report.ok, str(runtime.report)


async def test_when_neither_starts_the_first_error_is_raised() -> None:
    log, first = Log(), Boom("primary")
    runtime = Runtime().provide(
        KEY, log.service("p", starting=fails(first)), fallback=log.service("f", starting=fails(Boom("fallback")))
    )
    with pytest.raises(Boom) as caught:
        await runtime.__aenter__()
    assert caught.value is first
    assert "fallback did not start either" in str(first.__notes__)
    assert not runtime.health().ready


async def test_a_primary_that_ends_by_itself_is_replaced(virtual_clock: VirtualClock) -> None:
    go = asyncio.Event()
    log = Log()

    async def worker() -> None:
        await go.wait()
        raise Boom("worker")

    @asynccontextmanager
    async def make() -> AsyncGenerator[str]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(worker())
            yield "primary"
            task.cancel()

    async with Runtime().provide(KEY, make, fallback=log.service("fallback")) as runtime:
        assert runtime.get(KEY) == "primary"
        go.set()
        await asyncio.sleep(0.01)
        assert runtime.get(KEY) == "fallback"
        assert runtime.health().services["thing"].state == "degraded"
        go.clear()
        await asyncio.sleep(2)
        assert runtime.get(KEY) == "primary"


@dataclass
class Client:
    name: str = "primary"
    breaker: CircuitBreaker = field(default_factory=lambda: CircuitBreaker(failures=1, cooldown=30))


async def test_while_its_breaker_is_open_callers_get_the_fallback(virtual_clock: VirtualClock) -> None:
    log, client = Log(), Client()
    runtime = Runtime().provide(KEY, log.service("primary", value=client), fallback=log.service("fallback"))
    async with runtime:
        assert runtime.get(KEY) is client
        open_circuit(client.breaker)
        assert runtime.get(KEY) == "fallback"
        health = runtime.health()
        assert health.ready
        assert health.services["thing"].state == "degraded"
        assert health.services["thing"].reason == "its circuit breaker is open"
        await asyncio.sleep(31)  # half open: probes are for the primary
        assert runtime.get(KEY) is client
        client.breaker.reset()
        assert runtime.health().services["thing"].state == "up"
    assert log[-2:] == ["fallback stops", "fallback gone"] or log[-2:] == ["primary stops", "primary gone"]


async def test_ready_goes_false_before_the_propagation_delay_and_live_with_the_end(virtual_clock: VirtualClock) -> None:
    log = Log()
    seen = []

    @asynccontextmanager
    async def watch() -> AsyncGenerator[None]:
        async def look() -> None:
            await runtime.wait_stopping()
            seen.append((runtime.health().live, runtime.health().ready, runtime._phase))

        task = asyncio.create_task(look())
        yield
        await task

    runtime = log.provided(Runtime(shutdown=Shutdown(propagation=3)), "a")
    runtime.provide(Key[None]("watch"), watch)
    assert (runtime.health().live, runtime.health().ready) == (True, False)
    assert runtime.health().services["a"].state == "starting"
    async with runtime:
        assert runtime.health().ready
    assert seen == [(True, False, 1)]
    assert not runtime.health().live
    with pytest.raises(ServiceMissing, match="stopped"):
        runtime.get(Key[str]("a"))


async def test_a_fallback_that_ends_by_itself_leaves_nothing_to_be_ready_with(virtual_clock: VirtualClock) -> None:
    log, go = Log(), asyncio.Event()

    async def worker() -> None:
        await go.wait()
        raise Boom("worker")

    @asynccontextmanager
    async def standby() -> AsyncGenerator[str]:
        async with asyncio.TaskGroup() as group:
            group.create_task(worker())
            yield "fallback"

    async with Runtime().provide(KEY, log.service("primary", starting=fails(Boom("p"))), fallback=standby) as runtime:
        assert runtime.health().ready
        go.set()
        await asyncio.sleep(0.01)
        assert not runtime.health().ready
        assert "its fallback has ended" in str(runtime.health().services["thing"].reason)


async def test_the_time_of_a_start_is_the_fallbacks_too(virtual_clock: VirtualClock) -> None:
    log, begun = Log(), asyncio.get_running_loop().time()
    runtime = Runtime().provide(
        KEY, log.service("p", starting=forever), fallback=log.service("f", starting=forever), start_timeout=2
    )
    with pytest.raises(TimedOut, match="service thing did not start within 2 s"):
        await runtime.__aenter__()
    assert asyncio.get_running_loop().time() - begun == pytest.approx(4, abs=0.1)
    assert log.count("p gone") == log.count("f gone") == 1
