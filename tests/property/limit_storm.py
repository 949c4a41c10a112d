"""Callers of one limit on several loops at once, cancelled, timed out, and left behind on loops that are closed."""

import asyncio
import gc
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from mountain_runtime import ConcurrencyLimit, Effect, Priority, Timeout, _native, blocking, effect, gather, priority
from mountain_runtime.errors import QueueFull, Reentered, TimedOut

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

KINDS = ("coroutine", "native", "thread", "slot", "recurses", "gathers")
#: Seconds: about as long as things take, so that what comes first is luck.
MOMENTS = (0.0, 0.0002, 0.0005, 0.001)


@dataclass(frozen=True)
class Caller:
    """The work inside, its length, and when it is cancelled: after ticks of the loop, or seconds."""

    kind: str
    ticks: int
    priority: Priority
    before: float | None
    within: float | None
    cancel_after: int | float | None
    key: int


@dataclass
class Storm:
    """The callers of each loop, and which loops are closed while they are at it."""

    limit: ConcurrencyLimit
    most: int
    keyed: bool
    #: By key, how many are in.
    inside: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    wrong: list[str] = field(default_factory=list)

    def come(self, key: int) -> None:
        with self.lock:
            now = self.inside[key] = self.inside.get(key, 0) + 1
        if now > self.most:
            self.wrong.append(f"{now} are in")

    def go(self, key: int) -> None:
        with self.lock:
            self.inside[key] -= 1

    def work(self, caller: Caller) -> Effect[Any]:
        key = caller.key if self.keyed else 0
        policies = [self.limit]
        outside = [] if caller.before is None else [Timeout(caller.before)]
        inside = [] if caller.within is None else [Timeout(caller.within)]

        async def leaf(key: int) -> None:
            self.come(key)
            try:
                for _ in range(caller.ticks):
                    await asyncio.sleep(0)
                if caller.kind == "recurses":
                    await effect(*outside, self.limit)(nothing)(key)
                if caller.kind == "gathers":
                    await gather([effect(*outside, self.limit)(nothing)(key), effect(nothing)(key)])
            finally:
                self.go(key)

        def on_thread(key: int) -> None:
            self.come(key)
            time.sleep(0.0002 * caller.ticks)  # see MOMENTS
            self.go(key)

        async def in_slot(key: int) -> None:
            async with self.limit.slot(key if self.keyed else None):
                await leaf(key)

        match caller.kind:
            case "native" if not self.keyed:
                return _native.trial_sleep(0.0002 * caller.ticks).under(*outside, *policies, *inside)
            case "thread":
                return blocking(*outside, *policies, *inside)(on_thread)(key)
            case "slot":
                return effect(*outside)(in_slot)(key)
            case _:
                return effect(*outside, *policies, *inside)(leaf)(key)

    async def call(self, caller: Caller) -> None:
        try:
            with priority(caller.priority):
                await self.work(caller)
        except (TimedOut, QueueFull, Reentered):
            pass

    async def run(self, callers: list[Caller], left: bool) -> None:
        """All of them at once; some loops do not wait for their end."""
        tasks = [asyncio.create_task(self.call(caller)) for caller in callers]
        cancels = [
            asyncio.create_task(cancel(task, each.cancel_after)) for task, each in zip(tasks, callers, strict=True)
        ]
        await asyncio.sleep(0)
        if left:
            for task in (*tasks, *cancels):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            return
        await asyncio.wait(tasks)
        await asyncio.wait(cancels)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                self.wrong.append(repr(error))

    def on_a_loop(self, factory: LoopFactory, callers: list[Caller], left: bool) -> None:
        loop = factory()
        try:
            loop.run_until_complete(self.run(callers, left))
        except BaseException as error:
            self.wrong.append(repr(error))
        finally:
            loop.close()

    def everywhere(self, factory: LoopFactory, loops: list[tuple[list[Caller], bool]]) -> None:
        """Each loop on a thread of its own. Afterwards no call may be in, and none may wait."""
        threads = [threading.Thread(target=self.on_a_loop, args=(factory, *loop), daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        leaves = any(left for _, left in loops)
        end = time.monotonic() + 20
        tidy = factory()
        while any(thread.is_alive() for thread in threads) or self.counts() != (0, 0):
            assert time.monotonic() < end, f"{self.counts()} are left"
            time.sleep(0.0005)  # threads and native work end by themselves
            if leaves:
                # Work on a closed loop goes when its last reference does. The answer to a native call
                # of its, which came too late, lies with the others that a loop drops in passing.
                tidy.run_until_complete(_native.trial_noop())
                gc.collect()
        tidy.close()
        for thread in threads:
            thread.join()
        assert self.wrong == []
        loop = factory()
        try:  # all places are there to be had
            loop.run_until_complete(self.fill())
        finally:
            loop.close()

    async def fill(self) -> None:
        for key in range(3 if self.keyed else 1):
            slots = [await asyncio.wait_for(self.take(key), 5) for _ in range(self.most)]
            for slot in slots:
                await slot.__aexit__(None, None, None)

    async def take(self, key: int) -> AbstractAsyncContextManager[None]:
        while True:
            slot = self.limit.slot(key if self.keyed else None)
            try:
                await asyncio.create_task(slot.__aenter__())
            except QueueFull:  # native work that a closed loop has left behind begins even now
                await asyncio.sleep(0.001)
            else:
                return slot

    def counts(self) -> tuple[int, int]:
        now = self.limit.statistics()
        return now.in_flight, sum(now.waiting.values())


async def nothing(_: int) -> None:
    await asyncio.sleep(0)


async def cancel(task: "asyncio.Task[None]", after: float | None) -> None:
    """Ints are ticks, floats seconds."""
    if after is None:
        return
    if isinstance(after, int):
        for _ in range(after):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(after)
    task.cancel()


def random_storm(dice: random.Random, factory: LoopFactory, *, loops: int, callers: int, leave: bool) -> None:
    """One of random callers. With `leave`, some loops are closed while all of their callers are at it."""
    n, keyed = dice.randint(1, 3), dice.random() < 0.5
    limit = ConcurrencyLimit(
        n,
        key=(lambda key: key) if keyed else None,
        max_waiting=dice.choice([0, 1, 10, None]),
        overflow=dice.choice(["reject", "shed"]),
    )
    each: list[tuple[list[Caller], bool]] = []
    for _ in range(loops):
        left = leave and dice.random() < 0.4
        # Children that are left behind are asyncio's to complain of.
        kinds = [kind for kind in KINDS if not left or kind != "gathers"]
        each.append(([random_caller(dice, kinds) for _ in range(dice.randint(1, callers))], left))
    Storm(limit, n, keyed).everywhere(factory, each)


def random_caller(dice: random.Random, kinds: Sequence[str]) -> Caller:
    return Caller(
        kind=dice.choice(kinds),
        ticks=dice.randrange(5),
        priority=dice.choice(list(Priority)),
        before=dice.choice([None, *MOMENTS]),
        within=dice.choice([None, *MOMENTS]),
        cancel_after=dice.choice([None, *range(9), *MOMENTS]),
        key=dice.randrange(3),
    )
