"""Storms on a rate limit and a breaker: loops on several threads, random cancels. The stress tests run longer ones."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from mountain_runtime import CircuitBreaker, Effect, RateLimit, Timeout, effect
from mountain_runtime.errors import Rejected, TimedOut
from tests.policy.starts import most_within

Make = Callable[[], asyncio.AbstractEventLoop]


def on_threads(bodies: list[Coroutine[Any, Any, None]], make: Make) -> None:
    """Runs each on a loop and a thread of its own, all at once; raises what went wrong."""
    wrong: list[BaseException] = []
    ready = threading.Barrier(len(bodies))

    def run(body: Coroutine[Any, Any, None]) -> None:
        try:
            with asyncio.Runner(loop_factory=make) as runner:
                runner.get_loop()
                ready.wait()
                runner.run(body)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise ExceptionGroup("on threads", [e if isinstance(e, Exception) else RuntimeError(repr(e)) for e in wrong])


async def crowd(dice: random.Random, callers: int, call: Callable[[], Effect[Any]], within: float) -> None:
    """So many callers who come, give up and are cancelled at any time `within` so many seconds."""

    async def one() -> None:
        await asyncio.sleep(dice.uniform(0, within))
        fate = dice.random()
        try:
            if fate < 0.3:
                await call().under(Timeout(dice.uniform(0, within)))
            elif fate < 0.6:
                task = asyncio.create_task(call())
                await asyncio.sleep(dice.uniform(0, within))
                await cancelled(task)
            else:
                await call()
        except (Rejected, TimedOut):
            pass

    await asyncio.gather(*[one() for _ in range(callers)])


async def cancelled(task: "asyncio.Task[Any]") -> None:
    """It is, unless it was refused or has ended."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and not isinstance(task.exception(), Rejected | TimedOut):
        task.result()


def rates(seed: int, *, threads: int, callers: int, make: Make, burst: bool = False) -> None:
    """No window holds more than its limit, a bucket never gives more than its figure, and no caller is left waiting."""
    dice = random.Random(seed)
    n, per = dice.choice([2, 3, 10]), 0.1
    limit = RateLimit(n, per, burst=n) if burst else RateLimit(n, per)
    starts: list[float] = []

    @effect(limit)
    async def call() -> None:
        starts.append(time.monotonic())
        if dice.random() < 0.2:
            await asyncio.sleep(dice.uniform(0, per / 10))

    on_threads([crowd(random.Random(dice.random()), callers, call, per) for _ in range(threads)], make)
    assert starts
    for windows in (1, 2, 5):
        # In a bucket: what it holds, and what it is given meanwhile, which is a token more where one is almost there.
        allowed = n + windows * n + 1 if burst else windows * n
        assert most_within(starts, per * windows) <= allowed
    assert limit._rates.waiting == 0


def probes(seed: int, *, threads: int, callers: int, make: Make) -> None:
    """However many come, no more than the probes are inside; afterwards all slots are free."""
    dice = random.Random(seed)
    most = dice.choice([1, 2, 5])
    breaker = CircuitBreaker(failures=1, cooldown=0, probes=most, on=ValueError)
    lock = threading.Lock()
    inside = highest = began = 0

    @effect(breaker)
    async def call() -> None:
        nonlocal inside, highest, began
        with lock:
            inside += 1
            began += 1
            highest = max(highest, inside)
        try:
            await asyncio.get_running_loop().create_future()  # until it is cancelled: that says nothing
        finally:
            with lock:
                inside -= 1

    async def callers_who_leave() -> None:
        """Callers who are all cancelled in the end: a timeout would be a failure."""
        mine = random.Random(dice.random())

        async def one() -> None:
            await asyncio.sleep(mine.uniform(0, 0.05))
            task = asyncio.create_task(call())
            for _ in range(mine.randrange(3)):
                await asyncio.sleep(mine.choice([0, 0, 0.001]))
            await cancelled(task)

        await asyncio.gather(*[one() for _ in range(callers)])

    breaker._circuit.open(None)
    assert breaker.state() == "half_open"  # it has no cooldown
    on_threads([callers_who_leave() for _ in range(threads)], make)
    assert breaker.state() == "half_open"
    assert (inside, highest) == (0, min(highest, most))
    assert began >= most

    async def close() -> None:
        well = effect(breaker)(asyncio.sleep)
        for left in range(most, 0, -1):
            assert breaker.state() == "half_open", left
            await well(0)

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(close())
    assert breaker.state() == "closed"
