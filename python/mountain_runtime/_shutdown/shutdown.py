"""How a runtime stops: the settings, the steps, and the report of what happened."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from .. import _native
from .._tasks.cuts import why_cut
from .._tasks.dump import Dump
from .._tasks.stacks import of_task, place
from .._tasks.users_errors import notes, said
from ..errors import ConfigError, TimedOut
from ..policy._numbers import Seconds, seconds

__all__ = ["POLITE", "Clock", "Left", "Shutdown", "ShutdownReport", "Step", "Steps", "left_behind"]

#: The share of the deadline that is kept for cancelling and cleanup, however long the drain may be.
_KEPT = 0.2
#: Seconds to drain, where no other time is set.
_DRAIN = 10
#: What an abort leaves to each step, so that a cleanup which needs no more than that can end.
_ABORT = 0.1
#: Less than this is no time to wait: what was to end then has been woken for it.
_MOMENT = 1e-6
#: Of its time, the part after which a service or a deferred call is cancelled.
POLITE = 0.8
#: Turns of the loop that tasks have to end in before anybody looks at the clock: most need no more.
_TURNS = 3


def _now() -> float:
    """Seconds on the engine's clock, which tests can move."""
    return _native.now() / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """How long a shutdown may take. All of it ends within `deadline`."""

    #: Under the 30 seconds that Kubernetes gives.
    deadline: Seconds = 25
    #: How long work in flight may go on before it is cancelled; at most four fifths of the deadline. More than all of
    #: it is a ConfigError.
    drain: Seconds = _DRAIN
    #: How long to go on taking work after the stop is known, until load balancers have heard of it.
    propagation: Seconds = 0

    def __post_init__(self) -> None:
        for setting in ("deadline", "drain", "propagation"):
            seconds(getattr(self, setting), "Shutdown", setting)
        whole, drain, announced = (
            seconds(each, "Shutdown", "") for each in (self.deadline, self.drain, self.propagation)
        )
        # The drain that is set by default, and an endless one, have what there is.
        asked = announced + (0.0 if self.drain == _DRAIN or drain == inf else drain)
        if asked > whole:
            raise ConfigError(
                f"{self!r}: propagation and drain take {asked:g} s, which do not fit the deadline of {whole:g} s: a "
                f"fifth is kept for cleanup. Make them {whole * (1 - _KEPT):g} s together, or write "
                f"deadline={asked / (1 - _KEPT):g}"
            )


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a shutdown's time line."""

    name: str
    #: Seconds since the shutdown began.
    started: float
    took: float
    outcome: Literal["done", "failed", "timed_out", "abandoned"]
    error: BaseException | None


class ShutdownReport:
    """What a shutdown did; `str(report)` is a table of it, with what was under way when a step ran out of time."""

    __slots__ = ("_dump", "ok", "spans_dropped", "steps")

    def __init__(self, steps: tuple[Step, ...], dump: Dump | None = None, spans_dropped: int = 0) -> None:
        self.steps = steps
        self._dump = dump
        #: Spans that no exporter took, since the process began.
        self.spans_dropped = spans_dropped
        #: Every step was done in its time.
        self.ok = all(step.outcome == "done" for step in steps)

    def __str__(self) -> str:
        took = max((step.started + step.took for step in self.steps), default=0.0)
        lines = [f"shutdown {'complete' if self.ok else 'incomplete'} after {took:.2f} s"]
        width = max((len(step.name) for step in self.steps), default=0)
        for step in self.steps:
            line = f"  {step.name:<{width}}{step.started:>8.2f} s  +{step.took:.2f} s  {step.outcome}"
            lines.append(line if step.error is None else f"{line}: {said(step.error)}")
        if self.spans_dropped:
            lines.append(f"spans that no exporter took: {self.spans_dropped}")
        if self._dump is not None:
            lines += ["when the time first ran out:", *(f"  {line}" for line in str(self._dump).splitlines())]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<ShutdownReport ok={self.ok} {' '.join(f'{step.name}={step.outcome}' for step in self.steps)}>"

    def to_json(self) -> str:
        """The report as a JSON object."""
        steps = [
            {
                "name": step.name,
                "started": step.started,
                "took": step.took,
                "outcome": step.outcome,
                "error": None if step.error is None else f"{type(step.error).__name__}: {said(step.error)}",
                "where": notes(step.error),
            }
            for step in self.steps
        ]
        under_way = [] if self._dump is None else [dict(each) for each in self._dump.effects]
        return json.dumps({"ok": self.ok, "steps": steps, "under_way": under_way, "spans_dropped": self.spans_dropped})

    def raise_if_failed(self) -> None:
        """An ExceptionGroup of what went wrong, if anything did."""
        errors = [step.error for step in self.steps if isinstance(step.error, Exception)]
        others = [step.error for step in self.steps if step.error is not None and not isinstance(step.error, Exception)]
        if others:
            raise BaseExceptionGroup("the shutdown failed", [*errors, *others])
        if errors:
            raise ExceptionGroup("the shutdown failed", errors)


