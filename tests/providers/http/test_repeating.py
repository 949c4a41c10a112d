"""Requests that are sent again, and those that are not."""

import asyncio
import time
from email.utils import formatdate

import pytest

from mountain_runtime import Err, Ok, RateLimit, Retry, Timeout, constant, errors, gather, http, testing
from mountain_runtime.testing import VirtualClock
from tests.providers.http.server import Connection, Request, answering, serving


async def test_a_post_that_a_kept_connection_loses_is_sent_once() -> None:
    """The server reads it and closes."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.answer(200)
        connection.request()

    with serving(script) as server:
        client = http.Client(server.url)
        await client.post("/first")
        with pytest.raises(http.Unanswered, match="may have run") as caught:
            await client.post("/second").under(Retry(on=http.transient))
        assert not caught.value.repeatable
        assert [request.path for request in server.requests] == ["/first", "/second"]


async def test_one_with_a_key_is_repeated_when_that_is_asked_for() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        if len(server.requests) == 3:
            connection.answer(200, b"ok")

    with serving(script) as server:
        client = http.Client(server.url)
        with pytest.raises(http.Unanswered):
            await client.post("/", headers={"Idempotency-Key": "1"})
        assert len(server.requests) == 1
        answered = await client.post("/", headers={"Idempotency-Key": "1"}).under(Retry(on=http.transient, attempts=3))
        assert (answered.content, len(server.requests)) == (b"ok", 3)


async def test_a_get_that_a_kept_connection_loses_is_sent_once_more() -> None:
    """It changes nothing, and the server may have closed the connection before it came."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.answer(200)
        connection.request()

    with serving(script) as server:
        client = http.Client(server.url)
        await client.get("/1")
        await client.get("/2")
        assert [request.path for request in server.requests] == ["/1", "/2", "/2"]


async def test_a_connection_that_its_server_has_closed_is_not_used_again() -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.answer(200)

    with serving(script) as server:
        client = http.Client(server.url)
        for n in range(20):
            await client.get(f"/{n}")
        assert server.connections == 20


def in_python(error: Exception) -> bool | float:
    """The same judgement, which the engine has to ask Python for."""
    return http.transient(error)


STATUSES = {200: 1, 400: 1, 404: 1, 408: 1, 429: 2, 500: 2, 501: 1, 502: 2, 503: 2, 504: 2}


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("status", STATUSES)
async def test_statuses_that_pass_are_tried_again(status: int, inline: bool) -> None:
    with serving(answering(lambda connection, _: connection.answer(status, retry_after="0"))) as server:
        client = http.Client(server.url)
        on = in_python if inline else http.transient
        retry = Retry(on=on, attempts=2)
        outcome = await client.get("/").under(retry).attempt(http.StatusError)
        assert isinstance(outcome, Ok if status == 200 else Err)
        assert len(server.requests) == STATUSES[status]
        await client.post("/").under(retry).attempt(http.StatusError)
        assert len(server.requests) == STATUSES[status] + 1, "a POST may have run"


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_the_wait_that_a_server_asks_for(virtual_clock: VirtualClock) -> None:
    cases = {"1": 1.0, formatdate(time.time() - 100, usegmt=True): 0.0, "abc": 0.25, "9999999999": 5.0, "-1": 0.25}
    for text, expected in cases.items():

        def answer(connection: Connection, request: Request, text: str = text) -> None:
            connection.answer(503 if len(connection.server.requests) == 1 else 200, retry_after=text)

        with serving(answering(answer)) as server:
            retry = Retry(on=http.transient, attempts=2, backoff=constant(0.25), max_retry_after=5)
            before = virtual_clock.time()
            await http.Client(server.url).get("/").under(retry)
            assert virtual_clock.time() - before == pytest.approx(expected, abs=0.01), text


async def test_a_date_that_is_to_come() -> None:
    with serving(
        answering(lambda connection, _: connection.answer(429, retry_after=formatdate(time.time() + 3, usegmt=True)))
    ) as server:
        answered = await http.Client(server.url).get("/", check=False)
        assert answered.retry_after is not None
        assert 1 < answered.retry_after <= 3


@pytest.mark.parametrize("inline", [False, True])
async def test_an_attempt_that_ran_out_of_time_is_tried_again_where_it_may_be(inline: bool) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.read()

    with serving(script) as server:
        client = http.Client(server.url)
        on = in_python if inline else http.transient
        policies = (Retry(on=on, attempts=2), Timeout(0.05))  # real: a socket knows no virtual time
        with pytest.raises(errors.TimedOut):
            await client.get("/").under(*policies)
        with pytest.raises(errors.TimedOut):
            await client.post("/").under(*policies)
        async with asyncio.timeout(10):  # real: a request that is sent is read on the server's own threads
            while sorted(request.method for request in server.requests) != ["GET", "GET", "POST"]:
                await asyncio.sleep(0.001)


def test_transient_judges_each_kind_of_failure() -> None:
    assert http.transient(ConnectionRefusedError(111, "no"))
    assert http.transient(OSError(113, "no way"))
    assert http.transient(http.Unanswered(104, "lost", True))
    assert not http.transient(http.Unanswered(104, "lost", False))
    assert not http.transient(PermissionError(13, "refused"))
    assert not http.transient(FileNotFoundError(2, "no file"))
    assert not http.transient(http.ProtocolError("bad"))
    assert not http.transient(ValueError("bad"))
    assert not http.transient(errors.TimedOut("late", effect="http.post"))
    assert http.transient(errors.TimedOut("late", effect="http.get"))


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_server_that_has_had_enough_is_left_alone_by_all_calls(virtual_clock: VirtualClock) -> None:
    """As the guide has it: the wait that one call is asked for pauses the rate limit of all."""
    limit = RateLimit(100, per=1)
    times: list[float] = []

    def on(error: Exception) -> bool | float:
        if isinstance(error, http.StatusError) and error.response.retry_after is not None:
            limit.pause(error.response.retry_after)
        return http.transient(error)

    def answer(request: testing.Request) -> testing.Reply:
        times.append(virtual_clock.time())
        return testing.Reply(429, headers={"Retry-After": "7"}) if len(times) == 1 else testing.Reply()

    with testing.http(answer):
        get = http.Client("http://a.test").get("/").under(Retry(on=on, attempts=3), limit)
        first = asyncio.ensure_future(get)
        await asyncio.sleep(1)
        await gather(get, get)
        await first
    assert times[0] == 0
    assert len(times) == 4
    assert min(times[1:]) >= 7
