"""The shutdown of a runtime: each step is bounded and reported, and the next one goes on whatever happens.

    refuse      readiness is gone; after the propagation delay no new work is taken
    drain       what is in flight goes on, and what it submits, until the drain is over
    cancel      what remains is cancelled, and its cleanup awaited, before anything that it depends on closes
    threads     blocking functions come back
    defer ...   what was deferred, the last first
    stop ...    services, each when no other needs it any more
    ... late    what has been submitted since the drain
    sweep       programs that are left over are killed
    spans       what was traced is exported, where the application traces
    native ...  admission, port, timers, threads, tokio, as the core lists them

While a drain is hurried (a second signal, an error) the clock's times move, and every wait looks at it again.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from .._effect import threads as _threads
from .._native import sweep_groups
from .._services.services import Services
from .._shutdown.clock import POLITE, Clock
from .._shutdown.report import ShutdownReport
from .._shutdown.steps import Left, Steps
from .._tasks import scope as _scope
from .._tasks import stacks as _stacks
from .._tasks.dump import Dump
from ..errors import TimedOut
from ..policy._base import name_of
from ..telemetry import _otel
from .in_flight import InFlight

__all__ = ["Closing", "close"]

#: Of what is left, when something is still to be stopped after it.
_PART = 0.5
#: A native part takes no longer.
_NATIVE = 1.0
#: The export of spans likewise.
_EXPORT = 5.0


class Closing(Protocol):
    """What a shutdown needs of its runtime."""

    _pool: _threads.Pool | None
    _limit: Any
    _deferred: list[Callable[[], Awaitable[None]]]
    _services: Services
    _steps: Steps | None

    @property
    def _number(self) -> int: ...
    @property
    def _phase(self) -> int: ...
    @_phase.setter
    def _phase(self, value: int) -> None: ...
    def dump(self) -> Dump: ...
    def _pending(self) -> "list[asyncio.Future[Any]]": ...
    def _refuse_queued(self) -> None: ...
    def _next_part(self) -> str | None: ...
    def _end_part(self, timeout: float) -> bool: ...
    def _forget_loop(self) -> None: ...
    def _accept(self) -> None: ...
    def _begin(self, work: Coroutine[Any, Any, None], name: str, enter: Callable[[], None]) -> "asyncio.Task[None]": ...


async def close(runtime: Closing, clock: Clock) -> ShutdownReport:
    """All of it."""
    steps = runtime._steps = Steps(clock, runtime.dump)
    more = bool(runtime._deferred) or runtime._services.any()
    await steps.run("refuse", "timed_out", lambda: _refuse(runtime, clock))
    in_flight = InFlight(runtime, clock, steps)
    if clock.drains:
        await steps.run("drain", "timed_out", lambda: in_flight.drain(lambda: clock.drained))
    part = _PART if more else 1.0
    await steps.run("cancel", "abandoned", lambda: _cancel(runtime, in_flight, part))
    await steps.run("threads", "abandoned", lambda: _join(runtime, clock, part))
    await in_flight.end_late("threads", part)
    while runtime._deferred:
        await _call_deferred(runtime, runtime._deferred.pop(), clock, steps, in_flight)
    await runtime._services.stop(clock, steps)
    await in_flight.end_late("stop", _PART)
    await steps.run("sweep", "abandoned", functools.partial(_sweep, runtime))
    if _otel.traces():
        await steps.run("spans", "abandoned", lambda: _export(clock))
    while (name := runtime._next_part()) is not None:
        await steps.run(f"native {name}", "abandoned", functools.partial(_tear_down, runtime, clock, name))
    return steps.report()


async def _refuse(runtime: Closing, clock: Clock) -> list[Left]:
    await clock.sleep(lambda: clock.announced)
    runtime._phase = _scope.DRAINING
    return []


async def _cancel(runtime: Closing, in_flight: InFlight, part: float) -> list[Left]:
    runtime._phase = _scope.CANCELLING
    runtime._refuse_queued()
    if (runtime._pool or _threads.default_pool()).refuse(runtime) or runtime._limit is not None:
        for _ in range(5):  # who waits for those hears of it before the cancel
            await asyncio.sleep(0)
    in_flight.cancel()
    return await in_flight.end(part)


async def _join(runtime: Closing, clock: Clock, part: float) -> list[Left]:
    pool, until = runtime._pool or _threads.default_pool(), clock.part(part)
    while (running := pool.running(runtime)) and until() > clock.now():  # noqa: ASYNC110 - threads know no loop
        await asyncio.sleep(min(0.01, max(until() - clock.now(), 0.0)))
    return [Left(name, _stacks.of_thread(ident)) for ident, name in running]


async def _call_deferred(
    runtime: Closing, fn: Callable[[], Awaitable[None]], clock: Clock, steps: Steps, in_flight: InFlight
) -> None:
    async def called() -> None:
        work = fn()
        if not isinstance(work, Awaitable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"Runtime.defer({name_of(fn)}): gave {type(work).__name__}, which cannot be awaited. Make it "
                "`async def`, or put @blocking on it"
            )
        await work

    name = f"defer {getattr(fn, '__qualname__', repr(fn))}"
    polite, last = clock.part(_PART * POLITE), clock.part(_PART)
    await steps.end(name, [runtime._begin(called(), name, runtime._accept)], polite, last)
    await in_flight.end_late(name, _PART)


async def _sweep(runtime: Closing) -> list[Left]:
    """Programs whose blocks nobody left: their groups are killed."""
    if killed := sweep_groups(runtime._number):
        programs = ", ".join(f"{command} ({pid})" for pid, command in killed)
        raise TimedOut(f"left over, and killed with their groups: {programs}", policy="Shutdown")
    return []


async def _export(clock: Clock) -> list[Left]:
    """An endpoint that hangs has its part of the time, and no more."""
    left = await _otel.flush(min(max(clock.left(), 0.0) * _PART, _EXPORT))
    return [] if left is None else [Left(f"the export of {left} spans")]


async def _tear_down(runtime: Closing, clock: Clock, name: str) -> list[Left]:
    if name == "threads" and runtime._pool is not None:
        runtime._pool.close()
    ended = runtime._end_part(min(max(clock.left(), 0.0), _NATIVE))
    if name == "port":
        runtime._forget_loop()
    return [] if ended else [Left("a native operation")]