class Clock:
    """When each part of a shutdown ends; it can be hurried while a step waits."""

    def __init__(self, settings: Shutdown, drain: bool) -> None:
        deadline = seconds(settings.deadline, "Shutdown", "deadline")
        self.began = _now()
        self.end = self.began + deadline
        #: Whether what is in flight may go on for a while, or is cancelled from the first.
        self.drains = drain
        self.announced = self.began + (seconds(settings.propagation, "Shutdown", "propagation") if drain else 0.0)
        longest = self.announced + (seconds(settings.drain, "Shutdown", "drain") if drain else 0.0)
        kept = self.end - deadline * _KEPT if deadline < 1e9 else longest
        self.drained = min(longest, kept)
        self.announced = min(self.announced, kept)
        self._changed: set[asyncio.Future[None]] = set()

    def stop_draining(self) -> None:
        """What is in flight is to be cancelled now."""
        self.announced = self.drained = self.began
        self._wake()

    def abort(self) -> None:
        """Everything is to end now."""
        self.end = min(self.end, _now() + _ABORT)
        self.stop_draining()

    def now(self) -> float:
        """Seconds, as `end` counts them."""
        return _now()

    def part(self, of: float) -> Callable[[], float]:
        """Until when a step may take such a part of what is left now, though it be hurried."""
        until = _now() + max(self.left(), 0.0) * of
        return lambda: min(until, self.end)

    def left(self) -> float:
        """Seconds until everything has to have ended."""
        return self.end - _now()

    def _wake(self) -> None:
        for future in self._changed:
            if not future.done():
                future.set_result(None)

    async def wait(self, futures: Collection["asyncio.Future[Any]"], until: Callable[[], float]) -> bool:
        """Waits for all futures until a time that may change meanwhile; says whether all have ended."""
        left = {future for future in futures if not future.done()}
        while left:
            seconds_left = until() - _now()
            if seconds_left < _MOMENT:
                return False
            done = asyncio.get_running_loop().create_future()
            await self._wait_once(left, done, min(seconds_left, 1e6))
            left = {future for future in left if not future.done()}
        return True

    async def sleep(self, until: Callable[[], float]) -> None:
        """Sleeps until a time that may change meanwhile."""
        await self.wait([asyncio.get_running_loop().create_future()], until)

    async def _wait_once(
        self, futures: Collection["asyncio.Future[Any]"], done: "asyncio.Future[None]", timeout: float
    ) -> None:
        """Until all have ended, the time has passed, or the times have changed."""
        count = len(futures)

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        def ended(_: object) -> None:
            nonlocal count
            count -= 1
            if not count:
                wake()

        for future in futures:
            future.add_done_callback(ended)
        timer = asyncio.get_running_loop().call_later(timeout, wake)
        self._changed.add(done)
        try:
            await done
        finally:
            timer.cancel()
            self._changed.discard(done)
            for future in futures:
                future.remove_done_callback(ended)


class Steps:
    """Runs one step after the other, each timed; a failure is recorded, and the next step goes on."""

    def __init__(self, clock: Clock, dump: Callable[[], Dump]) -> None:
        self._clock = clock
        self._steps: list[Step] = []
        #: When each step that goes on began.
        self._under_way: dict[str, float] = {}
        self._take_dump = dump
        #: What was under way when a step first ran out of time.
        self._dump: Dump | None = None

    async def run(
        self,
        name: str,
        outcome_if_late: Literal["done", "failed", "timed_out", "abandoned"],
        step: Callable[[], Awaitable["list[Left]"]],
    ) -> None:
        """`step` gives what it had to leave behind when its time was over."""
        started = self._under_way[name] = _now()
        outcome: Literal["done", "failed", "timed_out", "abandoned"] = "done"
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
        outcome: Literal["done", "failed", "timed_out", "abandoned"],
        error: BaseException | None,
    ) -> None:
        """A step that was run elsewhere and ends now; steps are listed as they end."""
        self._under_way.pop(name, None)
        self._steps.append(Step(name, started - self._clock.began, _now() - started, outcome, error))

    async def end(
        self,
        name: str,
        tasks: "Collection[asyncio.Task[Any]]",
        polite: Callable[[], float],
        last: Callable[[], float],
    ) -> BaseException | None:
        """Waits for tasks until `polite`, then cancels them, and leaves behind what has not ended at `last`.

        It is a step of its own. Gives why it was not done as it should be, if so.
        """
        began = self._under_way[name] = _now()
        for _ in range(_TURNS):
            if all(task.done() for task in tasks):
                break
            await asyncio.sleep(0)
        outcome: Literal["done", "failed", "timed_out", "abandoned"] = "done"
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
        """What happened so far."""
        return ShutdownReport(tuple(self._steps), self._dump, _native.statistics()["spans_dropped"])

    def so_far(self) -> "list[tuple[Step, bool]]":
        """The steps that have ended, and those that go on, which have no outcome yet."""
        now = _now()
        going = [Step(name, at - self._clock.began, now - at, "done", None) for name, at in self._under_way.items()]
        return [(step, True) for step in self._steps] + [(step, False) for step in going]

    def _ran_out(self) -> None:
        if self._dump is None:
            self._dump = self._take_dump()


@dataclass(frozen=True, slots=True)
class Left:
    """What was left behind, and where it stood: lines of Python, outermost first."""

    name: str
    where: list[str] = field(default_factory=list)


def left_behind(work: "asyncio.Future[Any]") -> Left:
    """A task, or what was submitted."""
    if isinstance(work, asyncio.Task):
        return Left(work.get_name(), of_task(work))
    task: asyncio.Task[Any] | None = getattr(work, "_task", None)
    return Left(repr(work), [] if task is None else of_task(task))


def _why_cut(task: "asyncio.Task[Any]", name: str) -> BaseException | None:
    error, where = why_cut(task, name)
    if error is not None:
        _note(error, name, where)
    return error


#: Of so many the report says where they stood.
_NOTED = 20


def _note(error: BaseException, name: str, where: list[str]) -> None:
    if where:
        error.add_note("\n  ".join([f"{name} stood at", *where]))


def _count(left: list[Left]) -> str:
    return "1 effect" if len(left) == 1 else f"{len(left)} effects"


def _listed(left: list[Left], most: int = 10) -> str:
    shown = [each.name + place(each.where) for each in sorted(left, key=lambda each: each.name)[:most]]
    return ", ".join([*shown, f"and {len(left) - most} more"] if len(left) > most else shown)
