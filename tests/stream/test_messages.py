"""Errors, notes and logs name a stream as a stream."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from mountain_runtime import CircuitBreaker, Idle, RateLimit, Retry, Runtime, Timeout, constant, effect, stream
from mountain_runtime.errors import CircuitOpen, RateLimited, ShuttingDown, TimedOut
from mountain_runtime.testing import open_circuit


@stream(Idle(1))
async def tokens(source: object = None) -> AsyncIterator[str]:
    yield "a"
    await asyncio.sleep(60)


async def failure(kind: type[Exception], *policies: Timeout | Retry | RateLimit | CircuitBreaker) -> Exception:
    with pytest.raises(kind) as ended:
        async for _ in tokens().under(*policies):
            pass
    return ended.value


@stream(Retry(on=OSError, attempts=2, backoff=constant(0.5)))
async def refused() -> AsyncIterator[str]:
    raise OSError("refused")
    yield ""


@pytest.mark.usefixtures("virtual_clock")
async def test_a_limit_that_passes() -> None:
    assert str(await failure(TimedOut)).startswith("stream 'tokens' ran out of time: Idle(1) passed in attempt 1")
    assert str(await failure(TimedOut, Timeout(0))).startswith("stream 'tokens' was not started: Timeout(0) had passed")


@pytest.mark.usefixtures("virtual_clock")
async def test_a_refusal() -> None:
    breaker = CircuitBreaker(name="llm")
    open_circuit(breaker)
    assert str(await failure(CircuitOpen, breaker)).startswith("stream 'tokens' was not started: ")
    limit = RateLimit(1, per=60, max_wait=0)
    limit.charge(1)
    assert str(await failure(RateLimited, limit)).startswith("stream 'tokens' was not started: ")


async def test_a_runtime_that_is_closed() -> None:
    async with Runtime() as runtime:
        go = asyncio.Event()

        async def later() -> str:
            await go.wait()
            return str(await failure(ShuttingDown))

        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    assert runtime.report is not None
    go.set()
    assert (await task).startswith("stream 'tokens' was not started: its runtime is closed")


@pytest.mark.usefixtures("virtual_clock")
async def test_a_limit_of_the_stream_around() -> None:
    @effect(Retry(on=OSError, backoff=constant(5)))
    async def word() -> str:
        raise OSError("refused")

    @stream(Timeout(1))
    async def words() -> AsyncIterator[str]:
        yield await word()

    with pytest.raises(OSError, match="refused") as ended:
        async for _ in words():
            pass
    assert "does not fit Timeout(1) of stream '" in ended.value.__notes__[0]


@pytest.mark.usefixtures("virtual_clock")
async def test_the_notes_and_the_log_of_a_retry(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="mountain_runtime.policy")
    with pytest.raises(OSError, match="refused") as ended:
        async for _ in refused():
            pass
    assert ended.value.__notes__ == ["stream 'refused' was attempted 2 times; this is the last failure"]
    with pytest.raises(OSError, match="refused") as ended:
        async for _ in refused().under(Timeout(0.1)):
            pass
    assert ended.value.__notes__ == [
        "stream 'refused' was not tried again: the wait of 0.5 s does not fit Timeout(0.1), of which 0.1 s are left"
    ]
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(" in ")[0].partition(" after ")[0] for text in said] == [
        "stream 'refused' failed",
        "stream 'refused' gave up",
        "stream 'refused' gave up",
    ]


@pytest.mark.usefixtures("virtual_clock")
async def test_a_mistake_in_a_policy_s_function() -> None:
    wait = Retry(on=OSError, backoff=lambda attempt: -attempt)
    with pytest.raises(ValueError, match="backoff= of stream 'refused' gave -1"):
        async for _ in refused().under(wait):
            pass
    with pytest.raises(ValueError, match="cost= of stream 'tokens' gave -1"):
        async for _ in tokens().under(RateLimit(1, per=1, cost=lambda *_: -1)):
            pass


def test_a_generator_as_an_argument() -> None:
    def items() -> Iterator[str]:
        yield "a"

    with pytest.raises(TypeError, match="stream 'tokens' may be called again and was given a generator"):
        tokens(items()).under(Retry(on=OSError))
