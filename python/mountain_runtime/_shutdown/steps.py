"""The steps of a shutdown as they are run: each is timed and recorded, and says what it left behind."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from .. import _native
from .._tasks.cuts import why_cut
from .._tasks.dump import Dump
from .._tasks.stacks import of_task, place
from ..errors import TimedOut
from .clock import Clock
from .report import Outcome, ShutdownReport, Step

__all__ = ["Left", "Steps", "left_behind"]

#: Turns of the loop in which most tasks end; only what takes longer is waited for by the clock.
_TURNS = 3


class Steps:
    """Runs steps and times each. A failure is recorded, and does not stop the next step."""

    def __init__(self, clock: Clock, dump: Callable[[], Dump]) -> None:
        self._clock = clock
        self._steps: list[Step] = []
        #: The steps that go on, and when each began.
        self._under_way: dict[str, float] = {}
        self._take_dump = dump
        #: The work that was under way when a step first ran out of time.
        self._dump: Dump | None = None

    async def run(
        self,
        name: str,
        outcome_if_late: Outcome,
        step: Callable[[], Awaitable["list[Left]"]],
    ) -> None:
        """Runs one step. `step` gives what it left behind when its time was over."""
        started = self._under_way[name] = self._clock.now()
        outcome: Outcome = "done"
        error: BaseException | None = None
        try:
            if left := await step():
                self._ran_out()
                outcome = outcome_if_late
                error = TimedOut(f"{_count(left)} did not end in time: {_listed(left)}", policy="Shutdown")
                for each in left[:_NOTED]:
                    _note(error, each.name, each.where)
        except Exception as failure:
            outcome, error = "failed", failure
        self.record(name, started, outcome, error)

    def record(
        self,
        name: str,
        started: float,
        outcome: Outcome,
        error: BaseException | None,
    ) -> None:
        """Records a step that ends now; steps are listed in the order in which they end."""
        self._under_way.pop(name, None)
        self._steps.append(Step(name, started - self._clock.began, self._clock.now() - started, outcome, error))

    async def end(
        self,
        name: str,
        tasks: "Collection[asyncio.Task[Any]]",
        polite: Callable[[], float],
        last: Callable[[], float],
    ) -> BaseException | None:
        """Waits for tasks until `polite`, then cancels them, and leaves behind what has not ended at `last`.

        It is a step of its own. Gives the reason if it was not done.
        """
        began = self._under_way[name] = self._clock.now()
        for _ in range(_TURNS):
            if all(task.done() for task in tasks):
                break
            await asyncio.sleep(0)
        outcome: Outcome = "done"
        error: BaseException | None = None
        if not await self._clock.wait(tasks, polite):
            self._ran_out()
            where = [line for task in tasks if not task.done() for line in of_task(task)]
            for task in tasks:
                task.cancel()
            outcome, what = "timed_out", "it was cancelled"
            if not await self._clock.wait(tasks, last):
                outcome, what = "abandoned", "it was left behind"
            error = TimedOut(f"{name} did not end in its time, and {what}{place(where)}", policy="Shutdown")
            _note(error, name, where)
        else:
            error = next((e for task in tasks if (e := _why_cut(task, name)) is not None), None)
            outcome = "done" if error is None else "failed"
        self.record(name, began, outcome, error)
        return error

    def report(self) -> ShutdownReport:
        """The report of the steps that have ended."""
        return ShutdownReport(tuple(self._steps), self._dump, _native.statistics()["spans_dropped"])

    def so_far(self) -> "list[tuple[Step, bool]]":
        """The steps that have ended, and those that go on, which have no outcome yet."""
        now = self._clock.now()
        going = [Step(name, at - self._clock.began, now - at, "done", None) for name, at in self._under_way.items()]
        return [(step, True) for step in self._steps] + [(step, False) for step in going]

    def _ran_out(self) -> None:
        if self._dump is None:
            self._dump = self._take_dump()


@dataclass(frozen=True, slots=True)
class Left:
    """A piece of work that was left behind, and its stack: lines of Python, outermost first."""

    name: str
    where: list[str] = field(default_factory=list)


def left_behind(work: "asyncio.Future[Any]") -> Left:
    """A task, or the handle of what was submitted, as a report names it."""
    if isinstance(work, asyncio.Task):
        return Left(work.get_name(), of_task(work))
    task: asyncio.Task[Any] | None = getattr(work, "_task", None)
    return Left(repr(work), [] if task is None else of_task(task))


def _why_cut(task: "asyncio.Task[Any]", name: str) -> BaseException | None:
    error, where = why_cut(task, name)
    if error is not None:
        _note(error, name, where)
    return error


#: The number of tasks whose stacks a report shows, at most.
_NOTED = 20


def _note(error: BaseException, name: str, where: list[str]) -> None:
    if where:
        error.add_note("\n  ".join([f"{name} stood at", *where]))


def _count(left: list[Left]) -> str:
    return "1 effect" if len(left) == 1 else f"{len(left)} effects"


def _listed(left: list[Left], most: int = 10) -> str:
    shown = [each.name + place(each.where) for each in sorted(left, key=lambda each: each.name)[:most]]
    return ", ".join([*shown, f"and {len(left) - most} more"] if len(left) > most else shown)
