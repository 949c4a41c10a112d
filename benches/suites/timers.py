"""Sleepers: a hundred thousand at once, beside asyncio's own timers and tokio's behind pyo3-async-runtimes.

Every contestant runs in a fresh process (`benches/sleepers.py`), twice a round: once to weigh the sleepers, once to let
them end.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from pathlib import Path

from benches.harness import OURS, Contest, Measure, Sample, Scale
from benches.peers import rust_peer

PEERS = ("asyncio", "pyo3-async-runtimes")
CASES: Mapping[str, tuple[str, ...]] = dict.fromkeys(("memory", "submit", "lateness"), PEERS)

ROOT = Path(__file__).resolve().parents[2]


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """One contest for the three cases."""
    count = scale.pick(full=100_000, quick=100_000, tiny=500)
    seconds = 0.1 if scale is Scale.TINY else 1.0
    names = [OURS, "asyncio", *(["pyo3-async-runtimes"] if rust_peer() else [])]
    turns = {name: partial(_slept, name, loop, count, seconds) for name in names}
    measures = (Measure("memory", "bytes"), Measure("submit", "us", figure=1), Measure("lateness", "s", figure=2))
    yield Contest(scale.pick(full=5, quick=2, tiny=1), turns, count, measures, warm_ups=0)


async def _slept(name: str, loop: str, count: int, seconds: float) -> Sample:
    weighed = await _process(name, "weigh", loop, count, seconds)
    ended = await _process(name, "end", loop, count, seconds)
    return Sample((weighed["bytes"], ended["submit"], ended["lateness"]), ended["ended"])


async def _process(name: str, what: str, loop: str, count: int, seconds: float) -> dict[str, float]:
    options = ("--loop", loop, "--count", str(count), "--seconds", str(seconds))
    argv = (sys.executable, "-m", "benches.sleepers", name, what, *options)
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    # A peer that has answered may abort as its interpreter exits, with threads of its own: that is not measured.
    if process.returncode and (name == OURS or not out):
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}")
    answer: dict[str, float] = json.loads(out)
    return answer
