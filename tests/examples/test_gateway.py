"""The gateway, in virtual time: two upstreams on its host names, one that thinks, one that is small."""

import asyncio
import json
import runpy
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from mountain_runtime import errors
from mountain_runtime.testing import VirtualClock
from tests.examples.support import PROGRAMS

#: How the upstream answers: seconds until it does, a status, and the times between the tokens of a stream.
Plan = tuple[float, int, list[float]]


@dataclass(eq=False)
class Asked:
    host: str
    tenant: str
    text: str
    began: float
    ended: float = float("inf")
    cancelled: bool = False


class Tokens(httpx.AsyncByteStream):
    """A token a line, `waits` seconds apart; closed by the client, or at its end."""

    def __init__(self, asked: Asked, waits: list[float], clock: VirtualClock) -> None:
        self.asked, self.waits, self.clock = asked, waits, clock

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, wait in enumerate(self.waits):
            await asyncio.sleep(wait)
            yield json.dumps({"token": f"{number} "}).encode() + b"\n"

    async def aclose(self) -> None:
        self.asked.ended = self.clock.time()


@dataclass
class Upstreams:
    clock: VirtualClock
    plan: Callable[[Asked, int], Plan] = field(default=lambda asked, number: (0.1, 200, [0.1] * 5))
    asked: list[Asked] = field(default_factory=list)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        asked = Asked(request.url.host, body["tenant"], body["q"], self.clock.time())
        self.asked.append(asked)
        wait, status, tokens = self.plan(asked, len(self.asked))
        try:
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            asked.cancelled = True
            raise
        headers = {"retry-after": "2"} if status == 429 else None
        if request.url.path == "/v1/stream" and status == 200:
            return httpx.Response(200, stream=Tokens(asked, tokens, self.clock), request=request)
        asked.ended = self.clock.time()
        body = {"text": f"{asked.host}: {asked.text}"}
        return httpx.Response(status, json=body, headers=headers, request=request)

    def at(self, host: str) -> list[Asked]:
        return [each for each in self.asked if each.host == f"{host}.example"]


@pytest.fixture
def upstreams(virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Upstreams:
    made = Upstreams(virtual_clock)

    async def answer(_transport: object, request: httpx.Request) -> httpx.Response:
        return await made.answer(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    return made


@pytest.fixture
def gateway(upstreams: Upstreams) -> dict[str, Any]:
    return runpy.run_path(str(PROGRAMS / "gateway.py"))


async def test_what_the_big_one_fails_the_small_one_answers(gateway: dict[str, Any], upstreams: Upstreams) -> None:
    upstreams.plan = lambda asked, number: (0.1, 500 if asked.host == "big.example" else 200, [])
    assert await gateway["ask"]("ann", "why?") == "small.example: why?"
    assert [each.text for each in upstreams.at("small")] == ["why?"]
    for _ in range(20):
        assert await gateway["ask"]("ann", "so?") == "small.example: so?"
    assert len(upstreams.at("big")) < 21, "its breaker has opened: the small one is asked at once"


async def test_a_refusal_is_obeyed_and_tried_again(gateway: dict[str, Any], upstreams: Upstreams) -> None:
    upstreams.plan = lambda asked, number: (0.1, 429 if number == 1 else 200, [])
    assert await gateway["ask"]("ann", "why?") == "big.example: why?"
    first, second = upstreams.asked
    assert round(second.began - first.ended, 6) >= 2


async def test_a_slow_answer_is_hedged_once_a_hundred_were_seen(gateway: dict[str, Any], upstreams: Upstreams) -> None:
    upstreams.plan = lambda asked, number: (20.0 if asked.text == "slow" and number <= 101 else 0.1, 200, [])
    for tenant in range(100):
        await gateway["ask"](str(tenant), "quick")
    began = upstreams.clock.time()
    assert await gateway["ask"]("ann", "slow") == "big.example: slow"
    assert upstreams.clock.time() - began < 1
    slow = [each for each in upstreams.asked if each.text == "slow"]
    assert [each.cancelled for each in slow] == [True, False]


async def test_tokens_come_as_they_are_made(
    gateway: dict[str, Any], upstreams: Upstreams, capsys: pytest.CaptureFixture[str]
) -> None:
    await gateway["chat"]("ann", "why?")
    assert capsys.readouterr().out == "0 1 2 3 4 "
    assert upstreams.asked[0].ended < float("inf"), "the answer is closed"


async def test_a_stream_is_opened_again_until_its_first_token(
    gateway: dict[str, Any], upstreams: Upstreams, capsys: pytest.CaptureFixture[str]
) -> None:
    upstreams.plan = lambda asked, number: (0.1, 429 if number == 1 else 200, [0.1] * 3)
    await gateway["chat"]("ann", "why?")
    assert capsys.readouterr().out == "0 1 2 "
    assert len(upstreams.asked) == 2


async def test_a_stream_that_falls_silent_is_ended(gateway: dict[str, Any], upstreams: Upstreams) -> None:
    upstreams.plan = lambda asked, number: (0.1, 200, [0.1, 9.0, 11.0])
    got: list[str] = []
    with pytest.raises(errors.TimedOut, match=r"Idle\(10\)"):
        async with gateway["tokens"]("ann", "why?") as out:
            async for token in out:
                got.append(token)
    assert got == ["0 ", "1 "]
    assert round(upstreams.asked[0].ended, 3) == round(upstreams.clock.time(), 3) == 19.2


async def test_eight_streams_at_a_time_of_which_each_holds_its_place_to_the_end(
    gateway: dict[str, Any], upstreams: Upstreams
) -> None:
    async def read(number: int) -> None:
        async with gateway["tokens"](f"tenant {number}", "why?") as out:
            async for _ in out:
                pass

    await asyncio.gather(*map(read, range(10)))
    begun = sorted(each.began for each in upstreams.asked)
    assert begun[:8] == [0] * 8
    assert all(at >= 0.6 - 1e-9 for at in begun[8:])


async def test_a_chat_goes_before_other_work_of_its_tenant(gateway: dict[str, Any], upstreams: Upstreams) -> None:
    for number in range(60):
        await gateway["ask"]("ann", f"first {number}")
    later = asyncio.create_task(gateway["ask"]("ann", "later"))
    await asyncio.sleep(0)
    await gateway["chat"]("ann", "now")
    await later
    assert [each.text for each in upstreams.asked[60:]] == ["now", "later"]
