"""Functions of workers that end in odd ways."""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

from mountain_runtime import On, Timeout, blocking, effect, pools

odd = pools.Processes(1, name="odd")
wide = pools.Processes(1, per_worker=2, name="wide")
alone = pools.Processes(1, name="alone")
crowded = pools.Processes(1, max_waiting=3, name="crowded")

HOME = os.getpid()


class EndsItsReader:
    """It is packed at the worker; its unpacking ends the program that reads it."""

    def __reduce__(self) -> Any:
        return ends_unless_at, (os.getpid(),)


class ErrorThatEndsItsReader(Exception):
    def __reduce__(self) -> Any:
        return ends_unless_at, (os.getpid(),)


def ends_unless_at(pid: int) -> Any:
    if os.getpid() != pid:
        raise SystemExit("read")
    return ErrorThatEndsItsReader()


@blocking(On(odd))
def gives(size: int) -> bytes:
    return b"x" * size


@blocking(On(odd))
def takes(data: bytes) -> int:
    return len(data)


@blocking(On(odd))
def fails_at_length(size: int) -> None:
    raise ValueError("\U0001f5fb" * size, b"y" * (40 << 10))


@blocking(On(odd))
def gives_what_ends_its_reader() -> EndsItsReader:
    return EndsItsReader()


@blocking(On(odd))
def raises_what_ends_its_reader() -> None:
    raise ErrorThatEndsItsReader


@blocking(On(odd))
def forks_and_returns() -> int:
    return os.fork()


@effect(On(odd))
async def forks_in_a_coroutine() -> int:
    return os.fork()


@blocking(On(odd))
def closes_all_files() -> None:
    os.closerange(3, 256)
    time.sleep(30)


@blocking(On(wide))
def threads() -> int:
    return threading.active_count()


@effect(On(wide))
async def steps() -> int:
    await asyncio.sleep(0)
    return os.getpid()


@blocking(On(alone))
def pid_alone() -> int:
    return os.getpid()


@blocking(On(crowded))
def sleeps_crowded(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@blocking(Timeout(0.2), On(odd))
def waits_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.001)
