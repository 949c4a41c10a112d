"""Two models on this machine for the gateway: `python examples/gateway/models.py [BIG_PORT SMALL_PORT]`.

The big one fails, refuses with a Retry-After, stalls and hangs up, at some questions, the first time that it is asked;
the small one answers.
Prints their addresses, and serves until it is ended.
"""

import asyncio
import json
import sys
from itertools import count

TOKENS = 20
#: Which question of the big one meets which fault, by its number.
FAULTS = {3: "fails", 5: "refuses", 7: "stalls", 8: "hangs up"}
ROUND = 10


class Model:
    """A server of one model."""

    def __init__(self, name: str, faults: dict[int, str]) -> None:
        self._name, self._faults = name, faults
        self._numbers = count(1)
        self._seen = set[str]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                size = int(head.partition("content-length:")[2].split("\r\n")[0])
                question = json.loads(await reader.readexactly(size))["q"]
                fault = None if question in self._seen else self._faults.get(next(self._numbers) % ROUND)
                self._seen.add(question)
                await self._answer(writer, fault, question, streams="/stream" in head.split("\r\n")[0])
                if fault == "hangs up":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, fault: str | None, question: str, *, streams: bool) -> None:
        if fault == "hangs up":
            return
        if fault == "stalls":
            await asyncio.sleep(1)
        if fault in ("fails", "refuses"):
            refusal = "429 Too Many Requests\r\nRetry-After: 1" if fault == "refuses" else "500 Internal Server Error"
            writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
        elif streams:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number in range(TOKENS):
                line = json.dumps({"token": f"{question}-{number} "}) + "\n"
                writer.write(f"{len(line):x}\r\n{line}\r\n".encode())
                await writer.drain()
                await asyncio.sleep(0.005)
            writer.write(b"0\r\n\r\n")
        else:
            body = json.dumps({"text": f"{self._name}: {question}"}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()


async def main(big: int = 8001, small: int = 8002) -> None:
    models = {"BIG_MODEL": (Model("big", FAULTS), big), "SMALL_MODEL": (Model("small", {}), small)}
    for name, (model, port) in models.items():
        server = await asyncio.start_server(model.serve, "127.0.0.1", port)
        print(f"{name}=http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
