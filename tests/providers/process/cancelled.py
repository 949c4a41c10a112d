"""Programs that are given up while they start, as often as one likes: what P1 asks for."""

import asyncio
import random

from mountain_runtime import process
from tests.providers.process.support import nothing_left, shell


async def check(times: int, at_a_time: int = 16) -> None:
    """Starts and cancels after 0 to 5 ms; afterwards no zombie, no group and no descriptor is left."""
    left = iter(range(times))
    chance = random.Random(times)

    async def worker() -> None:
        for number in left:
            task = asyncio.ensure_future(process.run(*shell(f"exit {number % 256}"), check=False))
            await asyncio.sleep(chance.uniform(0, 0.005))  # real: so is the process
            task.cancel()
            try:
                assert (await task).returncode == number % 256
            except asyncio.CancelledError:
                pass

    async with nothing_left():
        await asyncio.gather(*[worker() for _ in range(at_a_time)])


async def check_terminals(times: int, at_a_time: int = 16) -> None:
    """The same with terminals, which are written to, read and resized meanwhile, after 0 to 20 ms."""
    left = iter(range(times))
    chance = random.Random(times)

    async def use(number: int) -> None:
        async with process.terminal(*shell("stty -echo; cat; exit 5"), columns=1 + number % 100) as t:
            await t.write(b"x\r" * (number % 100))
            t.resize(80, 24)
            async for _ in t.chunks():
                break
            await t.close_stdin()
            assert await t.wait() == 5

    async def worker() -> None:
        for number in left:
            task = asyncio.ensure_future(use(1 + number))
            await asyncio.sleep(chance.uniform(0, 0.02))  # real: so is the program
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass

    async with nothing_left():
        await asyncio.gather(*[worker() for _ in range(at_a_time)])
