"""The shutdown of a runtime: each step is bounded and reported, and the next one goes on whatever happens.

    refuse      readiness is gone; after the propagation delay no new work is taken
    drain       what is in flight goes on, and what it submits, until the drain is over
    cancel      what remains is cancelled, and its cleanup awaited, before anything that it depends on closes
    threads     blocking functions come back
    defer ...   deferred functions are called, the last added first
    stop ...    services stop, each when no other needs it any more
    pool ...    workers end their runtimes, and themselves
    ... late    what has been submitted since the drain ends
    sweep       programs that are left over are killed
    spans       what was traced is exported, where the application traces
    native ...  the native side ends, by the parts of `_NATIVE`

While a drain is hurried (a second signal, an error) the clock's times move, and every wait looks at it again.
"""

import asyncio
import functools
from collections.abc import Callable

from .._native import close_idle, sweep_groups
from .._services.services import Services
from .._shutdown.clock import Clock
from .._shutdown.report import ShutdownReport
from .._shutdown.steps import Left, Steps
from .._tasks import scope as _scope
from .._tasks import stacks as _stacks
from ..errors import TimedOut
from ..telemetry import _otel
from .deferred import Deferred
from .in_flight import SHARE, InFlight
from .owner import Closes, Owner

__all__ = ["close"]

#: Seconds that a native part may take.
_NATIVE_TIME = 1.0
#: Seconds that the export of spans may take.
_EXPORT_TIME = 5.0


async def close(owner: Owner, services: Services, deferred: Deferred, clock: Clock, steps: Steps) -> ShutdownReport:
    """Runs all steps, in their order."""
    share = SHARE if deferred.any() or services.any() else 1.0
    await steps.run("refuse", "timed_out", lambda: _refuse(owner, clock))
    in_flight = InFlight(owner, clock, steps)
    if clock.drains:
        await steps.run("drain", "timed_out", lambda: in_flight.drain(lambda: clock.drained))
    await steps.run("cancel", "abandoned", lambda: _cancel(owner, in_flight, share))
    await steps.run("threads", "abandoned", lambda: _join(owner, clock, share))
    await in_flight.end_late("threads", share)
    await deferred.call(owner, clock, steps, in_flight)
    await services.stop(clock, steps)
    for pool in reversed(owner._pools):
        await steps.run(f"pool {pool.name}", "abandoned", functools.partial(_end_pool, pool, clock))
    await in_flight.end_late("stop", SHARE)
    await steps.run("sweep", "abandoned", lambda: _sweep(owner))
    if _otel.traces():
        await steps.run("spans", "abandoned", lambda: _export(clock))
    for name, end in _NATIVE:
        await steps.run(f"native {name}", "abandoned", functools.partial(_end_part, owner, clock, end))
    return steps.report()


async def _refuse(owner: Owner, clock: Clock) -> list[Left]:
    await clock.sleep(lambda: clock.announced)
    owner._phase = _scope.DRAINING
    owner._drains.set()
    return []


async def _cancel(owner: Owner, in_flight: InFlight, share: float) -> list[Left]:
    owner._phase = _scope.CANCELLING
    owner._drains.set()  # an abort may come before the drain
    limited = owner._refuse_queued()
    if owner._pool.refuse(owner) or limited:
        for _ in range(5):  # the callers of what was refused hear of it before the cancel
            await asyncio.sleep(0)
    in_flight.cancel()
    return await in_flight.end(share)


async def _join(owner: Owner, clock: Clock, share: float) -> list[Left]:
    until = clock.part(share)
    while (running := owner._pool.running(owner)) and until() > clock.now():  # noqa: ASYNC110 - threads know no loop
        await asyncio.sleep(min(0.01, max(until() - clock.now(), 0.0)))
    return [Left(name, _stacks.of_thread(ident)) for ident, name in running]


async def _end_pool(pool: Closes, clock: Clock) -> list[Left]:
    """A pool that was closed before has nothing to end. What does not end in its share of the time is killed."""
    return [Left(what) for what in await pool._close(max(clock.left(), 0.0) * SHARE)]


async def _sweep(owner: Owner) -> list[Left]:
    """Kills the groups of programs whose blocks were never left."""
    if killed := sweep_groups(owner._number):
        programs = ", ".join(f"{command} ({pid})" for pid, command in killed)
        raise TimedOut(f"left over, and killed with their groups: {programs}", policy="Shutdown")
    return []


async def _export(clock: Clock) -> list[Left]:
    """Exports spans. An endpoint that hangs takes its share of the time at most."""
    left = await _otel.flush(min(max(clock.left(), 0.0) * SHARE, _EXPORT_TIME))
    return [] if left is None else [Left(f"the export of {left} spans")]


# -- the native side ------------------------------------------------------------------------------------------------


async def _end_part(owner: Owner, clock: Clock, end: Callable[[Owner, float], bool]) -> list[Left]:
    ended = end(owner, min(max(clock.left(), 0.0), _NATIVE_TIME))
    return [] if ended else [Left("a native operation")]


def _end_admission(owner: Owner, _: float) -> bool:
    """Nothing is begun any more, and what waits for a permit of the runtime is refused."""
    owner._phase = _scope.CLOSED
    owner._refuse_queued()
    return True


def _end_port(owner: Owner, _: float) -> bool:
    """The event loop no longer leads to the runtime."""
    owner._leave()
    return True


def _end_timers(owner: Owner, _: float) -> bool:
    """Calls that sleep have been asked to end, and had their time: none is left."""
    return all(isinstance(work, asyncio.Task) for work in owner._in_flight())


def _end_threads(owner: Owner, _: float) -> bool:
    """Threads of the runtime's own end, each after what it does now."""
    if owner._own_threads is not None:
        owner._own_threads.close()
    return True


def _end_workers(owner: Owner, timeout: float) -> bool:
    """Native workers of the runtime's own end. Connections that no request uses close."""
    close_idle()
    return owner._end_workers(timeout)


#: The native side's parts, by their names in reports, in the order in which they end; each says whether all of it has
#: ended in its time. Each needs those after it and none before it: a worker may still fire a timer, a timer may still
#: post to the loop's port, and a call that is let in may start any of them.
_NATIVE = (
    ("admission", _end_admission),
    ("port", _end_port),
    ("timers", _end_timers),
    ("threads", _end_threads),
    ("tokio", _end_workers),
)
