"""Contests: contestants take turns in one process, answers are checked, medians become rows."""

import gc
import importlib
import statistics
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypedDict

OURS = "ours"
#: Other ways of ours to do the same are named after this, as in "ours: gather".
OURS_TOO = "ours: "


class Scale(Enum):
    """How much is measured: everything, under 40 s a suite, or just enough to see that a suite works."""

    FULL = "full"
    QUICK = "quick"
    TINY = "tiny"

    def pick(self, *, full: int, quick: int, tiny: int) -> int:
        """The number that belongs to this scale."""
        return {Scale.FULL: full, Scale.QUICK: quick, Scale.TINY: tiny}[self]


class Row(TypedDict):
    """One line of the JSON file; `ratio` is theirs / ours, so more is better for us."""

    suite: str
    case: str
    loop: str
    peer: str
    ours: float
    theirs: float
    unit: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of one contestant in one round: its figure, and the answer that proves that it did the work."""

    figures: tuple[float, ...]
    answer: object


Round = Callable[[], Awaitable[Sample]]
Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Measure:
    """A case: which figure of the samples is compared, in what unit, and which contestant is "ours" in it."""

    case: str
    unit: str
    ours: str = OURS
    figure: int = 0


@dataclass(frozen=True, slots=True)
class Extra:
    """A row beside those against the peers: both of its sides are computed from the samples, round by round."""

    case: str
    peer: str
    unit: str
    ours: Callable[[Samples], Iterable[float]]
    theirs: Callable[[Samples], Iterable[float]]
    #: The contestants that it needs: without one of them there is no row.
    needs: tuple[str, ...]
    #: A smaller figure cannot be told from nothing, and is reported as this.
    resolution: float = 0.0


@dataclass(frozen=True, slots=True)
class Contest:
    """One thing to do, those who do it, the answer that each must give in each round, and the cases judged by it."""

    rounds: int
    contestants: Mapping[str, Round]
    expected: object
    measures: tuple[Measure, ...]
    extras: tuple[Extra, ...] = ()
    #: Turns that do not count: they fill caches and freelists and start threads.
    warm_ups: int = 1


class Suite(Protocol):
    """The members of each module of `benches.suites`."""

    #: Every case, with the peers that ours is compared with in it.
    CASES: Mapping[str, tuple[str, ...]]

    def contests(self, scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
        """The contests one after another; what they need (files, a Runtime) lives as long as this generator."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """A row, with the best round of either side for the table."""

    row: Row
    best_ours: float
    best_theirs: float


def compared(
    suite: str, case: str, loop: str, peer: str, unit: str, ours: Sequence[float], theirs: Sequence[float]
) -> Result:
    """The one place where two series of figures become a ratio."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    row = Row(suite=suite, case=case, loop=loop, peer=peer, ours=mine, theirs=other, unit=unit, ratio=other / mine)
    return Result(row, min(ours), min(theirs))


async def measured(suite: str, loop: str, contest: Contest) -> list[Result]:
    """Holds a contest: each round goes once through all contestants, and each round begins with another one."""
    names = list(contest.contestants)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for turn in range(contest.warm_ups + contest.rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()  # each starts without garbage; the collector stays on, as it does in a program
            sample = await contest.contestants[name]()
            if sample.answer != contest.expected:
                raise AssertionError(f"{suite} {contest.measures[0].case}: {name} gave another answer than expected")
            if turn >= contest.warm_ups:
                samples[name].append(sample)
    return [*_against_peers(suite, loop, contest, samples), *_extras(suite, loop, contest, samples)]


def _against_peers(suite: str, loop: str, contest: Contest, samples: Samples) -> Iterable[Result]:
    for it in contest.measures:
        ours = figures(samples[it.ours], it.figure)
        for peer in samples:
            if peer != OURS and not peer.startswith(OURS_TOO):
                yield compared(suite, it.case, loop, peer, it.unit, ours, figures(samples[peer], it.figure))


def _extras(suite: str, loop: str, contest: Contest, samples: Samples) -> Iterable[Result]:
    for it in contest.extras:
        if all(name in samples for name in it.needs):
            ours = [max(value, it.resolution) for value in it.ours(samples)]
            theirs = [max(value, it.resolution) for value in it.theirs(samples)]
            yield compared(suite, it.case, loop, it.peer, it.unit, ours, theirs)


def figures(samples: Sequence[Sample], which: int = 0) -> list[float]:
    """One figure of each sample."""
    return [sample.figures[which] for sample in samples]


_skipped: set[str] = set()


def optional(module: str, remedy: str = "install it to compare with it") -> Any:
    """A peer's module, or None and (once) a line that says so: no peer is left out in silence."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.partition(".")[0]):  # it is there, and what it needs is not: say so
            raise
        if module not in _skipped:
            print(f"skipped: {module} is not there; {remedy}", flush=True)
            _skipped.add(module)
        return None
