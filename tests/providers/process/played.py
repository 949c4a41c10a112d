"""Programs that run alike as processes (`python -S played.py NAME`) and as fakes that a test plays.

Each is a function of what `testing.Command` is to a fake; `Own` is the same for a process. It gives the exit code.
"""

import asyncio
import os
import signal
import sys
import tty
from typing import Any


async def echo(me: Any) -> int:
    async for line in me.lines():
        await me.send(line)
    return 0


async def count(me: Any) -> int:
    """How many bytes it is sent."""
    await me.send(b"%d" % sum([len(chunk) async for chunk in me.chunks()]))
    return 0


async def deaf(me: Any) -> int:
    """Reads nothing, and takes no request to end."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        me.on_signal(number, lambda: None)
    await me.send(b"deaf")
    await asyncio.sleep(1000)
    return 0


async def silent(_: Any) -> int:
    await asyncio.sleep(1000)
    return 0


async def write(me: Any) -> int:
    """So many times so many bytes, in lines that long."""
    times, size = map(int, me.argv[-2:])
    for _ in range(times):
        await me.write(b"x" * (size - 1) + b"\n")
    return 3


async def say(me: Any) -> int:
    """Its last argument."""
    await me.write(me.argv[-1].encode().decode("unicode_escape").encode("latin-1"))
    return 0


async def heeds(me: Any) -> int:
    """Ends with 7 for SIGUSR1, and with 3 for SIGTERM."""
    code = asyncio.get_running_loop().create_future()
    me.on_signal(signal.SIGUSR1, lambda: code.set_result(7))
    me.on_signal(signal.SIGTERM, lambda: code.set_result(3))
    await me.send(b"ready")
    return int(await code)


async def both(me: Any) -> int:
    """Its input in capitals, and a word to stderr."""
    await me.write(b"".join([chunk async for chunk in me.chunks()]).upper())
    await me.write(b"word\n", stderr=True)
    return int(me.argv[-1])


async def sized(me: Any) -> int:
    """Its terminal's size, and each new one."""
    tell = asyncio.Event()
    me.on_signal(signal.SIGWINCH, tell.set)
    while True:
        await me.send(b"%d x %d" % me.size)
        await tell.wait()
        tell.clear()


async def keys(me: Any) -> int:
    """Each key as it is typed, up to a q."""
    me.raw()
    await me.write(b"raw\r\n")
    async for chunk in me.chunks():
        await me.write(chunk.hex(" ").encode() + b" ")
        if chunk.endswith(b"q"):
            break
    return 0


async def cursor(me: Any) -> int:
    """Where the terminal says that its cursor is."""
    me.raw()
    await me.write(b"ab\x1b[6n")
    answer = b""
    async for chunk in me.chunks():
        answer += chunk
        if answer.endswith(b"R"):
            break
    await me.write(answer.hex(" ").encode())
    return 0


async def serve(me: Any) -> int:
    """For a sidecar: says that it is ready, then answers lines. `quick` ends before that, `port` listens."""
    word = me.argv[-1]
    if word == "quick":
        await me.write(b"cannot open the store\n", stderr=True)
        return 4
    if word.isdigit():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", int(word))
        async with server:
            await server.serve_forever()
    await me.write(b"warming up\n", stderr=word == "stderr")
    await me.write(b"ready\n", stderr=word == "stderr")
    async for line in me.lines():
        if line == b"die":
            await me.write(b"about to die\n", stderr=True)
            return 5
        if line == b"quit":
            return 0
        await me.send(b"heard " + line)
    return 0


PROGRAMS = {
    each.__name__: each
    for each in (echo, count, deaf, silent, write, say, heeds, both, sized, keys, cursor, serve)
}  # fmt: skip


class Own:
    """This process, with the methods of a Command."""

    def __init__(self) -> None:
        self.argv = sys.argv
        self._loop = asyncio.get_running_loop()
        self._come: asyncio.Queue[bytes] = asyncio.Queue()
        self._reads = False

    @property
    def size(self) -> tuple[int, int]:
        return tuple(os.get_terminal_size(1))  # type: ignore[return-value]

    def raw(self) -> None:
        tty.setraw(0)

    def on_signal(self, number: int, handler: Any) -> None:
        self._loop.add_signal_handler(number, handler)

    async def send(self, line: bytes) -> None:
        await self.write(line + b"\n")

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        while data:
            data = data[os.write(2 if stderr else 1, data) :]

    async def chunks(self) -> Any:
        if not self._reads:
            self._reads = True
            self._loop.add_reader(0, self._read)
        while data := await self._come.get():
            yield data

    async def lines(self) -> Any:
        rest = b""
        async for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line
        if rest:
            yield rest

    def _read(self) -> None:
        data = os.read(0, 65536)
        if not data:
            self._loop.remove_reader(0)
        self._come.put_nowait(data)


async def main() -> int:
    return await PROGRAMS[sys.argv[1]](Own())


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
