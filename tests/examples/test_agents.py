"""A hundred agents of three tenants, in virtual time: what their model is asked, and what an outage adds to that."""

import asyncio
import itertools
import json
import random
import re
import runpy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from mountain_runtime import testing
from mountain_runtime.process import Completed
from mountain_runtime.testing import VirtualClock
from tests.examples.servers import most_at_once, most_in
from tests.examples.support import PROGRAMS

#: The cost of each answer in the end. A prompt is taken for 500 and a little.
TOKENS = 2900


@dataclass(eq=False)
class Asked:
    """A request, in seconds of virtual time."""

    text: str
    status: int
    began: float
    ended: float = float("inf")

    @property
    def tenant(self) -> int:
        """The goals are numbered, and given to the tenants in turn."""
        found = re.search(r"goal (\d+)", self.text)
        assert found, self.text
        return int(found[1]) % 3


class Model:
    """https://llm.example, in this process: a server on a socket would be outrun by virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.asked: list[Asked] = []
        #: The status of the answer to a text.
        self.status: Callable[[str], int] = lambda text: 200

    async def answer(self, _transport: object, request: httpx.Request) -> httpx.Response:
        assert request.url == "https://llm.example/v1"
        text = json.loads(request.content)["q"]
        asked = Asked(text, self.status(text), self.clock.time())
        self.asked.append(asked)
        await asyncio.sleep(0.5 + len(self.asked) % 7 / 10)  # it thinks
        asked.ended = self.clock.time()
        body = {"text": f"plan for {text}\n", "usage": {"total_tokens": TOKENS}}
        headers = {"retry-after": "7"} if asked.status == 429 else None
        return httpx.Response(asked.status, json=body, headers=headers, request=request)

    def attempts(self) -> dict[str, list[Asked]]:
        by_text = defaultdict(list)
        for each in self.asked:
            by_text[each.text].append(each)
        return by_text


@pytest.fixture(autouse=True)
def ripgrep() -> Iterator[None]:
    """A stand-in for it, which finds the lines of the agents' program."""
    lines = (PROGRAMS / "agents.py").read_bytes().splitlines(keepends=True)
    with testing.process(lambda rg: Completed(stdout=b"".join(line for line in lines if rg.argv[2].encode() in line))):
        yield


@pytest.fixture
def model(virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Model:
    made = Model(virtual_clock)

    async def answer(transport: object, request: httpx.Request) -> httpx.Response:
        return await made.answer(transport, request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    monkeypatch.setattr(random, "random", itertools.count().__next__)  # the program's goals are numbers by chance
    return made


def run_agents() -> dict[str, Any]:
    """Runs the program; its functions and policies."""
    return runpy.run_path(str(PROGRAMS / "agents.py"), run_name="__main__")


def test_all_goals_are_reached_within_each_tenants_limits(model: Model) -> None:
    run_agents()
    assert len(model.attempts()) == 200  # a plan and an answer for each
    assert all("goal = f" in text for text in model.attempts() if text.startswith("plan for")), (
        "what grep found is asked with"
    )
    for tenant in range(3):
        asked = [each for each in model.asked if each.tenant == tenant]
        began = [each.began for each in asked]
        assert most_at_once((each.began, each.ended) for each in asked) == 8
        assert most_in(60, began) <= 60
        # The tokens: what was charged before a call starts is what there was from the beginning, and came in since.
        # The calls at work beside it are charged for the rest when they have ended.
        for at in began:
            charged = sum(TOKENS if each.ended <= at else 500 for each in asked if each.began < at)
            assert charged <= 100_000 + 100_000 * at / 60 + 8 * TOKENS
        # Neither limit has kept them longer than it must.
        assert 55 < max(began) < 75


def test_retry_after_is_obeyed(model: Model) -> None:
    refused: set[str] = set()

    def status(text: str) -> int:
        # The last ones, who find no queue any more: nothing else keeps them waiting.
        if text not in refused and re.match(r"plan for goal (8[5-9]|9\d)", text):
            refused.add(text)
            return 429
        return 200

    model.status = status
    run_agents()
    again = [attempts for attempts in model.attempts().values() if len(attempts) > 1]
    assert len(again) == 15
    for first, second in again:
        assert (first.status, second.status) == (429, 200)
        assert round(second.began - first.ended, 6) >= 7


def test_a_plan_that_failed_is_asked_for_in_another_way(model: Model) -> None:
    """A failure that is not transient is no matter for a retry, but for the agent."""
    model.status = lambda text: 400 if "plan for goal 5\n" in text else 200
    run_agents()
    failed = [each for each in model.asked if each.status == 400]
    assert len(failed) == 1
    told = [each.text for each in model.asked if each.text.startswith("goal 5 (last try failed: Client error '400")]
    assert len(told) == 1


def test_the_budget_bounds_what_retries_add_to_an_outage(model: Model) -> None:
    program = run_agents()
    complete, prompt = program["complete"], program["Prompt"]
    model.asked.clear()
    model.status = lambda text: 503 if text.endswith(("0", "5")) else 200

    async def main() -> list[str | BaseException]:
        calls = (complete(prompt(f"tenant {n % 10}", f"goal {n}")) for n in range(200))
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(main())
    ended = Counter(type(result).__name__ for result in results)
    assert ended == {"str": 160, "HTTPStatusError": 40}
    retried = len(model.asked) - 200
    # Two calls in ten and one a second are allowed, where forty calls would have made five retries each.
    took = model.asked[-1].began - model.asked[0].began
    assert 40 <= retried <= 0.2 * 200 + 10 + took
