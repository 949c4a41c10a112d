"""The items of a stream, sent as they come: those of one turn together, no more than the other side takes."""

import asyncio
from typing import Any

from ..._native import Stream
from .._messages.json import encode
from .._wires.wire import Wire
from .work import Reply, Work

__all__ = ["send_items"]

#: Items, and bytes, that are sent together at most.
_ITEMS, _BYTES = 1024, 1 << 16


class _Sender:
    def __init__(self, work: Work, wire: Wire, send: Reply) -> None:
        self._loop = asyncio.get_running_loop()
        self._head = b'{"jsonrpc":"2.0","method":"$/progress","params":{"token":%b,"value":[' % work.id
        self._work, self._wire, self._send = work, wire, send
        self.items: list[bytes] = []
        self.bytes = 0
        self.flushes = False

    def flush(self) -> None:
        """Sends what is there."""
        self.flushes = False
        if self.items and self._work.reply is not None:
            self._send([self._head, b",".join(self.items), b"]}}"])
        self.items.clear()
        self.bytes = 0

    async def waits(self) -> None:
        """Until there is room."""
        work = self._work
        self.flush()
        await asyncio.sleep(0)
        while (drained := self._wire.drained()) is not None:
            await drained
        while work.credit == 0:
            work.wakes = self._loop.create_future()
            try:
                await work.wakes
            finally:
                work.wakes = None


async def send_items(work: Work, stream: Stream[Any], wire: Wire, send: Reply) -> int:
    """Runs it to its end: the number of its items."""
    sender = _Sender(work, wire, send)
    items, later = sender.items, asyncio.get_running_loop().call_soon
    sent = 0
    if work.reply is None:
        return 0
    try:
        async with stream as found:
            async for item in found:
                written = encode(item)
                items.append(written)
                sender.bytes += len(written)
                sent += 1
                if not sender.flushes:
                    sender.flushes = True
                    later(sender.flush)
                if work.credit is not None:
                    work.credit -= 1
                if len(items) >= _ITEMS or sender.bytes >= _BYTES or work.credit == 0:
                    await sender.waits()
    finally:
        sender.flush()
    return sent
