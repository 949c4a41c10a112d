"""Services start in the order of their needs, or unwind."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from mountain_runtime import Key, Runtime, Shutdown, effect, need
from mountain_runtime.errors import ConfigError, ServiceMissing, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import LONG, Boom, Log, fails, forever, stubborn


def runtime_of(log: Log, graph: dict[str, list[str]], **how: Any) -> Runtime:
    runtime = Runtime()
    for name, needs in graph.items():
        log.provided(runtime, name, *needs, **how.get(name, {}))
    return runtime


async def test_they_start_in_the_order_of_their_needs_and_stop_in_reverse() -> None:
    log = Log()
    async with runtime_of(log, {"c": ["b"], "b": ["a"], "a": []}) as runtime:
        assert log == ["a starts", "a up", "b starts", "b up", "c starts", "c up"]
        assert runtime.get(Key[str]("b")) == "b"
        log.clear()
    assert log == ["c stops", "c gone", "b stops", "b gone", "a stops", "a gone"]
    assert runtime.report is not None
    assert [step.name for step in runtime.report.steps if step.name.startswith("stop")] == [
        "stop c",
        "stop b",
        "stop a",
    ]
    assert runtime.report.ok, str(runtime.report)


async def test_independent_ones_start_and_stop_at_the_same_time(virtual_clock: VirtualClock) -> None:
    log, loop = Log(), asyncio.get_running_loop()
    slow = {"starting": lambda: asyncio.sleep(10), "stopping": lambda: asyncio.sleep(2)}
    runtime = runtime_of(log, {name: [] for name in "abcde"}, **dict.fromkeys("abcde", slow))
    begun = loop.time()
    async with runtime:
        assert loop.time() - begun == pytest.approx(10, abs=0.1)
        begun = loop.time()
    assert loop.time() - begun == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("graph", "path"),
    [
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "a -> b -> c -> a"),
        ({"a": ["a"]}, "a -> a"),
        ({"a": ["b"], "b": ["gone"]}, "a -> b -> gone"),
    ],
    ids=["circle", "itself", "missing"],
)
async def test_a_graph_that_cannot_work_is_said_with_its_path_before_anything_starts(
    graph: dict[str, list[str]], path: str
) -> None:
    log = Log()
    runtime = runtime_of(log, {"other": [], **graph})
    with pytest.raises(ConfigError, match=path):
        await runtime.__aenter__()
    assert log == []
    assert not runtime.health().ready


async def test_the_first_error_of_a_start_is_raised_when_what_had_started_is_unwound() -> None:
    """S3: C fails; B, then A stop once each."""
    log, boom = Log(), Boom("c")
    graph = {"a": [], "b": ["a"], "c": ["b"], "d": []}
    runtime = runtime_of(log, graph, c={"starting": fails(boom)}, d={"starting": forever})
    with pytest.raises(Boom) as caught:
        await runtime.__aenter__()
    assert caught.value is boom
    up = ["a starts", "a up", "b starts", "b up"]
    assert log.of("a", "b", "c") == [*up, "c starts", "c: Boom", "c gone", "b stops", "b gone", "a stops", "a gone"]
    assert log.of("d") == ["d starts", "d: CancelledError", "d gone"]
    with pytest.raises(RuntimeError, match="entered once"):
        await runtime.__aenter__()


async def test_a_start_that_cancels_itself_unwinds_too() -> None:
    """S3: nothing waits for what will never come."""
    log = Log()
    runtime = runtime_of(log, {"a": [], "b": ["a"]}, b={"starting": fails(asyncio.CancelledError("b"))})
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(runtime.__aenter__(), 5)
    assert log.of("a") == ["a starts", "a up", "a stops", "a gone"]


async def test_an_entry_that_is_cancelled_unwinds() -> None:
    log = Log()
    runtime = runtime_of(log, {"a": [], "b": ["a"]}, b={"starting": forever})
    entering = asyncio.create_task(runtime.__aenter__())
    while "b starts" not in log:
        await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert log[-4:] == ["b: CancelledError", "b gone", "a stops", "a gone"]


async def test_a_start_that_is_given_up_waits_for_no_propagation(virtual_clock: VirtualClock) -> None:
    """Its readiness was not announced."""
    log, begun = Log(), asyncio.get_running_loop().time()
    runtime = log.provided(Runtime(shutdown=Shutdown(propagation=7)), "a", starting=forever)
    entering = asyncio.create_task(runtime.__aenter__())
    while "a starts" not in log:
        await asyncio.sleep(0)
    runtime._begin_close(drain=True)  # type: ignore[unused-awaitable] # as a signal does
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert log[-1] == "a gone"
    assert asyncio.get_running_loop().time() - begun < 0.1


async def test_a_start_timeout_still_stops_what_started(virtual_clock: VirtualClock) -> None:
    """S5."""
    log, begun = Log(), asyncio.get_running_loop().time()
    runtime = log.provided(Runtime(), "a")
    runtime.provide(Key[str]("b"), log.service("b", "a", starting=forever), start_timeout=5)
    with pytest.raises(TimedOut, match="service b did not start within 5 s"):
        await runtime.__aenter__()
    assert log[-4:] == ["b: CancelledError", "b gone", "a stops", "a gone"]
    assert asyncio.get_running_loop().time() - begun == pytest.approx(5, abs=0.1)


async def test_a_start_that_takes_no_cancel_is_left_behind_and_reported(virtual_clock: VirtualClock) -> None:
    log = Log()
    runtime = Runtime().provide(Key[str]("b"), log.service("b", starting=stubborn), start_timeout=1)
    with pytest.raises(TimedOut):
        await runtime.__aenter__()
    assert runtime.report is not None
    [step] = [step for step in runtime.report.steps if step.name == "stop b"]
    assert step.outcome == "abandoned"
    assert "in stubborn" in str(step.error)


class Store(Protocol):
    size: int

    def put(self, key: str) -> None: ...


class Wider(Store, Protocol):
    """One that extends another, with a member that has no value in the class."""

    name: str


class Memory:
    size = 0

    def put(self, key: str) -> None:
        self.size += 1


class Broken:
    def put(self, key: str) -> None: ...


@asynccontextmanager
async def open_memory() -> AsyncGenerator[Store]:
    yield Memory()


async def test_a_value_is_checked_against_its_key() -> None:
    log = Log()
    async with Runtime().provide(Store, open_memory).provide(Memory, log.service("m", value=Memory())) as runtime:
        runtime.get(Store).put("x")
        assert runtime.get(Store).size == 1
    with pytest.raises(ConfigError, match=r"gave Broken, which is no Store: it lacks size"):
        await Runtime().provide(Store, log.service("broken", value=Broken())).__aenter__()
    assert log[-2:] == ["broken: ConfigError", "broken gone"]
    with pytest.raises(ConfigError, match=r"gave Memory, which is no Wider: it lacks name$"):
        await Runtime().provide(Wider, log.service("narrow", value=Memory())).__aenter__()
    with pytest.raises(ConfigError, match=r"gave Broken, which is no Memory"):
        await Runtime().provide(Memory, log.service("broken", value=Broken())).__aenter__()


def test_what_cannot_be_a_service_is_said_where_it_is_written() -> None:
    async def generator() -> AsyncGenerator[int]:
        yield 1

    async def coroutine() -> None: ...

    with pytest.raises(ConfigError, match="asynccontextmanager"):
        Runtime().provide(Key[int]("k"), generator)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="async context manager"):
        Runtime().provide(Key[Any]("k"), coroutine)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="provided twice"):
        Runtime().provide(Store, open_memory).provide(Store, open_memory)
    with pytest.raises(ConfigError, match="start_timeout"):
        Runtime().provide(Store, open_memory, start_timeout=-1)
    with pytest.raises(ConfigError, match="Key"):
        Key[int]("")
    with pytest.raises(ConfigError, match="need"):
        need(3)  # type: ignore[arg-type]
    assert Key[int]("a") == Key[str]("a") != Key[int]("b")


async def test_what_gives_no_context_manager_fails_its_start() -> None:
    with pytest.raises(ConfigError, match="no async context manager"):
        await Runtime().provide(Key[Any]("k"), lambda: 3).__aenter__()  # type: ignore[arg-type]


async def test_services_may_use_effects_and_submit_in_their_lives() -> None:
    log = Log()

    @effect
    async def work(n: int) -> int:
        await asyncio.sleep(0)
        log.append(f"work {n}")
        return n

    @asynccontextmanager
    async def make() -> AsyncGenerator[int]:
        value = await work(1)
        yield value
        await work(2)

    async with Runtime().provide(Key[int]("n"), make) as runtime:
        assert runtime.get(Key[int]("n")) == 1
    assert log == ["work 1", "work 2"]
    with pytest.raises(RuntimeError, match="before"):
        runtime.provide(Key[int]("late"), make)
    with pytest.raises(ServiceMissing):
        runtime.get(Key[int]("other"))


async def test_a_thousand_start_and_stop_in_little_more_than_the_slowest() -> None:
    """Real time: what is measured is the work that a service makes. A coarse bound, five times the target."""
    loop = asyncio.get_running_loop()
    runtime = Runtime()
    log = Log()
    for n in range(1000):
        log.provided(runtime, f"s{n}", starting=lambda: asyncio.sleep(0.1))
    begun = loop.time()
    async with runtime:
        started = loop.time() - begun
        begun = loop.time()
    stopped = loop.time() - begun
    assert started < 0.1 + 1
    assert stopped < 1
    assert len([line for line in log if line.endswith("gone")]) == 1000
    assert LONG
