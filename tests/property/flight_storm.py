"""A storm over one Cache: callers on loops in several threads, who leave when they like; loops that are closed."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from mountain_runtime import Cache, Timeout, effect
from mountain_runtime.errors import TimedOut

#: Longer than anything here takes: who waits so long hangs.
LONG = 20.0


@dataclass(frozen=True)
class Caller:
    key: int
    #: Ticks of the caller's loop before it asks.
    after: int
    #: The way in which it leaves, if it does not stay to the end,
    leaves: Literal["stays", "cancelled", "timed out"]
    #: and after how many ticks, or thousandths of a second.
    when: int


@dataclass(frozen=True)
class Loop:
    callers: list[Caller]
    #: It is closed in the middle: with its tasks cancelled before, or as they are.
    ends: Literal["runs out", "cancels", "drops"]


@dataclass
class Storm:
    """The rules: one run at a time for a key, a value or its own end for every caller, and no hang."""

    loops: list[Loop]
    #: For each key a caller waits before all others come, and to the end, so that no run is ever given up.
    anchored: bool = False
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    runs: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def play(self) -> None:
        self.lock = threading.Lock()
        self.active: dict[int, set[Any]] = {}
        self.values: dict[int, set[int]] = {}
        self.begun = self.ended = 0
        self.cache = Cache(ttl=LONG * 10)
        self.get = effect(self.cache)(self._run)
        callers = [caller for loop in self.loops for caller in loop.callers]
        keys = {caller.key for caller in callers}
        stay = [Loop([Caller(key, 0, "stays", 0) for key in sorted(keys)], "runs out")] if self.anchored else []
        #: No caller leaves while others wait: then there is one run at a time.
        self.strict = self.anchored or all(caller.leaves == "stays" for caller in callers)
        self.open = threading.Event()
        gate = threading.Barrier(len(self.loops) + 1)
        plans = [*((loop, gate) for loop in self.loops), *((loop, None) for loop in stay)]
        threads = [threading.Thread(target=self._thread, args=each, daemon=True) for each in plans]
        for thread in threads:
            thread.start()
        while self.anchored and self.cache.statistics()["misses"] < len(keys):
            time.sleep(0.0005)  # those who stay are on a loop of their own
        gate.wait(LONG)
        self.open.set()
        end = time.monotonic() + LONG
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.1))
            if thread.is_alive():
                self.wrong.append("a loop hangs")
        if self.strict:
            closed = sum(loop.ends != "runs out" for loop in self.loops)
            for key, runs in self.runs.items():
                if runs > 1 + closed:
                    self.wrong.append(f"{runs} runs of {key} with {closed} loops closed")
                if len(self.values.get(key, ())) > 1:
                    self.wrong.append(f"several values of {key}: {self.values.get(key)}")

    # -- the function ----------------------------------------------------------------------------------------

    async def _run(self, key: int) -> int:
        loop = asyncio.get_running_loop()
        with self.lock:
            self.runs[key] += 1
            self.begun += 1
            number = self.runs[key]
            active = self.active.setdefault(key, set())
            active.add(loop)
            if self.strict and len(active) > 1:
                self.wrong.append(f"{len(active)} runs of {key} at a time")
        try:
            while not self.open.is_set():
                await asyncio.sleep(0.0005)  # the others are not there yet
            for _ in range(1 + key % 3):
                await asyncio.sleep(0.0005)  # long enough for them to come and go meanwhile
            return number
        finally:
            with self.lock:
                active.discard(loop)
                self.ended += 1

    # -- callers ---------------------------------------------------------------------------------------------

    def _thread(self, plan: Loop, gate: threading.Barrier | None) -> None:
        loop = self.new_loop()
        loop.set_exception_handler(lambda *_: None)  # tasks that are dropped are complained about
        try:
            tasks = [loop.create_task(self._call(caller)) for caller in plan.callers]
            if gate is not None:
                gate.wait(LONG)
            if plan.ends == "runs out":
                loop.run_until_complete(asyncio.wait_for(self._all(tasks), LONG))
                if len(self.loops) == 1 and not self.anchored and self.begun != self.ended:
                    self.wrong.append(f"{self.begun - self.ended} runs go on when their last callers have gone")
                return
            loop.run_until_complete(asyncio.sleep(0.001))  # in the middle
            self._forget(loop)
            if plan.ends == "cancels":
                left = asyncio.all_tasks(loop)
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait_for(self._all(left), LONG))
        except TimeoutError:
            self.wrong.append("a caller hangs")
        finally:
            self._forget(loop)
            loop.close()

    def _forget(self, loop: Any) -> None:
        """Code that runs there is at its end, and may see others begin."""
        with self.lock:
            for active in self.active.values():
                active.discard(loop)

    async def _all(self, tasks: Any) -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, caller: Caller) -> None:
        for _ in range(caller.after):
            await asyncio.sleep(0)
        work = self.get(caller.key)
        if caller.leaves == "timed out":
            work = work.under(Timeout(caller.when / 1000))
        task = asyncio.create_task(_awaited(work))
        if caller.leaves == "cancelled":
            for _ in range(caller.when):
                await asyncio.sleep(0)
            task.cancel()
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        if task.cancelled():
            if caller.leaves != "cancelled":
                self.wrong.append("cancelled though nobody asked")
        elif error := task.exception():
            if not (caller.leaves == "timed out" and isinstance(error, TimedOut)):
                self.wrong.append(repr(error))
        else:
            with self.lock:
                self.values.setdefault(caller.key, set()).add(task.result())


async def _awaited(work: Any) -> Any:
    return await work
