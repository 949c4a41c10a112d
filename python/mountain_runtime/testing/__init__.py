"""For tests: time that jumps (`virtual_clock`), policies in a state that a test is about, faults, fakes, files."""

import asyncio
import threading
from collections.abc import Generator, Hashable
from contextlib import ExitStack, contextmanager

from .. import _native
from ..errors import ConfigError
from ..policy._given import shown, to_make
from ..policy._keys import check_key
from ..policy.breaker import CircuitBreaker
from ..policy.rate import RateLimit
from ._chaos import Chaos, ChaosStatistics, chaos
from ._files import files
from ._http import Reply, Request, http
from ._process import Command, process
from ._search import Search, search
from ._virtual_loop import CENTURY, VirtualLoop, VirtualTime, replace
from ._watch import Watched, watch

__all__ = [
    "Chaos",
    "ChaosStatistics",
    "Command",
    "Reply",
    "Request",
    "Search",
    "VirtualClock",
    "Watched",
    "chaos",
    "exhaust",
    "files",
    "http",
    "open_circuit",
    "process",
    "search",
    "watch",
]


class VirtualClock:
    """The value of the fixture `virtual_clock`: while it lives nothing waits, and time is what would have passed.

    The engine's clock and the event loop's jump together to whatever is next, when the loop would block and nothing is
    under way on a thread or a native worker. It needs asyncio's own selector loop; on another, such as uvloop's, the
    test is a RuntimeError.
    """

    def __init__(self) -> None:
        self._passing = VirtualTime()
        self._thread = threading.get_ident()
        self._loops: dict[asyncio.AbstractEventLoop, VirtualLoop] = {}
        #: The state to restore. None: this clock is not in use.
        self._undo: ExitStack | None = None

    def time(self) -> float:
        """Seconds since the fixture began."""
        return self._passing.passed / 1e9

    async def advance(self, seconds: float) -> None:
        """Lets so many seconds pass: what falls due on the way runs in order of time, and settles.

        It waits for threads as long as they get somewhere, but not for one that takes half a real second by itself: a
        blocking call can be overtaken by its limit. Raises ValueError for what is no time to wait, RuntimeError where
        there is no loop that can jump.
        """
        if not 0 <= seconds <= CENTURY / 1e9:
            raise ValueError(f"advance({seconds!r}): seconds must be 0 or more, and no more than a century")
        await self._here().advance(round(seconds * 1e9))

    def _here(self) -> VirtualLoop:
        """The running loop, which is one that can jump."""
        if self._undo is None:
            raise RuntimeError("this virtual clock is not in use: ask for the fixture `virtual_clock`, in this test")
        if threading.get_ident() != self._thread:
            raise RuntimeError("virtual time belongs to the loop of the test, and is moved on that loop's thread only")
        loop = asyncio._get_running_loop()
        if loop is None:
            raise RuntimeError(f"{_NEEDS}, and this test runs on none: mark it for asyncio")
        if not isinstance(loop, asyncio.SelectorEventLoop):
            raise RuntimeError(
                f"{_NEEDS}, and this test runs on {type(loop).__module__}.{type(loop).__qualname__}: give it a loop "
                "of asyncio.SelectorEventLoop, by pytest-asyncio's loop_factories or by anyio_backend"
            )
        return self._of(loop, self._undo)

    def _of(self, loop: asyncio.SelectorEventLoop, undo: ExitStack) -> VirtualLoop:
        if loop not in self._loops:
            self._loops[loop] = VirtualLoop(loop, self._passing, undo)
        return self._loops[loop]

    def _starts(self, loop: object) -> None:
        """A loop starts to run. That of another thread is not ours; one that cannot jump hears of it elsewhere."""
        mine = threading.get_ident() == self._thread
        if mine and self._undo is not None and isinstance(loop, asyncio.SelectorEventLoop):
            self._of(loop, self._undo)


_NEEDS = "virtual_clock needs asyncio's own selector event loop"


@contextmanager
def _virtual() -> Generator[VirtualClock]:
    """Makes time virtual, for the engine and for each loop that runs on this thread meanwhile."""
    if not _native.take_over():
        raise RuntimeError("time is virtual already: there can be one virtual_clock at a time")
    with ExitStack() as undo:
        undo.callback(_native.hand_back)
        clock = VirtualClock()
        undo.callback(setattr, clock, "_undo", None)
        clock._undo = undo
        run_forever = asyncio.BaseEventLoop.run_forever

        def runs(loop: asyncio.BaseEventLoop) -> None:
            clock._starts(loop)
            run_forever(loop)

        replace(undo, asyncio.BaseEventLoop, "run_forever", runs)
        clock._starts(asyncio._get_running_loop())
        yield clock


def _check(given: object, wanted: type, by: str) -> None:
    if not isinstance(given, wanted):
        raise TypeError(f"{by}() takes a {wanted.__name__}, not {shown(given)}{to_make(given, wanted)}")


def open_circuit(breaker: CircuitBreaker, key: Hashable = None) -> None:
    """Opens it as one failure too many does: for its cooldown, after which come its probes.

    One that is isolated stays so.
    """
    _check(breaker, CircuitBreaker, "open_circuit")
    check_key(breaker, key, "open_circuit(breaker)")
    breaker._circuit.open(key)


def exhaust(limit: RateLimit, key: Hashable = None) -> None:
    """Uses up what may start now, as calls that began this moment would: who comes next waits, or is refused.

    A strict limit has no room for the next `per` seconds; a full bucket is empty, and fills again. Raises ConfigError
    for a limit that is none: of infinitely many, or in no time.
    """
    _check(limit, RateLimit, "exhaust")
    check_key(limit, key, "exhaust(limit)")
    room = limit._n if limit._burst is None else limit._burst
    if float("inf") in (limit._n, room) or not limit._per:
        raise ConfigError(f"exhaust({limit!r}): it lets everything start, and cannot be exhausted")
    limit._rates.charge(room, key)
