"""Fuzz target: a session hears any lines, raises nothing into the loop, and answers each request once at most."""

import asyncio
import json
from collections import Counter
from contextvars import copy_context
from typing import Any

from mountain_runtime import effect
from mountain_runtime.rpc._commands.caller import Caller
from mountain_runtime.rpc._sessions.session import Session
from mountain_runtime.rpc._wires.wire import Wire
from tests.rpc.support import Log, small

_HEAD = b'{"jsonrpc":"2.0",'
#: Inputs to begin with.
SEEDS = [
    b"".join(_HEAD + line + b"\n" if line[0] != ord("[") else line + b"\n" for line in lines)
    for lines in (
        [b'"id":1,"method":"add","params":[1]}', b'"id":1,"method":"add","params":{"a":2}}'],
        [b'[{"jsonrpc":"2.0","id":"a","method":"echo","params":[{"x":[]}]},{"method":"note"},7]', b"[]"],
        [b'"method":"note","params":["t",3]}', b'"id":5.5,"method":"forever"}', b'"id":3,"result":1}'],
        [b'"id":null,"method":"wait","params":["w"]}', b'"method":"$/cancelRequest","params":{"id":null}}'],
        [
            b'"id":2,"method":"count","params":[9],"$meta":{"window":1}}',
            b'"method":"$/credit","params":{"token":2,"items":4}}',
        ],
        [b'"id":3,"method":"fail","$meta":{"deadline":0,"priority":"low","traceparent":"x","tracestate":"y"}}'],
        [b'"id":4,"method":"rpc.discover"}', b'"id":"\xff"}'],
    )
]

#: Turns of the loop in which a session must have ended, after its commands were let go.
TURNS = 2000


class Lines(Wire):
    """Takes what is sent; nothing comes but what `hear` is given."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.paused = False

    def start(self, received: Any, ended: Any, /) -> None:
        self.hear, self.end = received, ended

    def send(self, *pieces: bytes) -> None:
        if not self._closed:
            self.sent += b"".join(pieces)

    def flush(self) -> None:
        """All is sent already."""

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        self._closed = True


_loop = asyncio.new_event_loop()
_log = Log()
_router = small(_log)
_table = _router._table
del _table.commands["note"]


@_router.command("note")
@effect
async def note(text: str, turns: int = 0) -> None:
    """In few turns, however many an input asks for."""
    for _ in range(turns % 9):
        await asyncio.sleep(0)
    _log.said.append(text)


def check(data: bytes) -> None:
    """Raises AssertionError where the session errs."""
    raised: list[Any] = []
    _loop.set_exception_handler(lambda _, context: raised.append(context))
    sent = _loop.run_until_complete(_talk(data))
    assert not raised, raised
    answered, _ = _ids(bytes(sent), answers=True)
    asked, unread = _ids(data, answers=False)
    for number, times in answered.items():
        # Answers to what is no request have no id, and any line may be that.
        assert number == "null" or times <= asked[number] + unread, (number, data, bytes(sent))


async def _talk(data: bytes) -> bytearray:
    _log.said.clear()
    _log.release.clear()
    wire = Lines()
    session = Session(_table, wire, "lines", 1 << 16, Caller("1", "fuzz"), copy_context())
    session.start()
    for number, line in enumerate(data.split(b"\n")):
        if wire.paused:
            break
        wire.hear(line + b"\n")
        if number % 3 == 2:
            await asyncio.sleep(0)
    if not wire.paused:
        wire.end(None)
    _log.release.set()
    for turn in range(TURNS):
        if session.over.done():
            break
        await asyncio.sleep(0 if turn % 100 else 0.001)  # a deadline, or a limit of a command, takes real time
    assert session.over.done(), data
    assert not session.desk._tasks, data
    return wire.sent


def _ids(data: bytes, *, answers: bool) -> tuple["Counter[str]", int]:
    """The ids of messages, as JSON, and how many messages at most are in lines that the plain reader does not take."""
    found: Counter[str] = Counter()
    unread = 0
    for line in data.split(b"\n"):
        try:
            message = json.loads(line.decode(errors="replace"))
        except (ValueError, RecursionError):
            unread += line.count(b"{")
            continue
        for each in message if isinstance(message, list) else [message]:
            if isinstance(each, dict) and "id" in each and not (answers and "method" in each):
                found[json.dumps(each["id"], sort_keys=True)] += 1
    return found, unread
