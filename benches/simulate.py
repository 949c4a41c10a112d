"""Predicts the rate and the latency of many workers from costs that are measured on a few: `benches/simulate.py`.

1. The costs of a call are measured: of its caller's thread, of the pool's thread, of its worker, of messages and bytes.
2. The model in `benches/queueing.py` predicts 2 and 4 workers from these, and both are measured: their rate when all
   calls are there at once, and the latency of calls that come at 70 % of that rate. The work is to sleep, so that it
   takes no core from the other workers.
3. The same model predicts up to 1,000 workers.

Exit code 1: a prediction was off by more than 20 %.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean, median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script, too

from benches.queueing import SHORT, Costs, predict, quantile
from mountain_runtime import Effect, On, blocking, gather, pools

#: How far a prediction may be from its measurement.
TOLERANCE = 0.2
#: Seconds of sleep of a measured call, and the part of the greatest rate at which latency is measured.
SLEEP, LOAD = 0.005, 0.7
#: Workers by which it is measured what each of many costs, bytes of a large call, and pairs of measurements.
MANY, LARGE, ROUNDS = 32, 4 << 20, 7
#: Rounds of which the best one counts.
BEST_OF = 3
WORKERS = (1, 2, 4, 10, 30, 100, 300, 1000)
WORKS = (0.001, 0.01, 0.1, 1.0)

one, two, four, many = (pools.Processes(count, name=f"simulated {count}") for count in (1, 2, 4, MANY))

#: Seconds that the work took, and of the processor, of the worker's thread until then.
Worked = tuple[float, float]


def worked(seconds: float) -> Worked:
    began = time.perf_counter()
    time.sleep(seconds)  # real: it is the work
    return time.perf_counter() - began, time.thread_time()


# A worker finds a function by its name, so each pool has one of its own.
@blocking(On(one))
def on_one(seconds: float) -> Worked:
    return worked(seconds)


@blocking(On(one))
def echo(data: bytes) -> tuple[bytes, float]:
    return data, time.process_time()


@blocking(On(two))
def on_two(seconds: float) -> Worked:
    return worked(seconds)


@blocking(On(four))
def on_four(seconds: float) -> Worked:
    return worked(seconds)


@blocking(On(many))
def on_many(seconds: float) -> Worked:
    return worked(seconds)


@blocking(On(many))
def parked() -> None:
    """Keeps its worker until it is cancelled."""
    while True:
        time.sleep(0.2)  # real: the worker is only to be there


Call = Callable[[float], Effect[Worked]]


@dataclass(frozen=True, slots=True)
class Measured:
    """Calls that were made at once."""

    rate: float
    #: Seconds of work, the mean of what the workers saw, and of the threads of this process for a call.
    work: float
    caller: float
    manager: float
    worker: float


async def at_once(call: Call, calls: int, seconds: float) -> Measured:
    await gather([call(0.0) for _ in range(200)])  # the first calls import and allocate as well
    processor, thread, began = time.process_time(), time.thread_time(), time.perf_counter()
    done = await gather([call(seconds) for _ in range(calls)])
    took = time.perf_counter() - began
    caller = (time.thread_time() - thread) / calls
    here = (time.process_time() - processor) / calls
    return Measured(calls / took, fmean(took for took, _ in done), caller, here - caller, _each([at for _, at in done]))


def _each(at: Sequence[float]) -> float:
    """The processor time of a worker's thread from one of its calls to the next."""
    return median(after - before for before, after in pairwise(at))


async def best(call: Call, calls: int) -> Measured:
    """The round with the greatest rate: other programs make a round slower, and none makes it faster."""
    return max([await at_once(call, calls, SLEEP) for _ in range(BEST_OF)], key=lambda measured: measured.rate)


async def measured_costs() -> tuple[Costs, float]:
    """The costs of a call, and the seconds that a sleep of `SLEEP` takes."""
    async with one, many:
        others = [asyncio.ensure_future(parked()) for _ in range(MANY - 1)]
        while many.statistics().running < MANY - 1:
            await asyncio.sleep(0.01)  # real: workers are other processes
        pairs = [(await at_once(on_one, 200, SLEEP), await at_once(on_many, 200, SLEEP)) for _ in range(ROUNDS)]
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        busy = await at_once(on_many, 5000, SHORT * 2)
    async with one:
        alone = await best(on_one, 200)
        here, there = await _for_a_byte()
    by_itself, beside = (median(one_round[place].manager for one_round in pairs) for place in (0, 1))
    # Threads that wake up for each call find their memory cold: so much dearer is all that they do.
    dearer = max(beside / busy.manager, 1.0)
    each = max((beside - by_itself) / (MANY - 1) / dearer, 0.0)
    manager = max(busy.manager - each * MANY, 0.0)
    # By itself, a call wakes both threads: the pool's for its answer, and the caller's for its result.
    wake = max((alone.caller + alone.manager - busy.caller - manager - each) / 2, 0.0)
    # A worker's turn is its work, its own cost, a message there and one back, and what the pool's thread does between.
    message = max((1 / alone.rate - alone.work - alone.worker - wake - manager - each) / 2, 0.0)
    return Costs(busy.caller, manager, each, wake, alone.worker, message, here, there), alone.work


