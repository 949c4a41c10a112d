"""Functions that every kind of pool runs alike: each pool's module has copies of its own, which its workers find."""

import asyncio
import logging
import os
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from mountain_runtime import On, Retry, Runtime, Timeout, blocking, constant, effect, need, pools
from mountain_runtime.errors import WorkerLost

log = logging.getLogger("tests.pools.conforming")


class Store:
    """A service of a worker."""

    def __init__(self) -> None:
        self.calls = 0


@asynccontextmanager
async def open_store() -> AsyncIterator[Store]:
    yield Store()


@asynccontextmanager
async def open_slow() -> AsyncIterator[Store]:
    yield Store()
    await asyncio.sleep(30)  # real: its worker's own, and cut by the close


def with_store() -> Runtime:
    return Runtime().provide(Store, open_store)


def with_slow_stop() -> Runtime:
    return Runtime().provide(Store, open_slow)


def fails_to_start() -> Runtime:
    raise ValueError("no licence")


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


def add(a: int, b: int = 1) -> int:
    return a + b


def echo(value: Any) -> Any:
    return value


def sums(buffers: Buffers) -> tuple[int, bool]:
    view = memoryview(buffers.data)
    return sum(view[:10]), view.readonly


def raises(error: str) -> None:
    raise {"key": KeyError("x"), "odd": Odd(3, why="odd"), "cancelled": asyncio.CancelledError()}[error]


def gives_lock() -> object:
    return threading.Lock()


def counted(store: Store = need(Store)) -> int:
    store.calls += 1
    return store.calls


async def waits(path: str) -> None:
    Path(path).write_text("begun")
    try:
        await asyncio.sleep(30)  # real: it is cut short
    finally:
        await asyncio.sleep(0.02)  # real: cleanup that takes its time
        Path(path).write_text("cleaned")


def spins(path: str) -> None:
    Path(path).write_text("begun")
    try:
        while True:
            time.sleep(0.001)  # real: it is at work
    finally:
        Path(path).write_text("cleaned")


def swallows(path: str) -> None:
    """It takes no notice of a stop."""
    Path(path).write_text("begun")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            time.sleep(0.01)  # real: it is at work
        except BaseException:
            pass


def tries(path: str) -> int:
    with Path(path).open("a") as file:
        file.write("x")
    if (count := len(Path(path).read_text())) < 3:
        raise ConnectionError
    return count


def dies(path: str) -> None:
    with Path(path).open("a") as file:
        file.write("x")
    os._exit(3)


def dies_once(path: str) -> int:
    with Path(path).open("a") as file:
        file.write("x")
    if (count := len(Path(path).read_text())) == 1:
        os._exit(3)
    return count


def exits() -> None:
    raise SystemExit(4)


def holds(gate: str, mark: str, what: str) -> None:
    """Says that it runs, and goes on until the gate is there."""
    with Path(mark).open("a") as file:
        file.write(what)
    while not Path(gate).exists():
        time.sleep(0.002)  # real: another process opens it


def logs(text: str) -> None:
    log.warning("%s from a worker", text)


async def sees_limit() -> tuple[float, int]:
    from mountain_runtime._native import current_deadline, priority_var

    until = current_deadline()
    return (until.remaining() if until is not None else -1.0), priority_var.get(1)


@dataclass(frozen=True)
class Pools:
    """Of one kind: two workers; one; one whose runtime does not start; one whose runtime does not stop."""

    pair: pools.Pool
    one: pools.Pool
    failing: pools.Pool
    hanging: pools.Pool


def functions(module: str, kinds: Pools) -> dict[str, Callable[..., Any]]:
    """The functions under those pools, as `module` is to have them."""
    one, pair = On(kinds.one), On(kinds.pair)
    made: dict[str, Callable[..., Any]] = {}

    def put(fn: Any, make: Callable[..., Any], *policies: Any, name: str = "") -> None:
        name = name or fn.__name__
        copy = FunctionType(fn.__code__, fn.__globals__, name, fn.__defaults__, fn.__closure__)
        copy.__module__, copy.__qualname__, copy.__doc__ = module, name, fn.__doc__
        copy.__annotations__, copy.__kwdefaults__ = fn.__annotations__, fn.__kwdefaults__
        made[name] = make(*policies)(copy)

    for fn in (add, echo, sums, raises, gives_lock, counted, spins, swallows, holds, logs, exits, dies):
        put(fn, blocking, one)
    put(tries, blocking, one, Retry(attempts=3, on=ConnectionError, backoff=constant(0.001)))
    put(dies_once, blocking, Retry(on=WorkerLost, attempts=3, backoff=constant(0.001)), one)
    put(swallows, blocking, one, Timeout(0.2), name="swallows_inside")
    for fn in (waits, sees_limit):
        put(fn, effect, one)
    put(add, blocking, pair, name="add_on_pair")
    put(add, blocking, On(kinds.failing), name="add_on_failing")
    put(add, blocking, On(kinds.hanging), name="add_on_hanging")
    return made
