"""A stream that goes on where its connection dropped, as one of server-sent events does."""

import asyncio
from collections.abc import AsyncIterator

from mountain_runtime import Retry, Timeout, constant, stream
from mountain_runtime.testing import VirtualClock

LAST = 8


class Server:
    """Sends events 1 to `LAST`, one a second; each connection drops after five, and the first attempt after a drop is
    refused."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def events(self, last: int) -> AsyncIterator[int]:
        self.asked.append(last)
        if len(self.asked) == 2:
            raise ConnectionRefusedError("not yet")
        for number in range(last + 1, LAST + 1):
            await asyncio.sleep(1)
            yield number
            if number == last + 5:
                raise ConnectionResetError("dropped")


async def test_the_reconnect_says_the_last_event_and_each_is_seen_once(virtual_clock: VirtualClock) -> None:
    server = Server()

    @stream(Retry(on=ConnectionError, backoff=constant(2)))
    async def connection(last: int) -> AsyncIterator[int]:
        async for number in server.events(last):
            yield number

    @stream(Timeout(60))
    async def events() -> AsyncIterator[int]:
        last = 0
        while last < LAST:
            try:
                async with connection(last) as numbers:
                    async for number in numbers:
                        last = number
                        yield number
            except ConnectionError:
                await asyncio.sleep(1)

    async with events() as numbers:
        seen = [number async for number in numbers]
    assert seen == list(range(1, LAST + 1))
    assert server.asked == [0, 5, 5], "refused before its first event, it is tried again; dropped after it, asked anew"
    assert virtual_clock.time() == 5 + 1 + 2 + 3