async def _for_a_byte() -> tuple[float, float]:
    """Seconds of processor time for a byte there and back, here and at the worker."""
    data = bytes(LARGE)
    _, first = await echo(data)
    last, here, calls = first, time.process_time(), 10
    for _ in range(calls):
        _, last = await echo(data)
    return (time.process_time() - here) / calls / LARGE, (last - first) / calls / LARGE


@dataclass(frozen=True, slots=True)
class Check:
    """A prediction beside its measurement."""

    workers: int
    what: str
    unit: str
    predicted: float
    measured: float

    @property
    def off(self) -> float:
        return self.predicted / self.measured - 1


async def checked(costs: Costs, work: float, pool: pools.Pool, call: Call, workers: int) -> list[Check]:
    calls = 300 * workers
    predicted = predict(costs, workers, [0.0] * calls, [work] * calls)
    async with pool:
        measured = await best(call, calls)
        times = by_chance(measured.rate * LOAD, calls)
        rounds = [await came(call, times) for _ in range(BEST_OF)]
    arrivals, latencies = min(rounds, key=lambda one_round: fmean(one_round[1]))
    later = predict(costs, workers, arrivals, [work] * calls)
    return [
        Check(workers, "rate", "calls/s", predicted.rate, measured.rate),
        Check(workers, "latency, mean", "ms", fmean(later.latencies) * 1e3, fmean(latencies) * 1e3),
        Check(workers, "latency, p90", "ms", later.within(0.9) * 1e3, quantile(latencies, 0.9) * 1e3),
    ]


async def came(call: Call, arrivals: Sequence[float]) -> tuple[list[float], list[float]]:
    """When calls came that were to come at these times, and the latency of each."""
    first = time.perf_counter()
    began: list[float] = []
    latencies = [0.0] * len(arrivals)

    async def one_of(number: int) -> None:
        await call(SLEEP)
        latencies[number] = time.perf_counter() - first - began[number]

    async with asyncio.TaskGroup() as calls:
        for number, arrival in enumerate(arrivals):
            await asyncio.sleep(max(arrival - (time.perf_counter() - first), 0))  # real, and a little late
            began.append(time.perf_counter() - first)
            calls.create_task(one_of(number))
    return began, latencies


def by_chance(rate: float, calls: int) -> list[float]:
    """Arrivals without a pattern, so many a second on the average; the same ones each time."""
    random_ = random.Random(1)
    return list(accumulate(random_.expovariate(rate) for _ in range(calls)))


async def measured_and_checked() -> tuple[Costs, list[Check]]:
    costs, work = await measured_costs()
    return costs, [
        *await checked(costs, work, two, on_two, 2),
        *await checked(costs, work, four, on_four, 4),
    ]


def prediction(costs: Costs, workers: int, work: float) -> tuple[float, float, float, float]:
    """The greatest rate and how busy the caller is then; p50 and p99 of the latency at 70 % of that rate."""
    calls = max(20 * workers, 2000)
    most = predict(costs, workers, [0.0] * calls, [work] * calls)
    later = predict(costs, workers, by_chance(most.rate * LOAD, calls), [work] * calls)
    return most.rate, most.busy_here, later.within(0.5), later.within(0.99)


def in_words(costs: Costs) -> str:
    """The costs, in microseconds."""
    us = {name: f"{seconds * 1e6:.3g} us" for name, seconds in asdict(costs).items()}
    return (
        f"A call takes {us['caller']} of its caller's thread, {us['manager']} of the pool's thread, {us['each']} of "
        f"that one for each worker, {us['wake']} where one of these threads has to wake up, {us['worker']} of its "
        f"worker, and {us['message']} for a message. A MB there and back takes {costs.byte_here * 1e9:.3g} ms here and "
        f"{costs.byte_there * 1e9:.3g} ms at the worker."
    )


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.parse_args(argv)
    costs, checks = asyncio.run(measured_and_checked())
    print(in_words(costs), end="\n\n")
    print(row("workers", f"calls of {SLEEP * 1e3:g} ms", "unit", "predicted", "measured", "off"))
    print(row("---:", "---", "---", "---:", "---:", "---:"))
    for it in checks:
        print(row(it.workers, it.what, it.unit, f"{it.predicted:.4g}", f"{it.measured:.4g}", f"{it.off:+.1%}"))
    print()
    print(row("workers", "work, ms", "calls/s", "caller busy", "p50, ms", "p99, ms"))
    print(row(*["---:"] * 6))
    for work in WORKS:
        for workers in WORKERS:
            rate, busy, p50, p99 = prediction(costs, workers, work)
            ms = (f"{seconds * 1e3:.4g}" for seconds in (p50, p99))
            print(row(f"{workers:,}", f"{work * 1e3:g}", f"{rate:,.0f}", f"{busy:.0%}", *ms), flush=True)
    return 1 if any(abs(check.off) > TOLERANCE for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
