"""Code that moves from tenacity, aiolimiter, async-lru and asyncio to this library does what it did."""

import asyncio
import json
import runpy
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.examples.redirect.sitecustomize import redirected
from tests.examples.servers import Answer, Asked, Server, most_at_once, most_in, serving
from tests.examples.support import PROGRAMS

#: More than the ten that may start in a second, and than the five that may be at work.
USERS = range(14)
LOST = "/users/7"


def load(monkeypatch: pytest.MonkeyPatch, server: Server) -> dict[str, Any]:
    send = redirected({"api.example": server.server_port})
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", send)
    return runpy.run_path(str(PROGRAMS / "migrate.py"))


# aiolimiter's limit is a bucket: it lets ten go, and more within the same second. Ours is what it says.
@pytest.mark.parametrize(("name", "in_a_second"), [("user_before", 19), ("user", 10)])
def test_both_halves_give_the_same_and_ask_as_little(
    monkeypatch: pytest.MonkeyPatch, name: str, in_a_second: int
) -> None:
    lost: list[str] = []

    def answer(asked: Asked) -> Answer:
        if asked.path == LOST and not lost:
            lost.append(asked.path)
            return None
        time.sleep(0.1)  # so that several are at work at the same time
        return json.dumps({"path": asked.path})

    with serving(answer) as server:
        program = load(monkeypatch, server)

        async def main() -> list[list[dict[str, str]]]:
            """Two callers for each user, at once; then as many again, who find all in the cache."""
            async with program["client"]:
                return [await asyncio.gather(*map(program[name], [*USERS, *USERS])) for _ in range(2)]

        values = asyncio.run(main())

    paths = [f"/users/{user}" for user in USERS]
    assert values == [[{"path": path} for path in [*paths, *paths]]] * 2
    # One request for a user however many callers ask, and a second one where the first was lost.
    assert Counter(each.path for each in server.asked) == {path: 1 + (path == LOST) for path in paths}
    assert most_at_once(each.span for each in server.asked) == 5
    assert most_in(0.9, [each.began for each in server.asked]) <= in_a_second  # a tenth for the way to the server


def test_a_call_of_a_function_of_somebody_elses_under_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda asked: "all well" if len(server.asked) > 2 else None) as server:
        program = load(monkeypatch, server)

        async def main() -> httpx.Response:
            async with program["client"]:
                return await program["ad_hoc"]()

        answer = asyncio.run(main())
    assert (answer.text, answer.url, len(server.asked)) == ("all well", "https://api.example", 3)
