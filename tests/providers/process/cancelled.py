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
