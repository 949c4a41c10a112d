"""One service of a runtime: its primary, its fallback, and which of them callers get now."""

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

from .._tasks.cuts import why_cut
from .._tasks.exits import error_of
from .._tasks.users_errors import note, written
from ..errors import ServiceMissing, TimedOut
from ..policy._backoff import exponential
from ..policy.breaker import CircuitBreaker
from ..telemetry import _logs
from ..telemetry._health import ServiceHealth
from .graph import Make, Provider
from .life import Life, Spawn

__all__ = ["Service"]

_log = _logs.logger("service")

#: The times between two attempts to start a primary that is replaced.
_RETRIES = exponential(1, max=30, jitter="equal")


class Service:
    """Starts its primary. With a fallback it degrades instead of failing, and returns when the primary is up again.

    A primary whose value has a CircuitBreaker as its attribute `breaker` is replaced while that is open, too: the
    fallback of such a service is up from the start.
    """

    def __init__(self, provider: Provider, spawn: Spawn, changed: Callable[[], object]) -> None:
        self.provider = provider
        self._changed = changed
        self.is_up = asyncio.Event()
        self.has_stopped = asyncio.Event()
        self._spawn = spawn
        self._state: Literal["starting", "up", "degraded", "failed", "stopping", "stopped"] = "starting"
        self._reason: str | None = None
        self._primary: Life | None = None
        self._standby: Life | None = None
        self._retrying: asyncio.Task[None] | None = None
        #: All lives that were begun and may not have ended.
        self._lives: list[Life] = []
        #: The error that ended it while it was up, if it has no fallback.
        self.crash: BaseException | None = None
        self._arguments: Mapping[str, Any] = {}
        self._fallback_arguments: Mapping[str, Any] = {}

    # -- start ------------------------------------------------------------------------------------------------------

    async def start(self, current: Callable[[Any], Any]) -> None:
        """Returns when it is up or degraded; raises the primary's error if neither can be."""
        self._arguments = {name: current(key) for name, key in self.provider.needs.items()}
        self._fallback_arguments = {name: current(key) for name, key in self.provider.fallback_needs.items()}
        try:
            await self._enter_primary()
        except Exception as error:
            if self.provider.fallback is None:
                self._is("failed", written(error))
                raise
            _log.warning("service %s did not start and is degraded: %s", self.provider.name, written(error))
            await self._enter_standby(error)
            self._is("degraded", f"it did not start: {written(error)}")
            self._retry()
        else:
            if self._breaker() is not None:
                await self._enter_standby(None)
            self._is("up")
        self.is_up.set()

    async def _enter_primary(self) -> None:
        life = self._primary = self._begin(self.provider.make, self._arguments, self.provider.name)
        await self._up(life, self.provider.name)
        life.task.add_done_callback(self._crashed)

    def _begin(self, make: Make, arguments: Mapping[str, Any], name: str) -> Life:
        life = Life(self.provider.key, make, arguments, self._spawn, name)
        self._lives = [each for each in self._lives if not each.task.done()]
        self._lives.append(life)
        life.task.add_done_callback(lambda _: self._changed())
        return life

    async def _up(self, life: Life, name: str) -> None:
        """Returns when `life` is up; raises its error, or TimedOut after `start_timeout`."""
        limit = self.provider.start_timeout
        if limit < _EVER:
            await asyncio.wait([life.up], timeout=limit)
            if not life.up.done():
                life.ask()
                # It unwinds what it had started. The report of the shutdown names it if it does not.
                await asyncio.wait([life.task], timeout=max(limit, 1.0))
                text = f"service {name} did not start within {limit:g} s, and was unwound"
                raise TimedOut(text, policy="start_timeout")
        await life.up

    async def _enter_standby(self, error: Exception | None) -> None:
        """Returns when the fallback is up. If it does not start, raises `error`, the primary's, or else its own."""
        fallback = self.provider.fallback
        if fallback is None or (self._standby is not None and self._standby.is_up):
            return
        name = f"{self.provider.name} (fallback)"
        life = self._standby = self._begin(fallback, self._fallback_arguments, name)
        try:
            await self._up(life, name)
        except Exception as second:
            self._is("failed", written(second if error is None else error))
            if error is None:
                raise
            note(error, f"its fallback did not start either: {written(second)}")
            raise error from second

    # -- the fallback -----------------------------------------------------------------------------------------------

    def _crashed(self, task: "asyncio.Task[None]") -> None:
        """Called when the primary's task has ended, which is a failure unless the service stops."""
        if self._state not in ("up", "degraded"):
            return
        error = None if task.cancelled() else error_of(task)
        reason = f"it ended by itself: {written(error)}" if error is not None else "it ended by itself"
        if self.provider.fallback is None:
            _log.error("service %s has failed: %s", self.provider.name, reason, exc_info=error)
            ended = RuntimeError(f"service {self.provider.name} ended by itself")
            self.crash = ended if error is None else error
            self._is("failed", reason)
            return
        _log.warning("service %s is degraded: %s", self.provider.name, reason, exc_info=error)
        self._is("degraded", reason)
        self._retry()

    def _retry(self) -> None:
        self._retrying = self._spawn(self._try_again(), f"{self.provider.name} (retry)")

    async def _try_again(self) -> None:
        """Starts the primary again and again, in the background, until it is up."""
        if self._standby is None or not self._standby.is_up:
            try:
                await self._enter_standby(None)
            except Exception as error:
                _log.warning("the fallback of service %s did not start: %s", self.provider.name, written(error))
        for retry in itertools.count():
            await asyncio.sleep(_RETRIES.wait(retry, random.random()))
            try:
                await self._enter_primary()
            except Exception as error:
                _log.info("service %s is still degraded: %s", self.provider.name, written(error))
                continue
            self._is("up")
            _log.info("service %s is back", self.provider.name)
            if self._breaker() is None and self._standby is not None:
                self._standby.task.add_done_callback(self._fallback_ended)
                self._standby.ask()
            return

    def _fallback_ended(self, task: "asyncio.Task[None]") -> None:
        """Logs how a fallback ended that is no longer needed. At the shutdown the report does."""
        if self._state not in ("up", "degraded"):
            return
        name = f"{self.provider.name} (fallback)"
        error, _ = why_cut(task, name)
        if error is not None:
            _log.warning("service %s did not end well: %s", name, written(error), exc_info=error)

    def _breaker(self) -> CircuitBreaker | None:
        found = getattr(self._primary.value, "breaker", None) if self._primary is not None else None
        if not isinstance(found, CircuitBreaker) or found._key is not None:
            return None  # one with keys has no state for the whole service
        return found

    def _is_open(self) -> bool:
        breaker = self._breaker()
        return breaker is not None and breaker.state() in ("open", "isolated")

    def current(self, who: str, effect: str = "") -> Any:
        """The value for callers now: the primary's, or the fallback's in its place. Raises ServiceMissing, of `who`."""
        primary, standby = self._primary, self._standby
        if primary is not None and primary.is_up and not (standby is not None and standby.is_up and self._is_open()):
            return primary.value
        if standby is not None and standby.is_up:
            return standby.value
        reason = f", {self._reason}" if self._reason else ""
        raise ServiceMissing(f"{who}: service {self.provider.name} is {self._state}{reason}", effect=effect)

    # -- what is known ----------------------------------------------------------------------------------------------

    def _is(
        self, state: Literal["starting", "up", "degraded", "failed", "stopping", "stopped"], reason: str | None = None
    ) -> None:
        self._state, self._reason = state, reason
        self._changed()

    def health(self) -> ServiceHealth:
        """Its state, and the reason for it."""
        if self._state == "up" and self.provider.fallback is not None and self._is_open():
            return ServiceHealth("degraded", "its circuit breaker is open")
        if self._state == "degraded" and not any(life.is_up for life in self._lives):
            return ServiceHealth("failed", f"{self._reason}; and its fallback has ended")
        return ServiceHealth(self._state, self._reason)

    # -- stop -------------------------------------------------------------------------------------------------------

    def ask(self) -> "list[asyncio.Task[None]]":
        """Begins its end; gives the tasks in which that goes on."""
        if self._state != "failed":
            self._is("stopping", self._reason)
        if self._retrying is not None:
            self._retrying.cancel()
        lives = [life for life in self._lives if not life.task.done()]
        for life in lives:
            life.ask()
        return [life.task for life in lives]

    def stopped(self, error: BaseException | None) -> None:
        """Records that it has ended, or was left behind with `error`."""
        if error is not None:
            self._is("failed", written(error))
        elif self._state == "stopping":
            self._is("stopped")
        self.has_stopped.set()


#: A time of so many seconds is no limit.
_EVER = 1e9
