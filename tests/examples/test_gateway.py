"""The gateway, in virtual time: two upstreams on its host names, one that thinks, one that is small."""

import asyncio
import json
import runpy
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from mountain_runtime import errors
from mountain_runtime.testing import Reply, Request, VirtualClock, http
from tests.examples.support import GATEWAY

#: The upstreams, by the ports that the program asks them at.
PORTS = {8001: "big", 8002: "small"}
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


@dataclass
class Upstreams:
    clock: VirtualClock
    plan: Callable[[Asked, int], Plan] = field(default=lambda asked, number: (0.1, 200, [0.1] * 5))
    asked: list[Asked] = field(default_factory=list)

    async def answer(self, request: Request) -> Reply:
        body = request.json()
        parts = urlsplit(request.url)
        asked = Asked(PORTS[parts.port or 80], body["tenant"], body["q"], self.clock.time())
        self.asked.append(asked)
        wait, status, tokens = self.plan(asked, len(self.asked))
        try:
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            asked.cancelled = True
            raise
        if parts.path == "/v1/stream" and status == 200:
            return Reply(body=self.tokens(asked, tokens))
        asked.ended = self.clock.time()
        headers = {"retry-after": "2"} if status == 429 else {}
        return Reply(status, json={"text": f"{asked.host}: {asked.text}"}, headers=headers)

    async def tokens(self, asked: Asked, waits: list[float]) -> AsyncIterator[bytes]:
        """A token a line, `waits` seconds apart; closed by the client, or at its end."""
        try:
            for number, wait in enumerate(waits):
                await asyncio.sleep(wait)
                yield json.dumps({"token": f"{number} "}).encode() + b"\n"
        finally:
            asked.ended = self.clock.time()

    def at(self, host: str) -> list[Asked]:
        return [each for each in self.asked if each.host == host]


@pytest.fixture
def upstreams(virtual_clock: VirtualClock) -> Iterator[Upstreams]:
    made = Upstreams(virtual_clock)
    with http(made.answer):
        yield made


@pytest.fixture
def gateway(upstreams: Upstreams) -> dict[str, Any]:
    return runpy.run_path(str(GATEWAY))


async def test_what_the_big_one_fails_the_small_one_answers(gateway: dict[str, Any], upstreams: Upstreams) -> None:
    upstreams.plan = lambda asked, number: (0.1, 500 if asked.host == "big" else 200, [])
    assert await gateway["ask"]("ann", "why?") == "small: why?"
    assert [each.text for each in upstreams.at("small")] == ["why?"]
    for _ in range(20):
        assert await gateway["ask"]("ann", "so?") == "small: so?"
    assert len(upstreams.at("big")) == 20 * 3, "its breaker has opened: the small one is asked at once"


async def test_a_refusal_is_obeyed_and_tried_again(gateway: dict[str, Any], upstreams: Upstreams) -> None:
    upstreams.plan = lambda asked, number: (0.1, 429 if number == 1 else 200, [])
    assert await gateway["ask"]("ann", "why?") == "big: why?"
    first, second = upstreams.asked
    assert round(second.began - first.ended, 6) >= 2


async def test_a_slow_answer_is_hedged_once_a_hundred_were_seen(gateway: dict[str, Any], upstreams: Upstreams) -> None:
    upstreams.plan = lambda asked, number: (20.0 if asked.text == "slow" and number <= 101 else 0.1, 200, [])
    for tenant in range(100):
        await gateway["ask"](str(tenant), "quick")
    began = upstreams.clock.time()
    assert await gateway["ask"]("ann", "slow") == "big: slow"
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
