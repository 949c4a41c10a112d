"""An asyncio loop whose time is virtual: it jumps to what is next, with the engine's clock, when nothing else happens.

 1. The loop is about to block: it has run what was ready, and asks its selector to wait.
 2. Events that are there already come first.
 3. Work on threads and on native workers holds time still: the loop waits for it, really and briefly, and looks again.
 4. At rest, time moves to the loop's next timer or the engine's next deadline, whichever is first. What the engine
    wakes settles before the loop goes on, so that at one instant it comes before the loop's timers.
 5. With nothing to move to, the loop waits really, as any loop does.

All of it happens within `select`, on the loop's thread: no callback ever sees time move.
"""

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, cast

from .. import _native

__all__ = ["CENTURY", "VirtualLoop", "VirtualTime", "replace"]

#: In nanoseconds. What lies further ahead is no time to jump to, but another word for never.
CENTURY = 100 * 365 * 24 * 3600 * 10**9
#: How long a loop waits really until it looks again: at work that may end without an event, and at nothing.
_BRIEFLY, _IDLY = 0.001, 0.1
#: How long `advance` waits for threads without any event, and a loop after a jump for native workers that are busy.
_PATIENCE, _SOON = 0.5, 0.1


def _real() -> float:
    """Real time, in seconds. A test may have replaced every other clock of Python's."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class VirtualTime:
    """Nanoseconds of virtual time that have passed. The engine's clock is moved here only."""

    def __init__(self) -> None:
        self.passed = 0

    def move(self, to: int) -> None:
        """Moves on, and wakes what the engine has there."""
        _native.advance(to - self.passed)
        self.passed = to


class _Goal:
    """An `advance` that is under way."""

    def __init__(self, target: int, reached: "asyncio.Future[None]") -> None:
        self.target = target
        self.reached = reached
        #: It still waits for threads.
        self.patient = True


class _Timer(asyncio.TimerHandle):
    """A timer that waits for those of the same instant that came before: where time jumps, equals are the rule."""

    __slots__ = ("turn",)

    turn: int

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        if isinstance(other, _Timer):
            return (self.when(), self.turn) < (other.when(), other.turn)
        return super().__lt__(other)


