"""Calls on a worker of a Ray cluster, which is started for them, beside calls of an actor of Ray's own."""

import contextlib
import importlib
import os
from collections.abc import AsyncGenerator
from importlib.util import find_spec
from time import perf_counter
from typing import Any
from unittest import mock

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Scale, figures, optional
from tests.pools.ray.head import Head

__all__ = ["ACTOR", "CASE", "contests"]

CASE, ACTOR = "ray-call", "a bare async actor"
FUNCTION = OURS_TOO + "a function"


async def contests(scale: Scale) -> AsyncGenerator[Contest, None]:
    """None where Ray is not installed."""
    if find_spec("ray") is None:
        optional("ray", "`scripts/setup .venv ray` installs it, for the case ray-call")
        return
    with contextlib.closing(Head(cpus=4)) as head:
        where = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token, "BENCH_RAY": head.address}
        with mock.patch.dict(os.environ, where):  # before Ray is imported: it looks then
            work = importlib.import_module("benches.ray_work")
            async with work.pool:
                yield _calls(scale, work, _bare_actor(optional("ray")))


def _bare_actor(ray: Any) -> Any:
    class Bare:
        """Sent by value, as it is within a function: its worker need not find this module."""

        async def added(self, a: int, b: int) -> int:
            return a + b

    return ray.remote(num_cpus=1, max_task_retries=0)(Bare).remote()


def _calls(scale: Scale, work: Any, actor: Any) -> Contest:
    count = scale.pick(full=1000, quick=500, tiny=10)

    def of(call: Any) -> Round:
        async def one_after_another() -> Sample:
            start, total = perf_counter(), 0
            for number in range(count):
                total += await call(number, 1)
            return Sample(((perf_counter() - start) / count * 1e6,), total)

        return one_after_another

    on_a_thread = Extra(
        CASE,
        f"{ACTOR}, ours a function",
        "us",
        lambda samples: figures(samples[FUNCTION], 0),
        lambda samples: figures(samples[ACTOR], 0),
        (FUNCTION, ACTOR),
    )
    turns = {OURS: of(work.add), FUNCTION: of(work.add_on_a_thread), ACTOR: of(actor.added.remote)}
    rounds = scale.pick(full=11, quick=5, tiny=1)
    return Contest(rounds, turns, count * (count + 1) // 2, (Measure(CASE, "us"),), (on_a_thread,))
