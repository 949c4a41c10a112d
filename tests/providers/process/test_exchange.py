"""Exchanges: a line and the line that answers it, whichever of them is cancelled."""

import asyncio
import sys

import pytest

from mountain_runtime import Timeout, constant, effect, process, sidecar
from mountain_runtime.errors import TimedOut
from mountain_runtime.process import Process

pytestmark = pytest.mark.processes

#: Answers each line; the first character says after how many tenths of a second.
ANSWERS = """
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    if line == "end\\n": sys.exit()
    time.sleep(int(line[0]) / 10)
    print(line.strip().upper(), flush=True)
"""
ARGV = (sys.executable, "-c", ANSWERS)


@effect
async def ask(program: Process, line: bytes) -> bytes:
    return await program.exchange(line)


async def test_a_timeout_gives_no_other_call_its_answer() -> None:
    async with process.open(*ARGV) as p:
        assert await p.receive() == b"ready"
        assert await ask(p, b"0a") == b"0A"
        for _ in range(2):
            with pytest.raises(TimedOut):
                await ask(p, b"3late").under(Timeout(0.1))
        assert await ask(p, b"0b") == b"0B"
        assert await asyncio.gather(*(ask(p, b"0%d" % number) for number in range(20))) == [
            b"0%d" % number for number in range(20)
        ]


async def test_cancels_at_any_moment() -> None:
    async with process.open(*ARGV) as p:
        assert await p.receive() == b"ready"

        async def one(number: int) -> bool:
            task = asyncio.create_task(p.exchange(b"0%d" % number))
            for _ in range(number % 29):
                await asyncio.sleep(0)
            task.cancel()
            try:
                return await task == b"0%d" % number
            except asyncio.CancelledError:
                return True

        for _ in range(10):
            assert all(await asyncio.gather(*(one(number) for number in range(50))))
        assert await p.exchange(b"0last") == b"0LAST"


async def test_a_program_that_ends_in_an_exchange() -> None:
    async with process.open(*ARGV) as p:
        await p.receive()
        with pytest.raises(BrokenPipeError):
            await p.exchange(b"end")
        with pytest.raises(BrokenPipeError):
            await p.exchange(b"0a")


async def test_a_sidecar_that_restarts_owes_nothing() -> None:
    start = sidecar(*ARGV, ready=lambda line: line == "ready", restart=constant(0.01))
    async with start() as p:
        with pytest.raises(TimedOut):
            await ask(p, b"3late").under(Timeout(0.1))
        with pytest.raises(BrokenPipeError):
            await p.exchange(b"end")
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await p.exchange(b"0new") == b"0NEW"
                    break
                except BrokenPipeError:
                    await asyncio.sleep(0.01)  # the next run starts in its own time
