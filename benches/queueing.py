"""A model of a pool: calls that go through the one interpreter of their caller to many workers, event by event.

It is a function of its arguments alone: it reads no clock and draws nothing at random.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count

#: Where a pool lets a worker have calls in advance: the seconds up to which a call is short, and how many.
SHORT, AHEAD = 0.0005, 64
#: Seconds for which a thread keeps the interpreter while another one waits for it: `sys.getswitchinterval()`.
SWITCH = 0.005


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that one call takes, of each who has a part in it."""

    #: The caller's thread: packing, and waking up with the result.
    caller: float
    #: The pool's thread, which shares the interpreter with the caller: sending, and reading the answer.
    manager: float
    #: Of the pool's thread for each worker that there is, as it looks for one with a place.
    each: float
    #: Of either thread, when it has had nothing to do: it wakes up, and its memory is no longer near.
    wake: float
    #: A worker, beside the work itself.
    worker: float
    #: A message, from its sender until its reader runs: no thread is busy with it.
    message: float
    #: A byte that goes there and back, of the caller's interpreter and of the worker.
    byte_here: float = 0.0
    byte_there: float = 0.0


@dataclass(frozen=True, slots=True)
class Predicted:
    """The course of some calls."""

    #: Seconds from the first arrival to the last result.
    took: float
    #: Seconds from the arrival of each call to its result, in the order of arrival.
    latencies: tuple[float, ...]
    #: The part of the time in which the caller's interpreter is busy, and the workers on the average.
    busy_here: float
    busy_there: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.latencies) / self.took

    def within(self, part: float) -> float:
        """The latency that this part of all calls keeps: 0.5 is the median."""
        return quantile(self.latencies, part)


def quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


class _At(Enum):
    """The place that a call comes to: each of them costs time or waits for a turn."""

    ARRIVAL = 0
    SUBMIT = 1
    HAND = 2
    WORKER = 3
    WORKED = 4
    ANSWERED = 5
    ANSWER = 6
    RECEIVE = 7


class _Course:
    """One run of the model. The events of a call are those of `_At`, in their order."""

    def __init__(
        self, costs: Costs, workers: int, work: Sequence[float], size: int, per_worker: int, ahead: int
    ) -> None:
        self.work = work
        self.per_worker = per_worker
        self.costs = costs
        bytes_here = costs.byte_here * size / 2
        #: The steps of both threads of the caller's process at its one interpreter.
        self.steps = {
            _At.SUBMIT: costs.caller / 2 + bytes_here,
            _At.HAND: costs.manager / 2 + costs.each * workers,
            _At.ANSWER: costs.manager / 2 + bytes_here,
            _At.RECEIVE: costs.caller / 2,
        }
        self.there = costs.worker + costs.byte_there * size
        self.events: list[tuple[float, int, _At, int, int]] = []
        self.order = count()
        self.threads: tuple[deque[tuple[_At, int, int]], ...] = (deque(), deque())
        #: The thread that has the interpreter, since when, and whether it is at a step.
        self.turn, self.since, self.at_step = 0, 0.0, False
        #: The threads that have had nothing to do.
        self.asleep = [True, True]
        self.busy_here = self.busy_there = 0.0
        self.waiting: deque[int] = deque()
        self.places = deque(worker for _ in range(per_worker + ahead) for worker in range(workers))
        self.lines: list[deque[int]] = [deque() for _ in range(workers)]
        self.at_work = [0] * workers
        self.ends = [0.0] * len(work)

    def at(self, time: float, what: _At, call: int, worker: int = -1) -> None:
        heapq.heappush(self.events, (time, next(self.order), what, call, worker))

    def run(self, arrivals: Sequence[float]) -> None:
        for call, time in enumerate(arrivals):
            self.at(time, _At.ARRIVAL, call)
        while self.events:
            now, _, what, call, worker = heapq.heappop(self.events)
            if what in self.steps:
                self.at_step = False
            self.after(now, what, call, worker)
            self.step(now)

    def after(self, now: float, what: _At, call: int, worker: int) -> None:
        """A call has done this, and goes on."""
        match what:
            case _At.ARRIVAL:
                self.threads[0].append((_At.SUBMIT, call, worker))
            case _At.SUBMIT:
                self.waiting.append(call)
                self.hand_out()
            case _At.HAND:
                self.at(now + self.costs.message, _At.WORKER, call, worker)
            case _At.WORKER:
                self.lines[worker].append(call)
                self.begin(now, worker)
            case _At.WORKED:
                self.at_work[worker] -= 1
                self.begin(now, worker)
                self.at(now + self.costs.message, _At.ANSWERED, call, worker)
            case _At.ANSWERED:
                self.threads[1].append((_At.ANSWER, call, worker))
            case _At.ANSWER:
                self.places.append(worker)
                self.threads[0].append((_At.RECEIVE, call, worker))
                self.hand_out()
            case _At.RECEIVE:
                self.ends[call] = now

    def hand_out(self) -> None:
        while self.waiting and self.places:
            self.threads[1].append((_At.HAND, self.waiting.popleft(), self.places.popleft()))

    def begin(self, now: float, worker: int) -> None:
        while self.lines[worker] and self.at_work[worker] < self.per_worker:
            call = self.lines[worker].popleft()
            self.at_work[worker] += 1
            took = self.there + self.work[call]
            self.busy_there += took
            self.at(now + took, _At.WORKED, call, worker)

    def step(self, now: float) -> None:
        """The thread that has the interpreter keeps it until it has nothing to do, or until its time is over."""
        if self.at_step:
            return
        mine, others = self.threads[self.turn], self.threads[1 - self.turn]
        self.asleep[self.turn] |= not mine
        if others and (not mine or now - self.since >= SWITCH):
            self.turn, self.since = 1 - self.turn, now
        elif not mine:
            return
        what, call, worker = self.threads[self.turn].popleft()
        took = self.steps[what] + self.asleep[self.turn] * self.costs.wake
        self.asleep[self.turn] = False
        self.busy_here += took
        self.at_step = True
        self.at(now + took, what, call, worker)


def predict(
    costs: Costs,
    workers: int,
    arrivals: Sequence[float],
    work: Sequence[float],
    *,
    size: int = 0,
    per_worker: int = 1,
) -> Predicted:
    """The course of calls that come at these times and whose work takes so long. Each worker has a core of its own.

    A worker has `per_worker` at a time, and more in advance where all are short. `size` are the bytes of a call, there
    and back.
    """
    ahead = min(AHEAD, len(work) // workers) if max(work) <= SHORT else 0
    course = _Course(costs, workers, work, size, per_worker, ahead)
    course.run(arrivals)
    took = max(course.ends) - arrivals[0]
    latencies = tuple(end - begin for begin, end in zip(arrivals, course.ends, strict=True))
    busy = course.busy_there / took / (workers * per_worker)
    return Predicted(took, latencies, course.busy_here / took, busy)
