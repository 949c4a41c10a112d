"""Servers in processes of their own, started as people start them, and what they complained of."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

from tests.examples.support import LONG, environment

#: The programs that these tests run.
APPS = Path(__file__).parent / "apps"
#: Texts that no program may print unless a test expects it.
COMPLAINTS = ("Traceback", "Warning", "never awaited", "never retrieved", "was destroyed", "ignored in", "panicked")


def quiet(said: str) -> str:
    """It complains of nothing."""
    assert not any(complaint in said for complaint in COMPLAINTS), said
    return said


class Program:
    """A Python program whose output is read as it comes, with every warning an error."""

    def __init__(self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env or environment(),
            cwd=cwd,
        )
        self.output: list[str] = []
        self.said: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        pipes = (self.process.stdout, self.output), (self.process.stderr, self.said)
        self._readers = [threading.Thread(target=_read, args=pipe) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line, on either way, that has this in it."""
        end = time.monotonic() + LONG
        while True:
            ended = self.process.poll() is not None
            for line in (*self.output, *self.said):
                if found := re.search(pattern, line):
                    return found
            assert not ended, f"it ended before that\n{self._all()}"
            assert time.monotonic() < end, f"it never said {pattern}\n{self._all()}"
            time.sleep(0.005)  # the program is another process: there is nothing to wait on

    def end(self, *signals: signal.Signals) -> tuple[int, str, str]:
        """Sends the signals; then the exit code, the output, and what was said beside it."""
        for number in signals:
            self.process.send_signal(number)
        try:
            code = self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end\n{self._all()}") from None
        finally:
            self.kill()
        return code, "".join(self.output), "".join(self.said)

    def kill(self) -> None:
        """Ends it whatever it does, and reads what it has said."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    def _all(self) -> str:
        return "".join([*self.output, *self.said])


def _read(pipe: IO[str], lines: list[str]) -> None:
    with pipe:
        for line in pipe:
            lines.append(line)  # noqa: PERF402 - extend() may hold the list until the pipe ends


class Server(Program):
    """A program that serves HTTP on this machine, and says where."""

    url = ""

    def locate(self) -> None:
        self.url = self.wait_for(r"unning on (http://127\.0\.0\.1:\d+)")[1]

    def get(self, path: str, **more: object) -> httpx.Response:
        return httpx.get(self.url + path, timeout=LONG, **more)  # type: ignore[arg-type]

    def post(self, path: str, **more: object) -> httpx.Response:
        return httpx.post(self.url + path, timeout=LONG, **more)  # type: ignore[arg-type]


@contextmanager
def serving(*argv: str, cwd: Path = APPS, hosts: Mapping[str, int] | None = None) -> Iterator[Server]:
    """A server, as long as the block lasts. It is killed at its end if the test has not ended it."""
    server = Server(*argv, cwd=cwd, env=environment(hosts))
    try:
        server.locate()
        yield server
    finally:
        server.kill()


def uvicorn(app: str, *options: str) -> tuple[str, ...]:
    """The arguments that serve an app on a port that is free, as on the command line."""
    return ("-m", "uvicorn", app, "--port", "0", "--no-access-log", *options)


def until(true: Callable[[], bool]) -> None:
    """Waits until something has come true in another process."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)  # nothing there announces it
