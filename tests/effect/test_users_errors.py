"""The user's exceptions come out as they are, whatever their own code does: frozen ones, those that cannot be shown."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Priority,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    amap,
    blocking,
    constant,
    deadline,
    effect,
    gather,
    priority,
    process,
    race,
    run,
    sidecar,
)

from .support import LONG, value

NOW = constant(0)


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int = 7


class Slotted(Exception):
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be set")


class NoNotes(Exception):
    def add_note(self, note: str, /) -> None:
        raise RuntimeError("takes no note")


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False


class NoBool(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("neither")


class Unequal(Exception):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Closed(Exception):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{name} is nobody's business")


KINDS: list[type[Exception]] = [Frozen, Slotted, NoNotes, Falsy, NoBool, Unequal, Mute, Closed]
each_kind = pytest.mark.parametrize("kind", KINDS)


async def out_of(work: Awaitable[object]) -> BaseException | None:
    """The error that it raises."""
    try:
        await work
    except Exception as error:
        return error
    return None


def failing(error: Exception) -> Callable[[], Awaitable[None]]:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise error

    return fails


@each_kind
async def test_out_of_every_block(kind: type[Exception]) -> None:
    limit = ConcurrencyLimit(1)
    source = [1, 2]
    blocks: list[Callable[[], Any]] = [
        lambda: deadline(LONG),
        limit.slot,
        Runtime,
        lambda: amap(effect(value), source, limit=1),
    ]
    for block in blocks:
        error = kind()

        async def body(block: Any = block, error: Exception = error) -> None:
            async with block():
                raise error

        assert (await out_of(body())) is error
    error = kind()

    async def prior() -> None:
        with priority(Priority.HIGH):
            raise error

    assert (await out_of(prior())) is error


@each_kind
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_out_of_a_program_s_block(kind: type[Exception]) -> None:
    for block in (process.open("cat"), sidecar("cat")()):
        error = kind()

        async def body(block: Any = block, error: Exception = error) -> None:
            async with block:
                raise error

        assert (await out_of(body())) is error


@each_kind
def test_out_of_run(kind: type[Exception]) -> None:
    error = kind()

    async def main(_: Runtime) -> None:
        raise error

    with pytest.raises(kind) as raised:
        run(main)
    assert raised.value is error


@each_kind
async def test_through_every_policy(kind: type[Exception]) -> None:
    async def again(error: Exception) -> None:
        raise error

    for policies in (
        (Retry(on=kind, attempts=3, backoff=NOW),),
        (Retry(on=lambda error: True, attempts=3, backoff=NOW),),
        (Timeout(1), Retry(on=kind, backoff=constant(LONG))),
        (CircuitBreaker(failures=9, on=kind),),
        (Fallback(again, on=kind),),
        (Timeout(LONG), ConcurrencyLimit(1), RateLimit(9, per=0.001), Cache(ttl=1)),
    ):
        error = kind()
        assert (await out_of(effect(*policies)(failing(error))())) is error, policies


@each_kind
async def test_through_everything_else(kind: type[Exception]) -> None:
    error = kind()
    work = effect(failing(error))

    @blocking
    def in_a_thread() -> None:
        raise error

    async with Runtime() as runtime:
        for each in (
            work().map(str),
            gather([work(), effect(value)(1)]),
            runtime.submit(work()),
            in_a_thread(),
            asyncio.to_thread(runtime.from_thread, work()),
        ):
            assert (await out_of(each)) is error
        raced = await out_of(race(work(), work()))
        assert isinstance(raced, ExceptionGroup)
        assert [each is error for each in raced.exceptions] == [True, True]
        found = await work().attempt(kind)
        assert found.error is error  # type: ignore[union-attr]


@each_kind
@pytest.mark.parametrize("standby", ["comes", "fails"])
async def test_a_service_that_fails_with_it(kind: type[Exception], standby: str) -> None:
    """Its state, its note about the fallback, and the report can all be had."""
    error = kind()

    class Store:
        pass

    @asynccontextmanager
    async def open_store() -> Any:
        raise error
        yield Store()

    @asynccontextmanager
    async def stand_in() -> Any:
        if standby == "fails":
            raise kind()
        yield Store()

    runtime = Runtime().provide(Store, open_store, fallback=stand_in)

    async def main() -> None:
        async with runtime:
            assert runtime.health().services[next(iter(runtime.health().services))].state == "degraded"

    raised = await out_of(main())
    assert raised is (error if standby == "fails" else None)
    assert str(runtime.report)


@each_kind
async def test_a_cleanup_that_fails_with_it_is_in_the_report(kind: type[Exception]) -> None:
    error = kind()
    async with Runtime() as runtime:
        runtime.defer(failing(error))
    assert runtime.report is not None
    assert next(step.error for step in runtime.report.steps if step.error is not None) is error
    assert kind.__name__ in runtime.report.to_json()
    assert str(runtime.report)


@each_kind
async def test_those_who_look_see_it(kind: type[Exception], complaints: list[str]) -> None:
    error = kind()
    async with Runtime(dashboard="127.0.0.1:0"):
        assert (await out_of(effect(Retry(on=kind, attempts=2, backoff=NOW))(failing(error))())) is error
    assert complaints == []


# -- whatever judges an error has it as its context -------------------------------------------------------------------


@each_kind
async def test_what_fails_while_it_judges_an_error_is_chained_to_it(kind: type[Exception]) -> None:
    def wrong(_: Exception) -> Any:
        raise kind()

    async def wrong_later(_: Exception) -> Any:
        await asyncio.sleep(0)
        raise kind()

    for policy in (
        Retry(on=wrong),
        Fallback(wrong, on=LookupError),
        Fallback(wrong_later, on=LookupError),
    ):
        judged = LookupError("the failure")
        raised = await out_of(effect(policy)(failing(judged))())
        assert isinstance(raised, kind)
        assert BaseException.__getattribute__(raised, "__context__") is judged


@pytest.mark.parametrize("answer", ["yes", object(), [1]])
async def test_an_answer_that_is_none_is_chained_to_what_was_judged(answer: Any) -> None:
    judged = LookupError("the failure")
    raised = await out_of(effect(Retry(on=lambda error: answer))(failing(judged))())
    assert isinstance(raised, TypeError)
    assert raised.__context__ is judged


async def test_a_judge_sees_where_the_error_came_from() -> None:
    """CPython 3.11 gives its traceback to an exception only when that is caught."""
    seen: list[Any] = []

    def looks(error: Exception) -> bool:
        seen.append(error.__traceback__)
        return False

    await out_of(effect(Retry(on=looks))(failing(LookupError()))())
    await out_of(effect(Fallback(looks, on=LookupError))(failing(LookupError()))())
    assert [traceback is not None and traceback.tb_frame.f_code.co_name for traceback in seen] == ["fails", "fails"]
