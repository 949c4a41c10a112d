"""The examples of the specification of JSON-RPC 2.0, word for word, and what it leaves open."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import effect, rpc
from tests.rpc.support import Caller, calling, served


def router() -> rpc.Router:
    made = rpc.Router()

    @made.command("subtract")
    @effect
    async def subtract(minuend: int, subtrahend: int) -> int:
        return minuend - subtrahend

    @made.command("sum")
    @effect
    async def total(a: int, b: int, c: int) -> int:
        return a + b + c

    @made.command("get_data")
    @effect
    async def get_data() -> tuple[str, int]:
        return "hello", 5

    @made.command("update")
    @effect
    async def update(a: int, b: int, c: int, d: int, e: int) -> None: ...

    @made.command("notify_hello")
    @effect
    async def hello(number: int) -> None: ...

    @made.command("notify_sum")
    @effect
    async def notify_sum(a: int, b: int, c: int) -> None: ...

    @made.command("ping")
    @effect
    async def ping() -> str:
        return "pong"

    @made.command("echo")
    @effect
    async def echo(value: Any) -> Any:
        return value

    released = asyncio.Event()

    @made.command("wait")
    @effect
    async def wait() -> None:
        await released.wait()

    @made.command("release")
    @effect
    async def release() -> None:
        released.set()

    return made


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    path = tmp_path / "s"
    async with served(router(), f"unix:{path}"), calling(path) as caller:
        yield caller


def without_texts(answer: Any) -> Any:
    """Messages are our own; the specification's are examples of them."""
    if isinstance(answer, list):
        return sorted((without_texts(each) for each in answer), key=lambda each: json.dumps(each, sort_keys=True))
    if isinstance(answer, dict) and "error" in answer:
        return answer | {"error": {"code": answer["error"]["code"]}}
    return answer


async def examples(caller: Caller, pairs: list[tuple[str, str | None]]) -> None:
    for sent, answer in pairs:
        caller.send(sent.encode())
        if answer is not None:
            assert without_texts(await caller.receive()) == without_texts(json.loads(answer)), sent
    caller.request("last", "ping")  # nothing else came
    assert await caller.receive() == {"jsonrpc": "2.0", "id": "last", "result": "pong"}


async def test_calls_and_notifications(caller: Caller) -> None:
    await examples(
        caller,
        [
            (
                '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
                '{"jsonrpc": "2.0", "result": 19, "id": 1}',
            ),
            (
                '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
                '{"jsonrpc": "2.0", "result": -19, "id": 2}',
            ),
            (
                '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
                '{"jsonrpc": "2.0", "result": 19, "id": 3}',
            ),
            (
                '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
                '{"jsonrpc": "2.0", "result": 19, "id": 4}',
            ),
            ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
            ('{"jsonrpc": "2.0", "method": "foobar"}', None),
            (
                '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
                '{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}',
            ),
            (
                '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
                '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
            ),
            (
                '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
                '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}',
            ),
        ],
    )


INVALID = '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}'


async def test_batches(caller: Caller) -> None:
    """R5, too."""
    await examples(
        caller,
        [
            (
                '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
                '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
            ),
            ("[]", INVALID),
            ("[1]", f"[{INVALID}]"),
            ("[1,2,3]", f"[{INVALID}, {INVALID}, {INVALID}]"),
            (
                """[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
    ]""",
                """[
        {"jsonrpc": "2.0", "result": 7, "id": "1"},
        {"jsonrpc": "2.0", "result": 19, "id": "2"},
        {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
        {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
        {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}
    ]""",
            ),
            (
                """[
        {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
    ]""",
                None,
            ),
        ],
    )


