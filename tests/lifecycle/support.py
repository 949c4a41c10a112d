"""Support for the tests of the life cycle: programs of their own, waiting for a state, small effects."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mountain_runtime import Runtime, _native
from mountain_runtime._tasks import scope
from mountain_runtime.errors import ShuttingDown

#: A time that never comes within a test.
LONG = 30.0
#: A moment in which everything that is ready has run.
SOON = 0.02
#: Seconds that an immediate event may take on a slow machine.
AT_ONCE = 1.0


class Boom(Exception):
    """A failure of ours."""


async def until(true: Callable[[], bool], within: float = 5) -> None:
    """Waits until a condition holds that has no event."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.001)  # a short look every millisecond


def drains(runtime: Runtime) -> bool:
    """Whether it takes work of accepted work only."""
    return runtime._phase >= scope.DRAINING


def refuses(runtime: Runtime) -> bool:
    """Whether it takes no work of the code that asks."""
    try:
        runtime.submit(_native.trial_noop())
    except ShuttingDown:
        return True
    return False


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def on_thread(fn: Callable[[], Any]) -> Any:
    """The result of `fn`, or its error, on a thread of its own that runs no loop."""
    found: list[Any] = []

    def body() -> None:
        try:
            found.append((fn(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(LONG)
    assert found, "the thread did not end"
    value, error = found[0]
    if error is not None:
        raise error
    return value


# -- programs ------------------------------------------------------------------------------------------------

HEAD = """
import asyncio, contextvars, functools, gc, itertools, json, os, queue, signal, sys, threading, time
from mountain_runtime import *
from mountain_runtime import _native, errors, fs
"""


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    status: int
    output: str
    said: str
    took: float
    #: When it had ended, by the clock on the wall, which programs can compare with their own.
    at: float

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    def quietly(self, status: int = 0) -> "Ended":
        """It ended with this status, and complained of nothing."""
        assert self.status == status, f"exit status {self.status}\n{self.output}\n{self.said}"
        for complaint in ("panicked", "Traceback", "never awaited", "never retrieved", "Fatal"):
            assert complaint not in self.said, self.said
        return self


class Program:
    """A Python program in a process of its own."""

    def __init__(self, source: str, *argv: str) -> None:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-c", HEAD + textwrap.dedent(source), *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def wait_for(self, line: str) -> "Program":
        """Reads until it prints this line. What it takes from then on counts as its time."""
        assert self.process.stdout is not None
        for got in iter(self.process.stdout.readline, ""):
            if got.strip() == line:
                self.begun = time.monotonic()
                return self
        raise AssertionError(f"it never printed {line}\n{self.end()}")

    def signal(self, *signals: signal.Signals, apart: float = 0.2) -> "Program":
        """Sends the signals one after another, with a pause in which each is noticed: signals of one kind merge."""
        for number, each in enumerate(signals):
            if number:
                time.sleep(apart)
            self.process.send_signal(each)
        return self

    def end(self, within: float = 20) -> Ended:
        try:
            output, said = self.process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, said = self.process.communicate()
            raise AssertionError(f"it did not end\n{output}\n{said}") from None
        return Ended(self.process.returncode, output, said, time.monotonic() - self.begun, time.time())


def execute(source: str, *argv: str) -> Ended:
    """Runs a program to its end."""
    return Program(source, *argv).end()


def execute_many(source: str, times: int, side_by_side: int = 4) -> Iterable[Ended]:
    """Runs a program again and again, a few at a time, with its number as its argument."""
    for first in range(0, times, side_by_side):
        programs = [Program(source, str(number)) for number in range(first, min(first + side_by_side, times))]
        yield from [program.end() for program in programs]
