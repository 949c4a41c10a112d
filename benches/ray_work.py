"""Functions on a Ray cluster. Imported once there is one, by its workers too."""

import os

from mountain_runtime import On, blocking, effect, pools

__all__ = ["add", "add_on_a_thread", "pool"]

pool = pools.Ray(os.environ.get("BENCH_RAY", "127.0.0.1:1"), start_timeout=120, name="bench-ray")


@effect(On(pool))
async def add(a: int, b: int) -> int:
    return a + b


@blocking(On(pool))
def add_on_a_thread(a: int, b: int) -> int:
    return a + b