@pytest.mark.parametrize(
    "written", ['"1"', "1", '"req-a"', "0", "-7", "1.5", "12345678901234567890123", '""', '"\\u6f22"', "null", "1e3"]
)
async def test_an_answer_has_exactly_the_id_and_its_type(caller: Caller, written: str) -> None:
    """R4."""
    caller.send(b'{"jsonrpc":"2.0","method":"ping","id":%b}' % written.encode())
    head = await caller.reader.readuntil(b"\r\n\r\n")
    body = await caller.reader.readexactly(int(head.split(b":")[1]))
    assert body == b'{"jsonrpc":"2.0","id":%b,"result":"pong"}' % written.encode()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b'{"jsonrpc":"2.0","method":"ping","id":{}}', -32600),
        (b'{"jsonrpc":"2.0","method":"ping","id":[1]}', -32600),
        (b'{"jsonrpc":"2.0","method":"ping","id":true}', -32600),
        (b'{"jsonrpc":"2.0","method":"ping","id":1e999}', -32600),
        (b'{"jsonrpc":"2.0","method":"ping","id":' + b"9" * 5000 + b"}", -32600),
        (b'{"jsonrpc":2.0,"method":"ping","id":1}', -32600),
        (b'{"jsonrpc":"2.0","method":7,"id":1}', -32600),
        (b'{"jsonrpc":"2.0","method":null,"id":1}', -32600),
        (b'{"jsonrpc":"2.0","method":"ping","id":"\xff"}', -32700),
        (b'{"jsonrpc":"2.0","method":"\xff","id":1}', -32700),
        (b'{"jsonrpc":"1.0","method":"ping","id":1}', -32600),
        (b'{"method":"ping","id":1}', -32600),
        (b'{"jsonrpc":"2.0","method":"ping","id":1,"params":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"result":7}', -32600),
        (b'{"jsonrpc":"2.0","method":"echo","id":1,"params":[NaN]}', -32700),
        (b'{"jsonrpc":"2.0","method":"echo","id":1,"params":["\xff"]}', -32700),
        (b'{"jsonrpc":"2.0","method":"echo","id":1,"params":["\\ud800"]}', -32700),
        (b'{"jsonrpc":"2.0","method":"echo","id":1,"params":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", -32700),
        (b"[" * 100_000, -32700),
        (b"[" + b",".join([b'{"jsonrpc":"2.0","method":"ping"}'] * 1001) + b"]", -32600),
        (b"", -32700),
        (b"7", -32600),
        (b'"ping"', -32600),
        (b"null", -32600),
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"ping","id":1}', -32700),
    ],
)
async def test_what_is_no_request_has_an_answer_and_harms_nothing(caller: Caller, sent: bytes, code: int) -> None:
    answer = await caller.ask(sent)
    assert answer["error"]["code"] == code
    # The id, where it can be told: without it a caller would wait for ever.
    told = code == -32600 and b'"id":1' in sent and b'"id":1e999' not in sent and b'"result"' not in sent
    assert answer["id"] == (1 if told else None)
    caller.request(2, "ping")
    assert (await caller.receive())["result"] == "pong"


async def test_an_id_that_is_not_answered_yet_is_not_told_again(caller: Caller) -> None:
    """Its caller would take the refusal for the answer."""
    caller.request(1, "wait")
    caller.request(1, "ping")
    answer = await caller.receive()
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)
    caller.notify("release")
    assert (await caller.receive())["id"] == 1


async def test_a_batch_is_read_no_further_than_its_bound(caller: Caller) -> None:
    tracemalloc.start()
    try:
        answer = await caller.ask(b"[" + b"1," * 2_000_000 + b"1]")
        assert tracemalloc.get_traced_memory()[1] < 40 << 20  # it has 4 MB, and 2 million values 100 MB
    finally:
        tracemalloc.stop()
    assert "a batch of more than 1000" in answer["error"]["message"]


async def test_the_last_of_two_equal_members_counts(caller: Caller) -> None:
    answer = await caller.ask(
        b'{"jsonrpc":"2.0","method":"foo","method":"subtract","id":7,"id":8,"params":[2,1],"params":[5,1]}'
    )
    assert answer == {"jsonrpc": "2.0", "id": 8, "result": 4}


@pytest.mark.parametrize("value", ["漢字", "\x00\x1f\u2028", 2**70, 1e308, {"": [None, True]}, "x" * 300_000])
async def test_values_come_back_as_they_are(caller: Caller, value: Any) -> None:
    caller.request(1, "echo", [value])
    assert (await caller.receive())["result"] == value
