"""Random cancels of random effects: what must hold whatever happens when. For the tests here and in tests/stress."""

import asyncio
import random
from dataclasses import dataclass, field

from mountain_runtime import Effect, Retry, Timeout, constant, effect, gather, race
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from mountain_runtime.errors import TimedOut

from .support import Boom


@dataclass
class Counts:
    """Each leaf that began has ended, cleanup and all."""

    begun: int = 0
    cleaned: int = 0
    cancelled: int = 0
    timed_out: int = 0
    values: int = 0
    wrong: list[str] = field(default_factory=list)


class Storm:
    """One seed, one course of events, as far as the clock allows."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.counts = Counts()
        self.made: list[Effect[object]] = []

    async def run(self, tasks: int) -> Counts:
        """Starts so many tasks and cancels about half of them, some twice, at random moments."""
        started: list[asyncio.Task[None]] = []
        for _ in range(tasks):
            started.append(asyncio.create_task(self._caller(self._work(2))))
            if self.dice.random() < 0.5:
                self._cancel_one(started)
            await self._pause()
        for _ in range(tasks):
            self._cancel_one(started)
            await self._pause()
        done, pending = await asyncio.wait(started, timeout=20)
        if pending:
            self.counts.wrong.append(f"{len(pending)} tasks hang")
        for work in self.made:
            work.close()  # some were cancelled before they began: that is no oversight
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.counts.wrong.append(repr(error))
        return self.counts

    def _cancel_one(self, started: list["asyncio.Task[None]"]) -> None:
        task = self.dice.choice(started)
        if not task.done():
            task.cancel()

    async def _pause(self) -> None:
        if self.dice.random() < 0.3:
            # As long as the leaves' own waits, so that cancels meet timers.
            await asyncio.sleep(self.dice.choice([0, 0, 0.0005, 0.001, 0.002]))

    async def _caller(self, work: Effect[object]) -> None:
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        try:
            await work
            self.counts.values += 1
        except TimedOut:
            self.counts.timed_out += 1
        except (Boom, ExceptionGroup):
            pass
        except asyncio.CancelledError:
            self.counts.cancelled += 1
            if task.cancelling() <= before:
                self.counts.wrong.append("cancelled though nobody asked")
            raise
        # A cancel that the caller does not see as one must not be pending either: it would have been swallowed.
        if task.cancelling() > before:
            self.counts.wrong.append("a cancel was swallowed")

    def _work(self, depth: int) -> Effect[object]:
        kind = self.dice.randrange(6 if depth else 3)
        match kind:
            case 0:
                work: Effect[object] = noop(1)
            case 1:
                work = sleep(self.dice.random() * 0.003)
            case 3:
                work = gather([self._work(depth - 1) for _ in range(3)])
            case 4:
                work = race(*[self._work(depth - 1) for _ in range(3)])
            case 5:
                inner = self._work(depth - 1)
                work = self._leaf(inner)
            case _:
                work = self._leaf(None)
        self.made.append(work)
        for _ in range(self.dice.randrange(3)):
            work = work.under(self._policy())
            self.made.append(work)
        return work

    def _policy(self) -> Timeout | Retry:
        if self.dice.random() < 0.5:
            return Timeout(self.dice.choice([0.0005, 0.001, 0.002, 5]))
        return Retry(on=Boom, attempts=3, backoff=constant(self.dice.choice([0, 0.001])))

    def _leaf(self, inner: Effect[object] | None) -> Effect[object]:
        steps = [self.dice.choice([0, 0, 0.0005, 0.001]) for _ in range(self.dice.randrange(4))]
        fails, cleans = self.dice.random() < 0.3, self.dice.choice([None, 0, 0.001])
        counts = self.counts

        async def leaf() -> object:
            counts.begun += 1
            try:
                for pause in steps:
                    await asyncio.sleep(pause)
                if inner is not None:
                    await inner
                if fails:
                    raise Boom
                return 1
            finally:
                try:
                    if cleans is not None:
                        await asyncio.sleep(cleans)
                finally:
                    counts.cleaned += 1

        return effect(leaf)()
