"""Processes: a thousand short ones, 16 at a time, beside asyncio's own.

Both give what the program wrote and its exit code. `spawn` is the time for all of them; `spawn-cpu` what this process
itself computed meanwhile, on all of its threads. The extra row leaves asyncio without any pipe.
"""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from time import process_time

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Sample, Samples, Scale, figures
from benches.workloads import side_by_side
from mountain_runtime import process

PEERS = ("create_subprocess_exec",)
CASES: Mapping[str, tuple[str, ...]] = dict.fromkeys(("spawn", "spawn-cpu"), PEERS)

AT_A_TIME = 16
PROGRAM = "/bin/true"
#: Not a contestant of its own case: it does less.
WITHOUT_PIPES = OURS_TOO + "asyncio without pipes"

Answer = tuple[int, bytes, bytes]


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """One contest, judged by two figures."""
    count = scale.pick(full=1000, quick=300, tiny=8)
    turns = {
        OURS: partial(_all, _ours, count),
        "create_subprocess_exec": partial(_all, _asyncio, count),
        WITHOUT_PIPES: partial(_all, _without_pipes, count),
    }
    measures = (Measure("spawn", "ms"), Measure("spawn-cpu", "ms", figure=1))
    extra = Extra(
        "spawn", "create_subprocess_exec without pipes", "ms", _of(OURS), _of(WITHOUT_PIPES), (WITHOUT_PIPES,)
    )
    yield Contest(scale.pick(full=7, quick=3, tiny=1), turns, [(0, b"", b"")] * count, measures, (extra,))


def _of(name: str) -> Callable[[Samples], list[float]]:
    return lambda samples: figures(samples[name])


async def _ours() -> Answer:
    done = await process.run(PROGRAM)
    return done.returncode, done.stdout, done.stderr


async def _asyncio() -> Answer:
    child = await asyncio.create_subprocess_exec(PROGRAM, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    stdout, stderr = await child.communicate()
    return child.returncode or 0, stdout, stderr


async def _without_pipes() -> Answer:
    child = await asyncio.create_subprocess_exec(PROGRAM, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    return await child.wait(), b"", b""


async def _all(spawn: Callable[[], Awaitable[Answer]], count: int) -> Sample:
    """Milliseconds for all, and milliseconds of this process's own computing."""
    answer: list[Answer] = []
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            answer.append(await spawn())

    computed = process_time()
    seconds, _ = await side_by_side(worker, AT_A_TIME)
    return Sample((seconds * 1e3, (process_time() - computed) * 1e3), answer)
