"""A function whose workers take most of the head's room each. Imported once the head is there, and by its workers."""

import asyncio
import os

from mountain_runtime import On, effect, pools

pool = pools.Ray(
    os.environ.get("MOUNTAIN_TEST_HEAD", "127.0.0.1:1"), workers=(1, 3), resources={"CPU": 1.5}, name="ray-room"
)


@effect(On(pool))
async def slowly() -> int:
    await asyncio.sleep(0.5)  # real: other workers are late meanwhile
    return os.getpid()
