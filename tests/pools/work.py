"""Functions for workers: what a pool runs is found by its module and name."""

import asyncio
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mountain_runtime import (
    On,
    Retry,
    Runtime,
    Timeout,
    blocking,
    constant,
    effect,
    need,
    pools,
)
from mountain_runtime.errors import WorkerLost

log = logging.getLogger("tests.pools")


class Store:
    """A service of a worker."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.calls = 0


@asynccontextmanager
async def open_store() -> AsyncIterator[Store]:
    yield Store()


@asynccontextmanager
async def open_slow() -> AsyncIterator[Store]:
    yield Store()
    await asyncio.sleep(30)


def with_store() -> Runtime:
    return Runtime().provide(Store, open_store)


def with_slow_stop() -> Runtime:
    return Runtime().provide(Store, open_slow)


def fails_to_start() -> Runtime:
    raise ValueError("no licence")


one = pools.Processes(1, name="one", runtime=with_store)
two = pools.Processes(2, name="two")
many = pools.Processes(1, per_worker=8, name="many")


@dataclass
class Doc:
    path: str
    words: int


class Buffers:
    """Gives its memory out of band, as arrays do."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Buffers, (pickle.PickleBuffer(self.data),)


class Odd(Exception):
    """Its constructor wants what pickle does not keep."""

    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(f"{code}: {why}")


class Holds(Exception):
    """It cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Frozen(Exception):
    """It takes no attributes."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


@blocking(On(one))
def add(a: int, b: int = 1) -> int:
    return a + b


@blocking(On(one))
def echo(value: Any) -> Any:
    return value


@blocking(On(one))
def parse(path: str, text: str) -> Doc:
    return Doc(path, len(text.split()))


@blocking(On(one))
def raises(error: str) -> None:
    made: dict[str, Any] = {
        "key": KeyError("x"),
        "odd": Odd(3, why="odd"),
        "holds": Holds("held"),
        "frozen": Frozen("frozen"),
        "cancelled": asyncio.CancelledError(),
        "stop": StopIteration(3),
    }
    raise made[error]


@blocking(On(one))
def gives_lock() -> object:
    return threading.Lock()


@blocking(On(one))
def counted(store: Store = need(Store)) -> tuple[int, int]:
    store.calls += 1
    return store.pid, store.calls


@effect(On(one))
async def waits(seconds: float, path: str = "") -> int:
    if path:
        Path(path).write_text("begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        await asyncio.sleep(0.02)
        if path:
            Path(path).write_text("cleaned")
        raise
    return os.getpid()


@effect(On(one))
async def waits_stubbornly(path: str) -> None:
    """Its cleanup takes longer than the grace of functions."""
    try:
        await asyncio.sleep(30)
    finally:
        await asyncio.sleep(0.7)
        Path(path).write_text("cleaned")


@blocking(Timeout(0.2), On(one))
def spins() -> None:
    while True:
        pass


@blocking(Timeout(0.5), On(one))
def spins_and_cleans(path: str) -> None:
    try:
        while True:
            time.sleep(0.001)  # real: it is at work
    finally:
        Path(path).write_text("cleaned")


@blocking(Timeout(0.2), On(one))
def swallows() -> None:
    """W5: it takes no notice of the first stop."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            time.sleep(0.01)
        except BaseException:
            pass


@blocking(On(one), Timeout(0.2))
def hangs_inside() -> None:
    """Its limit stands at the worker, and it takes no notice of it."""
    time.sleep(20)


@blocking(On(one), Retry(attempts=3, on=ConnectionError, backoff=constant(0.001)))
def tries_again(path: str) -> int:
    with Path(path).open("a") as file:
        file.write("x")
    if len(Path(path).read_text()) < 3:
        raise ConnectionError
    return os.getpid()


@blocking(On(one))
def ends_itself(how: str) -> None:
    if how == "exit":
        os._exit(3)
    if how == "sys.exit":
        sys.exit("that was all")
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(30)  # real: another thread may take the signal, a moment later
    time.sleep(10)  # real: a signal may take its time


@blocking(Retry(on=WorkerLost, attempts=3, backoff=constant(0.001)), On(one))
def ends_once(path: str) -> int:
    with Path(path).open("a") as file:
        file.write("x")
    if len(Path(path).read_text()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(Path(path).read_text())


@blocking(On(two))
def sleeps(seconds: float) -> int:
    """A call of that length: the time is another process's, and real."""
    time.sleep(seconds)
    return os.getpid()


@blocking(On(two))
def marks(path: str, what: str, seconds: float = 0.0) -> str:
    """Says durably that it runs."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{what}\n".encode())
    os.close(fd)
    time.sleep(seconds)
    return what


@blocking(On(two))
def marks_and_holds(path: str, what: str, gate: str) -> None:
    """Says that it runs, and goes on until the gate is there."""
    with Path(path).open("a") as file:
        file.write(f"{what}\n")
    while not Path(gate).exists():
        time.sleep(0.002)


@effect(On(many))
async def at_once(path: str) -> int:
    with Path(path).open("a") as file:
        file.write("x")
    for _ in range(2000):
        if len(Path(path).read_text()) >= 5:
            break
        await asyncio.sleep(0.005)
    return len(Path(path).read_text())


@blocking(On(one))
def logs(text: str) -> None:
    log.warning("%s from a worker", text)


@effect(On(one))
async def sees_limit() -> tuple[float, int]:
    from mountain_runtime._native import current_deadline, priority_var

    until = current_deadline()
    return (until.remaining() if until is not None else -1.0), priority_var.get(1)


small = pools.Processes(1, max_waiting=2, name="small")
ordered = pools.Processes(1, name="ordered")
closing = pools.Processes(1, name="closing")
short_lived = pools.Processes(1, max_calls=2, name="short lived")
lean = pools.Processes(1, max_memory=300 << 20, name="lean")
printing = pools.Processes(1, name="printing")
failing = pools.Processes(1, runtime=fails_to_start, name="failing")
hanging = pools.Processes(1, runtime=with_slow_stop, name="hanging")


@blocking(On(small))
def sleeps_small(seconds: float) -> None:
    time.sleep(seconds)


@blocking(On(ordered))
def pid_of_ordered() -> int:
    return os.getpid()


@effect(On(closing))
async def waits_closing(seconds: float) -> None:
    await asyncio.sleep(seconds)


@blocking(On(short_lived))
def pid_of_short_lived() -> int:
    return os.getpid()


_kept: list[bytearray] = []


@blocking(On(lean))
def takes_memory(size: int) -> int:
    _kept.append(bytearray(size))
    return os.getpid()


@blocking(On(printing))
def prints(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)


@blocking(On(failing))
def on_failing() -> None: ...


@blocking(On(hanging))
def on_hanging() -> int:
    return 1


@blocking(Timeout(0.5), On(two))
def stops_itself() -> None:
    """Its whole process stops: not even its worker's loop goes on."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(30)  # real: a signal may take its time


@blocking(On(two))
def forks() -> int:
    """A child of the worker, which outlives the call."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return child


@blocking(On(one))
def million() -> list[tuple[int, str]]:
    return [(number, str(number)) for number in range(1_000_000)]


@blocking(On(one))
def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@blocking(On(one))
def holds_the_interpreter(seconds: float) -> None:
    """As code in C does that never gives the lock away."""
    import ctypes

    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
