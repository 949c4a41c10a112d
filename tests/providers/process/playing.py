"""Runs the programs of `played` as processes, or as fakes in the place of the same command lines."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from mountain_runtime import testing
from mountain_runtime.process import Completed
from tests.providers.process.played import PROGRAMS
from tests.providers.process.support import PYTHON

#: How a program is run.
KINDS = ["process", "fake"]
_FILE = str(Path(__file__).with_name("played.py"))


def program(name: str, *words: object) -> tuple[str, ...]:
    """Its command line."""
    return PYTHON, "-S", _FILE, name, *map(str, words)


async def play(command: testing.Command) -> Completed:
    """The fake of each program."""
    if command.argv == ("true",):
        return Completed()
    if command.argv[0] != PYTHON:
        raise FileNotFoundError(2, "No such file or directory", command.argv[0])
    return Completed(await PROGRAMS[command.argv[3]](command))


@contextmanager
def played(kind: str) -> Iterator[None]:
    """In the block, programs are processes, or fakes."""
    with testing.process(play) if kind == "fake" else nullcontext():
        yield
