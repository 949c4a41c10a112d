"""The way over to tokio and back: a native operation that does nothing, beside the other ways to leave the event loop.

`create_task` never leaves it: it is what asyncio itself asks for one more concurrent step. Executors and limiters are
the default ones, as most programs have them.
"""

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from benches.memory import PAGE, resident
from benches.peers import rust_peer
from benches.workloads import all_at_once, beside_a_busy_thread, one_after_another, side_by_side
from mountain_runtime import Runtime, gather
from mountain_runtime._native import trial_noop as noop

PEERS = ("pyo3-async-runtimes", "run_in_executor", "to_thread", "anyio", "create_task")
CASES: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("sequential", "gather-10k", "native-gather-10k", "sustained-64", "spinning-thread"), PEERS
)

IN_FLIGHT = 64
#: Peers that need some 50 us a call do a twentieth of the sustained calls: more would only take longer.
SLOW_SHARE = 20

Call = Callable[[int], Awaitable[int]]


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The five cases; both gathers are one contest, since their peers are the same."""
    async with Runtime() as runtime:
        peers = _peers()
        yield _sequential(peers, scale)
        yield _gathered(runtime, peers, scale)
        yield _sustained(peers, scale)
        yield _beside_a_thread(peers, scale)


def _peers() -> dict[str, Call]:
    loop = asyncio.get_running_loop()
    found: dict[str, Call] = {}
    if rust := rust_peer():
        found["pyo3-async-runtimes"] = rust.noop
    found["run_in_executor"] = lambda number: loop.run_in_executor(None, _same, number)
    found["to_thread"] = lambda number: asyncio.to_thread(_same, number)
    if to_thread := optional("anyio.to_thread"):
        found["anyio"] = lambda number: to_thread.run_sync(_same, number)
    found["create_task"] = lambda number: loop.create_task(_trivial(number))
    return found


def _same(number: int) -> int:
    return number


async def _trivial(number: int) -> int:
    return number


def _sequential(peers: Mapping[str, Call], scale: Scale) -> Contest:
    numbers = range(scale.pick(full=1000, quick=500, tiny=10))
    turns = {name: partial(one_after_another, call, numbers) for name, call in _with_ours(peers).items()}
    return Contest(scale.pick(full=21, quick=9, tiny=1), turns, list(numbers), (Measure("sequential", "us"),))


def _with_ours(peers: Mapping[str, Call]) -> Mapping[str, Call]:
    return {OURS: noop, **peers}


def _gathered(runtime: Runtime, peers: Mapping[str, Call], scale: Scale) -> Contest:
    """Ours by `asyncio.gather` over submitted handles, and by our own `gather`."""
    count = scale.pick(full=10_000, quick=10_000, tiny=100)

    async def ours(count: int) -> list[int]:
        return await asyncio.gather(*[runtime.submit(noop(number)) for number in range(count)])

    async def native(count: int) -> list[int]:
        return await gather([noop(number) for number in range(count)])

    async def theirs(call: Call, count: int) -> list[int]:
        return await asyncio.gather(*[call(number) for number in range(count)])

    gathers: dict[str, Callable[[int], Awaitable[list[int]]]] = {OURS: ours, OURS_TOO + "gather": native}
    gathers.update((name, partial(theirs, call)) for name, call in peers.items())
    turns = {name: partial(all_at_once, each, count) for name, each in gathers.items()}
    measures = (Measure("gather-10k", "us"), Measure("native-gather-10k", "us", ours=OURS_TOO + "gather"))
    return Contest(scale.pick(full=11, quick=5, tiny=1), turns, list(range(count)), measures)


def _sustained(peers: Mapping[str, Call], scale: Scale) -> Contest:
    many = scale.pick(full=1_000_000, quick=100_000, tiny=1000)
    turns: dict[str, Round] = {}
    for name, call in _with_ours(peers).items():
        turns[name] = partial(_kept_in_flight, call, many if name in (OURS, "create_task") else many // SLOW_SHARE)
    label, page = "create_task, memory growth", PAGE / 1e6
    growth = Extra(
        "sustained-64", label, "MB", _growth(OURS), _growth("create_task"), ("create_task",), resolution=page
    )
    return Contest(scale.pick(full=3, quick=3, tiny=1), turns, True, (Measure("sustained-64", "us"),), (growth,))


def _beside_a_thread(peers: Mapping[str, Call], scale: Scale) -> Contest:
    seconds = scale.pick(full=1000, quick=250, tiny=20) / 1000
    turns = {name: partial(beside_a_busy_thread, call, seconds) for name, call in _with_ours(peers).items()}
    return Contest(scale.pick(full=9, quick=5, tiny=1), turns, True, (Measure("spinning-thread", "us"),))


async def _kept_in_flight(call: Call, count: int) -> Sample:
    """Microseconds a call, and the megabytes by which the process grew; the sum shows that each call answered once."""
    numbers = iter(range(count))

    async def worker() -> int:
        total = 0
        for number in numbers:
            total += await call(number)
        return total

    gc.collect()
    before = resident()
    seconds, totals = await side_by_side(worker, IN_FLIGHT)
    gc.collect()
    return Sample((seconds / count * 1e6, (resident() - before) / 1e6), sum(totals) == count * (count - 1) // 2)


def _growth(name: str) -> Callable[[Samples], list[float]]:
    return lambda samples: figures(samples[name], 1)