class VirtualLoop:
    """Replaces a loop's own methods until `undo` restores them."""

    def __init__(self, loop: asyncio.SelectorEventLoop, passing: VirtualTime, undo: ExitStack) -> None:
        self._loop = cast("Any", loop)
        self._passing = passing
        self._goals: list[_Goal] = []
        #: Calls on the threads of executors whose results are awaited.
        self._on_threads = 0
        self._turns = itertools.count()
        #: The loop's time is never said to be earlier than this.
        self._latest = loop.time()
        self._base = self._latest - passing.passed / 1e9
        self._resolution: float = self._loop._clock_resolution
        self._look: Callable[[float | None], list[Any]] = self._loop._selector.select
        self._run_in_executor = loop.run_in_executor
        self._shutdown_executor = loop.shutdown_default_executor
        undo.callback(self._keep_distances)
        replace(undo, self._loop._selector, "select", self._select)
        replace(undo, self._loop, "_clock_resolution", self._resolution)
        replace(undo, loop, "time", self._time)
        replace(undo, loop, "call_at", self._call_at)
        replace(undo, loop, "run_in_executor", self._counted)
        replace(undo, loop, "shutdown_default_executor", self._counted_shutdown)

    async def advance(self, nanos: int) -> None:
        """Until so much time has passed, and all that falls due on the way has run."""
        reached = self._loop.create_future()
        goal = _Goal(self._passing.passed + nanos, reached)
        self._goals.append(goal)
        try:
            await reached
        finally:
            self._goals.remove(goal)

    # -- in place of the loop's and the selector's methods ------------------------------------------------------------

    def _time(self) -> float:
        return max(self._latest, self._base + self._passing.passed / 1e9)

    def _call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        self._loop._check_closed()
        if self._loop.get_debug():
            self._loop._check_thread()
            self._loop._check_callback(callback, "call_at")
        if self._nanos(when) == self._passing.passed:
            # It is that time already, but for rounding: a caller that waits for the rest and looks again is to find it
            # so.
            self._latest = max(self._latest, when)
        timer = _Timer(when, callback, args, self._loop, context)
        timer.turn = next(self._turns)
        heapq.heappush(self._loop._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # or its cancel would not be counted
        return timer

    def _counted(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        future = self._run_in_executor(executor, func, *args)
        self._on_threads += 1
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self._on_threads -= 1

    async def _counted_shutdown(self, *args: Any) -> None:
        """The end of a loop waits for its threads, by a thread and a limit."""
        self._on_threads += 1
        try:
            await self._shutdown_executor(*args)
        finally:
            self._on_threads -= 1

    def _select(self, timeout: float | None = None) -> list[Any]:
        events = self._look(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        began = _real()
        while True:
            at_rest = self._at_rest(began)
            # Whatever came to rest last has rung before it did.
            if events := self._look(0):
                return events
            if at_rest and self._jump():
                self._settle()
                return self._look(0)
            if events := self._look(_IDLY if at_rest else _BRIEFLY):
                return events

    # -- when to jump, and where to -----------------------------------------------------------------------------------

    def _at_rest(self, began: float) -> bool:
        goal = self._goal()
        if goal is None or goal.patient:
            if not self._on_threads and _native.at_rest(0):
                return True
            if goal is None or _real() - began < _PATIENCE:
                return False
            goal.patient = False
        self._settle()
        return True

    def _settle(self) -> None:
        """Lets native workers do what they can, unless they are at it for long.

        It does not wait for threads, which may wait for the caller of this.
        """
        end = _real() + _SOON
        while not _native.at_rest(_native.at_work()) and _real() < end:
            pass

    def _goal(self) -> _Goal | None:
        waiting = (goal for goal in self._goals if not goal.reached.done())
        return min(waiting, key=lambda goal: goal.target, default=None)

    def _jump(self) -> bool:
        """To what is next; False when there is nothing."""
        when = self._loop._scheduled[0].when() if self._loop._scheduled else math.inf
        timer = self._nanos(when)
        deadline = _native.next_deadline()
        due = CENTURY if deadline is None else self._passing.passed + deadline
        target = min(timer, due)
        goal = self._goal()
        if goal is not None and goal.target < target:
            self._passing.move(goal.target)
            goal.reached.set_result(None)
            return True
        if target >= CENTURY:
            return False
        self._passing.move(target)
        # Timers within this of the loop's time are due.
        self._loop._clock_resolution = max(self._resolution, 10 ** self._noise() / 1e9)
        return True

    def _nanos(self, when: float) -> int:
        """A time of the loop as nanoseconds that have passed."""
        if not when - self._base < CENTURY / 1e9:
            return CENTURY
        return max(round(round((when - self._base) * 1e9), -self._noise()), self._passing.passed)

    def _noise(self) -> int:
        """How many digits of a count of nanoseconds mean nothing: a float as large as the loop's time has none.

        A time that is computed from it is off by up to two and a half units in the last place.
        """
        grain = math.ulp(self._time()) * 5e9
        return math.ceil(math.log10(grain)) if grain > 1 else 0

    def _keep_distances(self) -> None:
        """Back in real time: what is left waits as long as it would have gone on to."""
        ahead = self._time() - self._loop.time()
        for timer in self._loop._scheduled:
            timer._when -= ahead


def replace(undo: ExitStack, target: Any, name: str, value: object) -> None:
    """Sets an attribute until `undo`."""
    if name in vars(target):
        undo.callback(setattr, target, name, vars(target)[name])
    else:
        undo.callback(delattr, target, name)
    setattr(target, name, value)
