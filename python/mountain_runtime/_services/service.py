"""One service of a runtime: its primary, what stands in for it, and which of them callers get now."""

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

#: When a primary that is replaced is tried again.
_RETRIES = exponential(1, max=30, jitter="equal")


class Service:
    """Starts its primary; with a fallback it degrades instead of failing, and goes back when the primary is up again.

    A primary whose value has a CircuitBreaker as its attribute `breaker` is replaced while that is open, too: the
    fallback of such a service stands by from the start.
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
        #: All that were begun and may not have ended.
        self._lives: list[Life] = []
        #: What ended it while it was up, if nothing stands in for it.
        self.crash: BaseException | None = None
        self._arguments: Mapping[str, Any] = {}
        self._fallback_arguments: Mapping[str, Any] = {}

    # -- start ------------------------------------------------------------------------------------------------------

    async def start(self, current: Callable[[Any], Any]) -> None:
        """Up, or degraded; raises the primary's error if neither can be."""
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
        """It is up, within its time; or why not."""
        limit = self.provider.start_timeout
        if limit < _EVER:
            await asyncio.wait([life.up], timeout=limit)
            if not life.up.done():
                life.ask()
                # What it had started, it stops. If it does not, the shutdown will say so.
                await asyncio.wait([life.task], timeout=max(limit, 1.0))
                text = f"service {name} did not start within {limit:g} s, and was unwound"
                raise TimedOut(text, policy="start_timeout")
        await life.up

    async def _enter_standby(self, error: Exception | None) -> None:
        """The fallback is up; if it cannot be, `error` says why it was wanted."""
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

    # -- in its place -----------------------------------------------------------------------------------------------

    def _crashed(self, task: "asyncio.Task[None]") -> None:
        """The primary's task has ended. Unless it was asked to, something inside it has failed."""
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
        """In the background, until the primary is up again."""
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
        """The fallback is needed no more. If it ends with the service, the shutdown says how."""
        if self._state not in ("up", "degraded"):
            return
        name = f"{self.provider.name} (fallback)"
        error, _ = why_cut(task, name)
        if error is not None:
            _log.warning("service %s did not end well: %s", name, written(error), exc_info=error)

    def _breaker(self) -> CircuitBreaker | None:
        found = getattr(self._primary.value, "breaker", None) if self._primary is not None else None
        if not isinstance(found, CircuitBreaker) or found._key is not None:
            return None  # one with keys says nothing of the whole
        return found

    def _is_open(self) -> bool:
        breaker = self._breaker()
        return breaker is not None and breaker.state() in ("open", "isolated")

    def current(self, who: str, effect: str = "") -> Any:
        """The value for callers now: the primary's, or the fallback's while that stands in."""
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
        """How it is."""
        if self._state == "up" and self.provider.fallback is not None and self._is_open():
            return ServiceHealth("degraded", "its circuit breaker is open")
        if self._state == "degraded" and not any(life.is_up for life in self._lives):
            return ServiceHealth("failed", f"{self._reason}; and its fallback has ended")
        return ServiceHealth(self._state, self._reason)

    # -- stop -------------------------------------------------------------------------------------------------------

    def ask(self) -> "list[asyncio.Task[None]]":
        """It is to end. The tasks in which it does."""
        if self._state != "failed":
            self._is("stopping", self._reason)
        if self._retrying is not None:
            self._retrying.cancel()
        lives = [life for life in self._lives if not life.task.done()]
        for life in lives:
            life.ask()
        return [life.task for life in lives]

    def stopped(self, error: BaseException | None) -> None:
        """It has ended, or was left behind."""
        if error is not None:
            self._is("failed", written(error))
        elif self._state == "stopping":
            self._is("stopped")
        self.has_stopped.set()


#: So many seconds are no limit.
_EVER = 1e9
