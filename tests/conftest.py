"""The loops that async tests run on, and what no test may leave behind."""

import asyncio
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import uvloop

from mountain_runtime import _native
from tests.pools.ray.head import Head

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

HERE = Path(__file__).parent
#: Tests in these folders are about the way between loop and engine: there every kind of loop counts.
EVERY_LOOP = ("effect", "stream", "bridge")
#: These see the loop through files, sockets, signals and shutdown: its two makers are enough.
BOTH_LOOPS = ("policy", "lifecycle", "providers", "rpc")
#: Time can be virtual on asyncio's own loops only.
ASYNCIO_LOOPS = ("testing",)


@cache
def room(path: Path) -> str:
    """The folder in tests/ that it is in: asked for each of ten thousand tests."""
    return path.relative_to(HERE).parts[0]


def debug_loop() -> asyncio.AbstractEventLoop:
    """asyncio's own loop in debug mode, where tasks are woken in another way and coroutines are watched."""
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 60  # a slow machine is no finding
    return loop


def eager_loop() -> asyncio.AbstractEventLoop:
    """asyncio's own loop, whose tasks take their first step when they are made. From CPython 3.12 on."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - 3.11 has none
    return loop


# A shell that starts the tests in the background has them ignore Ctrl-C and Ctrl-\, and so every program that they
# start: one that waits for its end by such a key would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

PLAIN: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
BOTH: dict[str, LoopFactory] = PLAIN | {"uvloop": uvloop.new_event_loop}
EVERY: dict[str, LoopFactory] = BOTH | {"debug": debug_loop}
if sys.version_info >= (3, 12):
    EVERY["eager"] = eager_loop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, LoopFactory]:
    """Which loops an async test runs on; a marker `asyncio(loop_factories=[...])` on a test narrows it down."""
    folder = room(item.path)
    if folder == "stream" and "virtual_clock" in getattr(item, "fixturenames", ()):
        return {name: make for name, make in EVERY.items() if name != "uvloop"}
    if folder == "rpc" and "virtual_clock" in getattr(item, "fixturenames", ()):
        return PLAIN
    if folder in EVERY_LOOP:
        return EVERY
    if folder in BOTH_LOOPS:
        return BOTH
    if folder in ASYNCIO_LOOPS:
        return {name: make for name, make in EVERY.items() if name != "uvloop"}
    return PLAIN


class Complaints(list[str]):
    """The errors that reached no handler, as text: it holds nothing alive."""

    def handler(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A loop's exception handler."""
        self.append(repr(context))

    def unraisable(self, about: Any) -> None:
        """Python's hook for errors that cannot be raised."""
        self.append(f"{about.exc_value!r} {about.err_msg} {about.object!r}")


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch) -> Iterator[Complaints]:
    """The errors of `sys.unraisablehook`, or of loops' handlers by `new_loop`; a test shows that there are none."""
    said = Complaints()
    monkeypatch.setattr(sys, "unraisablehook", said.unraisable)
    yield said
    gc.collect()


@pytest.fixture
def collected() -> Iterator[None]:
    """A test's objects are gone after it: a policy that keeps keys is reminded of them by a timer while it lives."""
    yield
    gc.collect()


@pytest.fixture
async def loop_complaints(complaints: Complaints) -> Complaints:
    """The same for an async test, with what the test's own loop is told."""
    asyncio.get_running_loop().set_exception_handler(complaints.handler)
    return complaints


@pytest.fixture(params=BOTH.values(), ids=BOTH.keys())
def new_loop(request: pytest.FixtureRequest, complaints: Complaints) -> LoopFactory:
    """Makes loops for a test that runs, drops or closes them itself."""

    def make() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = request.param()
        loop.set_exception_handler(complaints.handler)
        return loop

    return make


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A cluster of Ray with two CPUs, for all tests that need one: it takes seconds to start."""
    made = Head(cpus=2)
    yield made
    made.close()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """A function is called by its name, not by its address: workers that run tests side by side must agree on them."""
    return getattr(val, "__qualname__", None) if callable(val) and not isinstance(val, type) else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part",
        choices=["parallel", "serial", "ray"],
        help="only tests that may run side by side, those that run alone, or those on Ray",
    )
    parser.addoption(
        "--without-page", action="store_true", help="leave out the live page's tests, which need a browser"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """To import all tests takes longer than to run the few that run alone, or on Ray."""
    part = config.getoption("part")
    if part not in ("serial", "ray") or not collection_path.name.startswith("test_"):
        return None
    stress = collection_path.is_relative_to(HERE / "stress")
    return None if stress or f"mark.{part}" in collection_path.read_text() else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests that these options leave out. Tests in tests/stress have the machine for themselves."""
    part, without_page = config.getoption("part"), config.getoption("without_page")

    def wanted(item: pytest.Item) -> bool:
        alone = item.get_closest_marker("serial") is not None or room(item.path) == "stress"
        kind = "serial" if alone else "ray" if item.get_closest_marker("ray") is not None else "parallel"
        page = item.path.parent.name == "page"
        checked = room(item.path) == "typing"  # by `scripts/check`, beside the types of the package itself
        return part in (None, kind) and not (page and without_page) and not (checked and part is not None)

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


#: Where the stacks of a test that hangs are written: the tests' own output is captured.
STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Ends a process whose test goes on 30 s after its time limit, with the stack of each thread.

    The limit raises an error in the main thread, and uvloop passes over it where it comes from a callback. The run goes
    on in another process, and counts the test as failed.
    """
    marker = item.get_closest_marker("timeout")
    limit = marker.args[0] if marker else item.config.getoption("timeout") or item.config.getini("timeout")
    faulthandler.dump_traceback_later(float(limit) + 30, exit=True, file=item.config.stash[STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def little_garbage() -> None:
    """The thousands of collections that tests ask for do not look at what is there by now: each takes a tenth.

    `gc.unfreeze` gives them all of it again, so only the session's end calls it.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keeps modules and collected tests out of later collections."""
    little_garbage()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Before pytest's own end: 3.11's `ast.parse` fails when a collection in it formats a traceback."""
    gc.collect()
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def few_names() -> None:
    """Names have figures of their own as long as there are few: those of effects that are gone take no room."""
    little_garbage()
    _native.forget_unused_names()
