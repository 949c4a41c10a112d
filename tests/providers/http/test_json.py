"""Large JSON answers: their value is that of `json.loads`, and the loop goes on while it is built."""

import asyncio
import contextlib
import gc
import json
import math
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountain_runtime import Runtime, http
from tests.providers.http.server import Connection, Request, Server, answering, serving

#: Behind a document it changes nothing, and makes it large.
PAD = b" " * (256 << 10)


@contextlib.contextmanager
def telling(body: bytes, kind: str = "application/json") -> Iterator[Server]:
    with serving(answering(lambda connection, _: connection.answer(200, body, content_type=kind))) as server:
        yield server


async def asked(body: bytes, kind: str = "application/json") -> http.Response:
    with telling(body, kind) as server:
        return await http.Client(server.url).get("/")


@contextlib.contextmanager
def read_by_json() -> Iterator[list[str]]:
    """The calls of `json.loads`."""
    calls: list[str] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is json.loads.__code__:
            calls.append("loads")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def same(one: Any, other: Any) -> bool:
    """With the types, the order of keys, and NaN equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and (
            one == other or (math.isnan(one) and math.isnan(other))
        )
    return bool(one == other)


async def check(body: bytes) -> None:
    answer = await asked(body)
    expected, failure = None, None
    try:
        expected = json.loads(body)
    except (ValueError, RecursionError) as error:
        failure = error
    if failure is not None:
        with pytest.raises(type(failure)) as seen:
            answer.json()
        assert str(seen.value) == str(failure)
        return
    first = answer.json()
    second = answer.json()
    assert same(first, expected)
    assert same(second, expected)
    assert first is not second or not isinstance(first, (list, dict))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**30), 10**30) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
PIECES = [
    *'[]{},:"\\ \t\n-+.0123eE',
    "true",
    "null",
    "NaN",
    "Infinity",
    "\\u00e9",
    "\\ud800",
    "\\udc00",
    '"a"',
    "é",
    "\0",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: "".join(pieces).encode())


@settings(max_examples=60)
@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
async def test_what_is_written_is_read(value: Any, ascii_only: bool, indent: int | None) -> None:
    await check(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass") + PAD)


@settings(max_examples=60)
@given(TEXTS | st.binary(max_size=12))
async def test_what_is_no_json_is_the_same_error(text: bytes) -> None:
    await check(text + PAD)


ODD = {
    "a lone surrogate": rb'["\ud800"]',
    "a pair of surrogates": rb'["\ud83d\ude00"]',
    "a surrogate in bytes": b'["\xed\xa0\x80"]',
    "bytes that are no UTF-8": b'["\xff"]',
    "a byte order mark": b"\xef\xbb\xbf[1]",
    "UTF-16": "[1]".encode("utf-16"),
    "not a number": b"[NaN, Infinity, -Infinity]",
    "keys that come twice": b'{"a": 1, "b": 2, "a": {"a": 3, "a": 4}}',
    "depth": b"[" * 200 + b"]" * 200,
    "more depth": b"[" * 201 + b"]" * 201,
    "too much depth": b"[" * 100_000 + b"]" * 100_000,
    "a large number": b"[9223372036854775807, 9223372036854775808, -9223372036854775809, -0, " + b"9" * 4000 + b"]",
    "more digits than Python takes": b"[" + b"9" * 5000 + b"]",
    "large and small floats": b"[1e999, -1e999, 1e-999, -0.0, 5e-324, 1.7976931348623157e308, 0.1e1, 1E+2]",
    "a zero in front": b"[01]",
    "a control character": b'["a\tb"]',
    "two documents": b"[1] [2]",
    "no end": b'{"a": [1, 2',
    "nothing": b"",
    "a text alone": b'"text"',
    "a number alone": b"1",
    "empty containers": b'[[], {}, [[]], {"a": {}}]',
    "empty keys and texts": b'{"": "", "a": [""]}',
    "a zero byte": b'["a\\u0000b"]',
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
async def test_what_is_odd_is_as_json_has_it(body: bytes) -> None:
    await check(body + PAD)


async def test_keys_without_end_are_right() -> None:
    await check(json.dumps([{f"key {number}": number, "same": [number]} for number in range(20_000)]).encode())


async def test_the_value_is_built_once_and_read_anew_after_that() -> None:
    body = b'{"a": [1, {"b": null}]}' + PAD
    for kind in ("application/json", "application/problem+json; charset=utf-8"):
        answer = await asked(body, kind)
        with read_by_json() as calls:
            first = answer.json()
            assert calls == []
            second = answer.json()
        assert calls == ["loads"]
        assert first == second == {"a": [1, {"b": None}]}
        first["a"].clear()
        assert second["a"] == answer.json()["a"] == [1, {"b": None}]
        assert answer.content == body


async def test_a_small_answer_and_another_type_are_read_when_they_are_asked_for() -> None:
    for body, kind in ((b"[1]", "application/json"), (b"[1]" + PAD, "text/plain")):
        answer = await asked(body, kind)
        with read_by_json() as calls:
            assert answer.json() == [1]
        assert calls == ["loads"]


RECORDS = [{"marked": n, "name": f"user {n}", "tags": ["a", "b"], "score": n / 7} for n in range(150_000)]


@pytest.mark.serial
async def test_the_loop_goes_on_while_a_large_answer_is_built() -> None:
    body = json.dumps(RECORDS).encode()
    begun = time.thread_time()
    expected = json.loads(body)
    alone = time.thread_time() - begun
    longest, turns = 0.0, 0
    gc.disable()  # a full pass takes as long as the program has objects, whatever makes them
    try:
        with telling(body) as server:
            request = asyncio.ensure_future(http.Client(server.url).get("/"))
            # The loop's own computing in a turn: what other programs take is no stall of it.
            last = time.thread_time()
            while not request.done():
                await asyncio.sleep(0)
                now = time.thread_time()
                longest, last, turns = max(longest, now - last), now, turns + 1
            begun = time.thread_time()
            value = (await request).json()
            longest = max(longest, time.thread_time() - begun)
    finally:
        gc.enable()
    assert value == expected
    assert longest < alone / 3, f"{longest:.3f} s of {alone:.3f} s in {turns} turns"


def marked() -> int:
    """The objects of an answer that are alive. The collector knows of those that hold others."""
    return sum(type(thing) is dict and "partial" in thing for thing in gc.get_objects())


PARTIAL = json.dumps([{"partial": [number]} for number in range(40_000)]).encode()


async def test_a_cancel_stops_it_and_leaves_nothing() -> None:
    most = 0
    with telling(PARTIAL) as server:
        async with Runtime(), http.Client(server.url) as client:
            for share in (1, 2, 3, 5, 8):
                request = asyncio.ensure_future(client.get("/"))
                while not request.done() and marked() < 1000 * share:
                    await asyncio.sleep(0)
                most = max(most, marked())
                request.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await request
                del request
                async with asyncio.timeout(10):  # real: the part that is under way ends on another thread
                    while marked():
                        await asyncio.sleep(0.001)
            assert len((await client.get("/")).json()) == 40_000
    assert 0 < most < 40_000


def test_a_loop_that_is_closed_meanwhile_leaves_nothing() -> None:
    async def half(url: str) -> None:
        asyncio.ensure_future(http.Client(url).get("/"))
        while not marked():
            await asyncio.sleep(0)

    async def after(url: str) -> int:
        client = http.Client(url)
        async with asyncio.timeout(10):  # real: the part that is under way ends on another thread
            while marked():
                await client.request("HEAD", "/")
        return len((await client.get("/")).json())

    def answer(connection: Connection, request: Request) -> None:
        connection.answer(200, PARTIAL if request.method == "GET" else b"", content_type="application/json")

    with serving(answering(answer)) as server:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(half(server.url))
        assert 0 < marked() < 40_000
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.close()
        del loop
        gc.collect()
        assert asyncio.run(after(server.url)) == 40_000


NO_JSON = [
    (200, b"<html>Hello</html>", {"content_type": "text/html"}, '200 and Content-Type text/html, and is "<html>'),
    (204, b"", {}, "204 and no Content-Type, and has no body"),
    (200, b"x" * 1000, {"content_type": "application/json"}, 'and begins with "' + "x" * 100 + '"'),
    (200, b"\xff\xfe\xff", {}, "and no Content-Type, and is"),
]


@pytest.mark.parametrize(("status", "body", "headers", "note"), NO_JSON)
async def test_the_error_of_an_answer_that_is_no_json_says_what_it_is(
    status: int, body: bytes, headers: dict[str, str], note: str
) -> None:
    with serving(answering(lambda connection, _: connection.answer(status, body, **headers))) as server:
        answered = await http.Client(server.url).get("/x")
        with pytest.raises(ValueError) as caught:
            answered.json()
        (told,) = caught.value.__notes__
        assert told.startswith(f"the answer of {server.url}/x has status ")
        assert note in told
