"""The report of a shutdown: its steps and their outcomes, as data, as text and as JSON."""

import json
from dataclasses import dataclass
from typing import Literal

from .._tasks.dump import Dump
from .._tasks.users_errors import notes, said

__all__ = ["ShutdownReport", "Step"]

Outcome = Literal["done", "failed", "timed_out", "abandoned"]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a shutdown's time line."""

    name: str
    #: Seconds since the shutdown began.
    started: float
    took: float
    outcome: Outcome
    error: BaseException | None


class ShutdownReport:
    """The report of a shutdown; `str(report)` is a table of it, with the work under way when a step ran out of time."""

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
        """Raises an ExceptionGroup of the errors of all steps, if there are any."""
        errors = [step.error for step in self.steps if isinstance(step.error, Exception)]
        others = [step.error for step in self.steps if step.error is not None and not isinstance(step.error, Exception)]
        if others:
            raise BaseExceptionGroup("the shutdown failed", [*errors, *others])
        if errors:
            raise ExceptionGroup("the shutdown failed", errors)
